"""Checkpoints of several libraries: read into a model, written from one."""

from keras_vit.checkpoints.load import from_checkpoint, load_weights
from keras_vit.checkpoints.save import save_weights

__all__ = ["from_checkpoint", "load_weights", "save_weights"]
