"""Reads and writes files of weights, of several libraries.

`convert` writes a checkpoint of one library as that of another.
"""

from keras_vit.checkpoints import convert
from keras_vit.checkpoints.load import from_checkpoint, load_weights
from keras_vit.checkpoints.save import save_weights

__all__ = ["convert", "from_checkpoint", "load_weights", "save_weights"]
