"""Reads and writes files of weights, of several libraries."""

from keras_vit.checkpoints.load import from_checkpoint, load_weights
from keras_vit.checkpoints.save import save_weights

__all__ = ["from_checkpoint", "load_weights", "save_weights"]
