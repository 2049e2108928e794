"""Writes a model as a file to deploy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from keras_vit.exports.formats import FORMATS, format_of
from keras_vit.utils.checks import check_choice


def export(
    model: Any, path: str | os.PathLike[str], *, format: str | None = None, **options: Any
) -> Path:
    """Writes a model as a file, or a folder, to deploy.

    Args:
        model: A classifier that keras_vit built; trained or not, of any dtype policy.
        path: A folder to make for a SavedModel, a file that ends with `.tflite` or `.onnx` for
            the others.
        format: `"savedmodel"`, `"tflite"` or `"onnx"`. Default: what the ending of `path` says.
        **options: Those of the format, see `exports.saved_model.export.export_saved_model`,
            `exports.tflite.export.export_tflite` and `exports.onnx.export.export_onnx`:
            `class_names`, `overwrite`, `top_k`, `quantize`, ...

    Returns:
        `path`.

    Raises:
        ValueError: If the format is unknown, or does not fit the path or the model.
        FileExistsError: If there is something at `path`, and no `overwrite=True`.
        ImportError: If a package for the format is not installed.
    """
    name = format_of(Path(path)) if format is None else format
    write, _ = FORMATS[check_choice("format", name, FORMATS)].load()
    return write(model, path, **options)
