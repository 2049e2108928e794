"""Fine-tuning: a model, data and a recipe; out comes a trained model and its history."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_vit.data import ImageData
from keras_vit.data.damage import data_errors
from keras_vit.models.input_and_head import check_takes_pixels, ends_in_probabilities
from keras_vit.recipes import Recipe
from keras_vit.recipes.short import fine_tune_recipe
from keras_vit.training import loop
from keras_vit.training.engine import compiled, scope
from keras_vit.utils.checks import check_counts

EVALUATIONS = 10
# To report the accuracy on the training images: more of them would not change its digits.
TRAIN_IMAGES_TO_EVALUATE = 2_000


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
        seconds: Time of the training, evaluations between included; that of all starts of a run
            that was interrupted.
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
    steps: int | None = None,
    learning_rate: float | None = None,
    warmup_steps: int | None = None,
    recipe: Recipe | Callable[..., dict[str, Any]] = fine_tune_recipe,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
    checkpoints: str | Path | None = None,
    save_every: int | None = None,
    accumulate: int = 1,
    jit_compile: bool | str = "auto",
    facts: dict[str, Any] | None = None,
    note: dict[str, Any] | None = None,
    strategy: Any = None,
) -> TrainingResult:
    """Compiles the model with a recipe and trains it, evaluating ten times on the way.

    With `checkpoints`, a process that ends at any moment, by a signal, a power cut or an error,
    loses no more than the steps since the last checkpoint: called again with the same arguments
    on a model built by the same code, `fine_tune` goes on, and the weights are in the end those
    of a run that was not interrupted, bit for bit on a CPU (on a GPU if
    `tf.config.experimental.enable_op_determinism()` was called first).

    Args:
        model: Takes pixels in [0, 255] (`include_preprocessing=True`) of the size of `data`
            and gives probabilities or logits of its classes. It is trained in place.
        data: From a function of `keras_vit.data`. Where its labels are one-hot, loss and
            accuracy are those for one-hot labels.
        steps: Number of steps; rounded up to a multiple of the number of evaluations. Default:
            the recipe's, 500 where it has none.
        learning_rate: The highest. Default: the recipe's.
        warmup_steps: Default: the recipe's.
        recipe: A `keras_vit.recipes.Recipe`, `fine_tune_recipe`, `from_scratch_recipe`, or a
            function with their arguments.
        callbacks: More callbacks, as for `model.fit`; an epoch is what lies between evaluations.
        verbose: 0 for silence, 2 for a line per evaluation; `"auto"` and 1 write a line anew as
            it goes.
        checkpoints: A folder for checkpoints and `log.csv`. Default: none are written.
        save_every: Batches between checkpoints. Default: before each evaluation only.
        accumulate: Batches per step (of `data.batch_size` each), whose gradients are averaged.
        jit_compile: `"auto"` compiles with XLA on a GPU; `True` everywhere.
        facts: What the checkpoints are to say besides, for JSON; they are refused by a run where
            it is something else.
        note: The same, but not compared.
        strategy: A `tf.distribute` strategy in whose scope the model was made: then steps and
            evaluations are those of `keras_vit.distribution`, on all its devices. Each step takes
            the images that it would take on one. On several machines all call this with the same
            arguments; the first one writes, into a folder that all of them can read. Default:
            Keras's own step, on one device.

    Returns:
        The history and the final accuracies.

    Raises:
        ValueError: If the model does not fit the data, an argument is out of its range, the
            checkpoints are of another run, or the loss becomes NaN or infinite.
        OSError: If a checkpoint cannot be written (the disk is full), or a data file has
            vanished or is damaged.
        keras_vit.training.PreemptedError: After a SIGTERM, the state being saved.
    """
    _check_fit(model, data)
    check_counts(1, accumulate=accumulate)
    if save_every is not None:
        check_counts(1, save_every=save_every)
    in_optimizer = accumulate if strategy is None else 1
    given = {"learning_rate": learning_rate, "warmup_steps": warmup_steps}
    with scope(strategy):
        steps, args = _made(recipe, model, data.one_hot, in_optimizer, steps, **given)
    devices = compiled(model, args, strategy, accumulate, jit_compile)
    # The variables of the metrics are made now: those that appear while TensorFlow traces the
    # training step make it trace once more, which takes as long again.
    with data_errors(data):
        devices.evaluate(data.validation.take(1), data.batch_size)
    evaluations = min(EVALUATIONS, steps)
    evaluate_every = -(-steps // evaluations) * in_optimizer
    plan = loop.Plan(
        batches=evaluate_every * evaluations,
        evaluate_every=evaluate_every,
        save_every=save_every and -(-save_every // devices.batches_per_call),
        accumulate=in_optimizer,
        folder=None if checkpoints is None else Path(checkpoints),
        facts=_as_json(
            {**_data_facts(data), "steps": steps, "accumulate": accumulate, **given} | (facts or {})
        ),
        note=_as_json(note or {}),
    )
    rows, seconds = loop.train(model, data, plan, callbacks, verbose, devices)
    history = {name: [row[name] for row in rows] for name in rows[0]}
    batches = -(-TRAIN_IMAGES_TO_EVALUATE // data.batch_size)
    kept = "" if checkpoints is None else f" The last checkpoint is in {checkpoints}."
    with data_errors(data, lambda: (", after the last step", kept)):
        train = devices.evaluate(data.train_as_validation.take(batches), data.batch_size)
    return TrainingResult(
        history,
        train_accuracy=train["accuracy"],
        validation_accuracy=history["val_accuracy"][-1],
        steps=int(history["step"][-1]),
        seconds=seconds,
    )


def _made(
    recipe: Recipe | Callable[..., dict[str, Any]],
    model: keras.Model,
    one_hot: bool,
    accumulate: int,
    steps: int | None,
    learning_rate: float | None,
    warmup_steps: int | None,
) -> tuple[int, dict[str, Any]]:
    """The number of steps and the arguments of `compile` that a recipe gives."""
    from_logits = not ends_in_probabilities(model)
    if isinstance(recipe, Recipe):
        recipe = adapted(recipe, steps, learning_rate, warmup_steps).replace(
            labels="one_hot" if one_hot else "integer"
        )
        return recipe.total_steps, recipe.compile_args(
            from_logits, gradient_accumulation_steps=accumulate if accumulate > 1 else None
        )
    steps = 500 if steps is None else steps
    # Only what is asked for: a function of the user's may know nothing of the rest.
    extra: dict[str, Any] = {"one_hot": True} if one_hot else {}
    if accumulate > 1:
        extra["accumulate"] = accumulate
    return steps, recipe(steps, learning_rate, warmup_steps, from_logits=from_logits, **extra)


def adapted(
    recipe: Recipe, steps: int | None, learning_rate: float | None, warmup_steps: int | None
) -> Recipe:
    """A recipe with what is given in place of its own; a warmup goes with the steps otherwise."""
    if steps is not None:
        check_counts(1, steps=steps)
        recipe = recipe.shortened_to(steps)
    given = {"learning_rate": learning_rate, "warmup_steps": warmup_steps}
    return recipe.replace(**{name: value for name, value in given.items() if value is not None})


def _data_facts(data: ImageData) -> dict[str, Any]:
    """By which one sees that a run is taken up with other data."""
    return {
        "data": data.name,
        "class_names": data.class_names,
        "train_images": data.num_train,
        "validation_images": data.num_validation,
        "image_size": data.image_size,
        "batch_size": data.batch_size,
    }


def _as_json(values: dict[str, Any]) -> dict[str, Any]:
    """As they are when they have been written and read: tuples become lists."""
    return json.loads(json.dumps(values))


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
