"""Runs ONNX files with ONNX Runtime."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from keras_vit.exports.runner import Runner
from keras_vit.models.input_range import CENTRED, InputRange


def runner(path: str | os.PathLike[str]) -> Runner:
    """A function of pixels, uint8 `[B, rows, columns, channels]` for any B, to outputs by name.

    Args:
        path: Of the file. Its metadata say what its input is; [-1, 1] where they do not.

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

    written = session.get_modelmeta().custom_metadata_map.get("input_range")
    taken = CENTRED if written is None else InputRange(*json.loads(written))
    (image,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]

    def run(pixels: np.ndarray) -> dict[str, np.ndarray]:
        images = taken.of_pixels(pixels.astype("float32"))
        if image.shape[1] == pixels.shape[-1] != image.shape[-1]:  # channels first
            images = images.transpose(0, 3, 1, 2)
        return dict(zip(names, session.run(None, {image.name: images}), strict=True))

    return Runner(run, taken)
