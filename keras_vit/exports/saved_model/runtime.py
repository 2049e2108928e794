"""Runs SavedModels."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vit.exports.runner import Runner
from keras_vit.models.input_range import PIXELS


def runner(path: str | os.PathLike[str]) -> Runner:
    """A function of pixels, uint8 `[B, rows, columns, channels]` for any B, to outputs by name.

    Args:
        path: Of the folder.
    """
    loaded: Any = tf.saved_model.load(os.fspath(path))
    run = loaded.signatures["predict_pixels"]
    names = set(run.structured_outputs) - {"class_ids", "labels", "scores"}

    def outputs(pixels: np.ndarray) -> dict[str, np.ndarray]:
        made = run(pixels=tf.constant(pixels))
        return {"output" if name == "outputs" else name: made[name].numpy() for name in names}

    return Runner(outputs, PIXELS, "uint8")
