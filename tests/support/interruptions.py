"""A training in this process and what interrupts it, for `test_survives*.py`."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from programs.killed_training import make_data, make_model

from keras_vit.recipes import from_scratch_recipe
from keras_vit.training import Checkpointing, TrainingResult, fine_tune
from keras_vit.training.run_checkpoints import Checkpoints

# In the place of `fine_tune`, where only what comes after it matters.
_ROW = ("step", "loss", "accuracy", "val_loss", "val_accuracy")
NOT_TRAINED = TrainingResult({name: [1.0] for name in _ROW}, 1.0, 1.0, 1, 0.1)


class At(keras.callbacks.Callback):
    """Does something after some batches of this start."""

    def __init__(self, count: int, action):
        super().__init__()
        self.left, self.action = count, action

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            self.action()


class Killed(BaseException):
    """Stands for the end of the process; nothing catches it."""


def kill():
    raise Killed


def train(
    folder, *callbacks, model=None, data=None, recipe=None, steps=12, save_every=1, accumulate=1
):
    """The model after `steps` steps, and the result; a dense network if no other is given."""
    model = model or make_model()
    result = fine_tune(
        model,
        data or make_data(),
        recipe.adapted(steps) if recipe else from_scratch_recipe(steps),
        accumulate=accumulate,
        checkpoints=folder and Checkpointing(folder, save_every),
        callbacks=callbacks,
        verbose=0,
    )
    return model, result


def assert_same_weights(one: keras.Model, other: keras.Model) -> None:
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        assert np.array_equal(a, b)


def steps_in(folder: Path) -> list[int]:
    return [int(path.stem.split("-")[1]) for path in Checkpoints(folder).paths()]
