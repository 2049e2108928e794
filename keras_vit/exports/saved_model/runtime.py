"""Runs SavedModels."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf


def runner(
    path: str | os.PathLike[str], takes_pixels: bool = False
) -> Callable[[np.ndarray], np.ndarray]:
    """A function of pixels, uint8 `[B, rows, columns, channels]` for any B.

    Args:
        path: Of the folder.
        takes_pixels: Makes no difference: the signature scales pixels as the model wants them.
    """
    loaded: Any = tf.saved_model.load(os.fspath(path))
    run = loaded.signatures["predict_pixels"]
    return lambda pixels: run(pixels=tf.constant(pixels))["outputs"].numpy()
