"""`fine_tune`: model, data and recipe go in, a trained model and its history come out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_vit.data import ImageData
from keras_vit.data.damage import data_errors
from keras_vit.distribution.hardware import Hardware
from keras_vit.distribution.processes import losses_are_told
from keras_vit.models.input_and_head import check_channels, check_takes_pixels
from keras_vit.recipes import Recipe, fine_tune_recipe
from keras_vit.training import loop
from keras_vit.training.engine import ONE_DEVICE, OneDevice, compiled
from keras_vit.training.loop import Checkpointing
from keras_vit.utils.checks import check_counts

EVALUATIONS = 10
# To report the accuracy on the training images: more of them would not change its digits.
TRAIN_IMAGES_TO_EVALUATE = 2_000


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """What came out of `fine_tune`.

    Attributes:
        history: A list per quantity, one entry per evaluation: `step` (steps made so far), `loss`
            and `accuracy` (means over the training crops since the previous entry), `val_loss`
            and `val_accuracy`.
        train_accuracy: Share of the training images (2,000 of them at most) that the trained
            model classifies right, without random crops; in [0, 1].
        validation_accuracy: The same share of the validation images.
        steps: Number of steps made.
        seconds: Duration of the training, with its evaluations. For a run that was interrupted,
            the sum over all its starts.
    """

    history: dict[str, list[float]]
    train_accuracy: float
    validation_accuracy: float
    steps: int
    seconds: float


def fine_tune(
    model: keras.Model,
    data: ImageData,
    recipe: Recipe | None = None,
    *,
    accumulate: int = 1,
    hardware: Hardware = ONE_DEVICE,
    checkpoints: Checkpointing | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
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
        recipe: How to train, and how many steps; they are rounded up to a multiple of the number
            of evaluations. Default: `keras_vit.recipes.fine_tune_recipe()`, 500 steps.
        accumulate: Batches per step (of `data.batch_size` each), whose gradients are averaged.
        hardware: Of `keras_vit.distribution.hardware`: `choose("mirrored")`, or
            `under(strategy)` for a strategy of your own. The model is made in its `scope()`. With
            a strategy, steps and evaluations are those of `keras_vit.distribution`, on all its
            devices. Each step takes the images that it would take on one. On several machines
            all call this with the same arguments; the first one writes, into a folder that all
            of them can read. Default: Keras's own step, on one device.
        checkpoints: `Checkpointing("folder")`. Default: none are written.
        callbacks: More callbacks, as for `model.fit`; an epoch ends with each evaluation.
        verbose: 0 for silence, 2 for a line per evaluation, `"auto"` or 1 for one line that is
            updated.

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
    recipe = (fine_tune_recipe() if recipe is None else recipe).replace(
        labels="one_hot" if data.one_hot else "integer"
    )
    with losses_are_told(hardware.strategy):
        engine = compiled(model, recipe, hardware, accumulate)
        # This makes the variables of the metrics. If they appeared only while TensorFlow traces the
        # training step, it would trace the step a second time, which takes as long again.
        with data_errors(data):
            engine.evaluate(data.validation.take(1), data.batch_size)
        evaluations = min(EVALUATIONS, recipe.total_steps)
        in_optimizer = accumulate // engine.batches_per_call
        evaluate_every = -(-recipe.total_steps // evaluations) * in_optimizer
        plan = loop.Plan(
            batches=evaluate_every * evaluations,
            evaluate_every=evaluate_every,
            accumulate=in_optimizer,
            checkpoints=checkpoints and _completed(checkpoints, data, recipe, accumulate, engine),
        )
        rows, seconds = loop.train(engine, data, plan, callbacks, verbose)
        history = {name: [row[name] for row in rows] for name in rows[0]}
        batches = -(-TRAIN_IMAGES_TO_EVALUATE // data.batch_size)
        kept = "" if checkpoints is None else f" The last checkpoint is in {checkpoints.folder}."
        with data_errors(data, lambda: (", after the last step", kept)):
            train = engine.evaluate(data.train_as_validation.take(batches), data.batch_size)
        return TrainingResult(
            history,
            train_accuracy=train["accuracy"],
            validation_accuracy=history["val_accuracy"][-1],
            steps=int(history["step"][-1]),
            seconds=seconds,
        )


def _completed(
    checkpoints: Checkpointing, data: ImageData, recipe: Recipe, accumulate: int, engine: OneDevice
) -> Checkpointing:
    """Adds the facts that show whether a run resumes with the same data and settings."""
    every = checkpoints.every
    if every is not None:
        check_counts(1, every=every)
        every = -(-every // engine.batches_per_call)
    facts = {
        "data": data.name,
        "data_files": data.fingerprint and data.fingerprint(checkpoints.contents),
        "class_names": data.class_names,
        "train_images": data.num_train,
        "validation_images": data.num_validation,
        "image_size": data.image_size,
        "batch_size": data.batch_size,
        "steps": recipe.total_steps,
        "learning_rate": recipe.learning_rate,
        "warmup_steps": recipe.warmup_steps,
        "accumulate": accumulate,
        **checkpoints.facts,
    }
    # In the form in which they are read back: JSON turns tuples into lists.
    facts, note = json.loads(json.dumps([facts, checkpoints.note]))
    return Checkpointing(Path(checkpoints.folder), every, facts, note, checkpoints.contents)


def _check_fit(model: keras.Model, data: ImageData) -> None:
    check_takes_pixels(model)
    spec: Any = data.train.element_spec
    check_channels(model, spec[0].shape[-1])
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
