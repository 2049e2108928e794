"""Draws arrays as pictures: the only package with matplotlib."""

from keras_vit.plots.base import (
    RIGHT,
    TRAINING,
    VALIDATION,
    WRONG,
    new_figure,
    require_matplotlib,
    save,
)
from keras_vit.plots.training import photo_rows, predictions_grid, training_curves

__all__ = [
    "RIGHT",
    "TRAINING",
    "VALIDATION",
    "WRONG",
    "new_figure",
    "photo_rows",
    "predictions_grid",
    "require_matplotlib",
    "save",
    "training_curves",
]
