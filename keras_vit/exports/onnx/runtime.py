"""Runs ONNX files with ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_vit.data.preprocessing import preprocess_input


def runner(
    path: str | os.PathLike[str], takes_pixels: bool = False
) -> Callable[[np.ndarray], np.ndarray]:
    """A function of pixels, uint8 `[B, rows, columns, channels]` for any B.

    Args:
        path: Of the file.
        takes_pixels: Whether its input is in [0, 255].

    Raises:
        ImportError: If onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            'ONNX files are run by onnxruntime: pip install "keras-vit-applications[onnx]"'
        ) from error
    session: Any = onnxruntime.InferenceSession(path)

    def run(pixels: np.ndarray) -> np.ndarray:
        images = pixels.astype("float32")
        images = images if takes_pixels else preprocess_input(images)
        return session.run(["output"], {"image": images})[0]

    return run
