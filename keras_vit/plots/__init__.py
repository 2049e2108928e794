"""Arrays in, pictures out. Only here matplotlib is used, without its global state."""

from keras_vit.plots.base import (
    RIGHT,
    TRAINING,
    VALIDATION,
    WRONG,
    new_figure,
    require_matplotlib,
    save,
)
from keras_vit.plots.training import predictions_grid, training_curves

__all__ = [
    "RIGHT",
    "TRAINING",
    "VALIDATION",
    "WRONG",
    "new_figure",
    "predictions_grid",
    "require_matplotlib",
    "save",
    "training_curves",
]
