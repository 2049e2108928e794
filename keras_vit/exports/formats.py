"""The formats to export in, and the function that writes them."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

# Format -> (module, function, what the path ends with). Imported when they are used: each needs
# packages that the others do not.
FORMATS = {
    "savedmodel": ("keras_vit.exports.saved_model.export", "export_saved_model", ""),
    "tflite": ("keras_vit.exports.tflite.export", "export_tflite", ".tflite"),
    "onnx": ("keras_vit.exports.onnx.export", "export_onnx", ".onnx"),
}


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
    endings = {suffix: name for name, (_, _, suffix) in FORMATS.items()}
    # A folder may be called `1`, or `vit.v2`: only an ending that is known says anything.
    name = format if format is not None else endings.get(Path(path).suffix, "savedmodel")
    if name not in FORMATS:
        raise ValueError(f"`format` must be one of {list(FORMATS)}. Received: format={format!r}")
    module, function, _ = FORMATS[name]
    return getattr(importlib.import_module(module), function)(model, path, **options)
