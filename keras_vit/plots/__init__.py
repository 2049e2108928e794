"""Draws arrays as pictures: the only package with matplotlib.

`charts` compares models, `paper_figures` are the figures of the ViT paper.
"""

from keras_vit.plots import charts, paper_figures
from keras_vit.plots.base import (
    RIGHT,
    TRAINING,
    VALIDATION,
    WRONG,
    new_figure,
    require_matplotlib,
    save,
)
from keras_vit.plots.confusion import confusion_figure
from keras_vit.plots.photos import photo_grid
from keras_vit.plots.training import predictions_grid, training_curves

__all__ = [
    "RIGHT",
    "TRAINING",
    "VALIDATION",
    "WRONG",
    "charts",
    "confusion_figure",
    "new_figure",
    "paper_figures",
    "photo_grid",
    "predictions_grid",
    "require_matplotlib",
    "save",
    "training_curves",
]
