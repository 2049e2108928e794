"""Recipes and a short training loop around `model.fit`."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_vit.data import ImageData

EVALUATIONS = 10
# To report the accuracy on the training images: more of them would not change its digits.
TRAIN_IMAGES_TO_EVALUATE = 2_000


def learning_rate_schedule(
    steps: int, learning_rate: float, warmup_steps: int | None = None
) -> Any:
    """Linear warmup from zero, then half a cosine to zero (paper, appendix B.1.1).

    Args:
        steps: Number of steps in all, at least 1.
        learning_rate: The highest, reached after the warmup; positive.
        warmup_steps: In [0, `steps`). Default: a tenth of `steps`, at most 500.

    Returns:
        A `keras.optimizers.schedules.LearningRateSchedule`.

    Raises:
        ValueError: If an argument is out of its range.
    """
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise ValueError(f"`steps` must be a positive integer. Received: steps={steps!r}")
    if not 0 < learning_rate < math.inf:
        raise ValueError(
            f"`learning_rate` must be positive. Received: learning_rate={learning_rate!r}"
        )
    warmup = min(steps // 10, 500) if warmup_steps is None else warmup_steps
    if not 0 <= warmup < steps:
        raise ValueError(
            f"`warmup_steps` must be in [0, steps). Received: warmup_steps={warmup_steps!r}, "
            f"steps={steps}"
        )
    cosine = keras.optimizers.schedules.CosineDecay
    if warmup == 0:
        return cosine(learning_rate, steps)
    return cosine(0.0, steps - warmup, warmup_target=learning_rate, warmup_steps=warmup)


def fine_tune_recipe(
    steps: int = 500,
    learning_rate: float | None = None,
    warmup_steps: int | None = None,
    *,
    from_logits: bool = False,
) -> dict[str, Any]:
    """How the paper fine-tunes (Table 4): `model.compile(**fine_tune_recipe(steps=500))`.

    SGD with momentum .9, a cosine learning rate with warmup, gradients clipped to a global
    norm of 1, no weight decay; the model has a new head that starts at zero (`new_head=True`).
    The paper takes batches of 512, 500 steps for sets of a few thousand images (20,000 for
    ImageNet), and the best learning rate of .003, .01, .03 and .06 (.001 to .03 for the small
    sets).

    Keras multiplies the learning rate into the momentum buffer, the original multiplies it
    onto the buffer when it is applied. With a constant rate both are the same; along a
    schedule the weights drift apart a little.

    Args:
        steps: Number of steps in all.
        learning_rate: The highest. Default: .01.
        warmup_steps: Default: a tenth of `steps`, at most the paper's 500.
        from_logits: Whether the model ends in logits; else in a softmax.

    Returns:
        Arguments of `keras.Model.compile`.

    Raises:
        ValueError: If an argument is out of its range.
    """
    rate = learning_rate_schedule(
        steps, 0.01 if learning_rate is None else learning_rate, warmup_steps
    )
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, global_clipnorm=1.0)
    return _compile_args(optimizer, from_logits)


def from_scratch_recipe(
    steps: int = 1000,
    learning_rate: float | None = None,
    warmup_steps: int | None = None,
    *,
    from_logits: bool = False,
) -> dict[str, Any]:
    """How the paper trains from random weights (Table 3): Adam with b1 = .9 and b2 = .999.

    With the cosine, the clipping to a global norm of 1 and the warmup that it has for
    ImageNet. A small set wants many passes over it: the weight decay is the decoupled one
    of AugReg, .1 times the learning rate.

    Args:
        steps: Number of steps in all.
        learning_rate: The highest. Default: .002, for small models; the paper's are .0002 to
            .003 at batches of 4096.
        warmup_steps: Default: a tenth of `steps`, at most 500.
        from_logits: Whether the model ends in logits; else in a softmax.

    Returns:
        Arguments of `keras.Model.compile`.

    Raises:
        ValueError: If an argument is out of its range.
    """
    rate = learning_rate_schedule(
        steps, 0.002 if learning_rate is None else learning_rate, warmup_steps
    )
    optimizer = keras.optimizers.AdamW(
        rate, beta_1=0.9, beta_2=0.999, weight_decay=0.1, global_clipnorm=1.0
    )
    return _compile_args(optimizer, from_logits)


def _compile_args(optimizer: Any, from_logits: bool) -> dict[str, Any]:
    return {
        "optimizer": optimizer,
        "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits),
        "metrics": [keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        # On a GPU "auto" compiles with XLA, on a CPU not: there XLA gains nothing. ViT-Ti/16 at
        # 224 px, batch 32, two cores: 1.8 s a step in float32 with and without it; 1.9 s with
        # and 1.2 s without in mixed_bfloat16; and it takes 5 s longer to start.
        "jit_compile": "auto",
    }


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """What came out of `fine_tune`.

    Attributes:
        history: A list per quantity, one entry per evaluation: `step` (so many had been made),
            `loss` and `accuracy` (means over the training crops since the entry before),
            `val_loss` and `val_accuracy`.
        train_accuracy: Share of the training images (2,000 of them at most) that are right at
            the end, without random crops; in [0, 1].
        validation_accuracy: Share of the validation images that are right at the end.
        steps: Number of steps made.
        seconds: Time of the training, evaluations between included.
    """

    history: dict[str, list[float]]
    train_accuracy: float
    validation_accuracy: float
    steps: int
    seconds: float


def fine_tune(
    model: keras.Model,
    data: ImageData,
    *,
    steps: int = 500,
    learning_rate: float | None = None,
    warmup_steps: int | None = None,
    recipe: Callable[..., dict[str, Any]] = fine_tune_recipe,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
) -> TrainingResult:
    """Compiles the model with a recipe and trains it, evaluating ten times on the way.

    Args:
        model: Takes pixels in [0, 255] (`include_preprocessing=True`) of the size of `data`
            and gives probabilities or logits of its classes. It is trained in place.
        data: From `from_folder`, `from_tfds` or `digits` of `keras_vit.data`.
        steps: Number of steps; rounded up to a multiple of the number of evaluations.
        learning_rate: The highest. Default: the recipe's.
        warmup_steps: Default: the recipe's.
        recipe: `fine_tune_recipe`, `from_scratch_recipe`, or a function with their arguments.
        callbacks: More callbacks for `model.fit`; an epoch is what lies between evaluations.
        verbose: As in `model.fit`.

    Returns:
        The history and the final accuracies.

    Raises:
        ValueError: If the model does not fit the data, an argument is out of its range, or the
            loss becomes NaN or infinite.
    """
    _check_fit(model, data)
    schedule_args = (steps, learning_rate, warmup_steps)
    model.compile(**recipe(*schedule_args, from_logits=not ends_in_softmax(model)))
    # The variables of the optimiser and of the metrics are made now: those that appear while
    # TensorFlow traces the training step make it trace once more, which takes as long again.
    model.optimizer.build(model.trainable_variables)
    _evaluate(model, data.validation.take(1))
    epochs = min(EVALUATIONS, steps)
    steps_per_epoch = -(-steps // epochs)
    start = time.perf_counter()
    fit = model.fit(
        data.train.repeat(),
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        validation_data=data.validation,
        callbacks=[keras.callbacks.TerminateOnNaN(), *callbacks],
        shuffle=False,  # the data are shuffled already, and Keras warns of a second time
        verbose=verbose,  # pyright: ignore[reportArgumentType]
    )
    seconds = time.perf_counter() - start
    history = {name: [float(x) for x in values] for name, values in fit.history.items()}
    if not np.all(np.isfinite(history["loss"])):
        raise ValueError(
            "The loss became NaN or infinite: the training diverged. Try a lower learning rate. "
            f"Received: learning_rate={learning_rate}"
        )
    history["step"] = [float((i + 1) * steps_per_epoch) for i in range(len(history["loss"]))]
    batches = -(-TRAIN_IMAGES_TO_EVALUATE // data.batch_size)
    train = _evaluate(model, data.train_as_validation.take(batches))
    return TrainingResult(
        history,
        train_accuracy=float(train["accuracy"]),
        validation_accuracy=history["val_accuracy"][-1],
        steps=len(history["loss"]) * steps_per_epoch,
        seconds=seconds,
    )


def _evaluate(model: keras.Model, dataset: Any) -> Any:
    return model.evaluate(
        dataset,
        verbose=0,  # pyright: ignore[reportArgumentType]
        return_dict=True,
    )


def check_takes_pixels(model: keras.Model) -> None:
    """Refuses a Vision Transformer for images in [-1, 1]; of other models nothing is known."""
    names = {layer.name for layer in model.layers}
    if "patch_embed" in names and "preprocessing" not in names:
        raise ValueError(
            "The model expects pixels in [-1, 1], the images are in [0, 255]. Build the model "
            f"with `include_preprocessing=True`. Received: model={model.name!r}"
        )


def ends_in_softmax(model: keras.Model) -> bool:
    """Whether a model gives probabilities; else its outputs are taken for logits."""
    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    return isinstance(last, keras.layers.Softmax) or activation is keras.activations.softmax


def _check_fit(model: keras.Model, data: ImageData) -> None:
    check_takes_pixels(model)
    size = tuple(model.input_shape[1:3])
    if any(side not in (None, pixels) for side, pixels in zip(size, data.image_size, strict=True)):
        raise ValueError(
            "The model and the data must have the same image size. Received: a model for "
            f"{size}, data of {data.image_size}"
        )
    classes = len(data.class_names)
    if len(model.output_shape) != 2 or model.output_shape[-1] != classes:
        raise ValueError(
            f"The model must have {classes} outputs, one per class of the data; for weights of "
            f"another number of classes pass `classes={classes}, new_head=True`. Received: a "
            f"model with the output shape {model.output_shape}"
        )
