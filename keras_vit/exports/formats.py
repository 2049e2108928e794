"""The formats of exported files: a row for each, which says what it can do."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_vit.exports.onnx import graph
from keras_vit.exports.runner import Runner
from keras_vit.exports.tflite import quantizations
from keras_vit.utils.checks import check_choice


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of exported files.

    Attributes:
        suffix: What a path ends with; `""` is a folder.
        load: Imports and returns what writes a file, a function of (model, path, **options), and
            what runs one: a function of a path that gives a `Runner`. Called when they are used,
            as each format needs packages of its own.
        quantizations: What `quantize=` of the writer may be.
        need_photos: Those of the quantizations that need `calibration=`.
        options: Further arguments that no other writer takes.
        check: Refuses some of these that cannot be.
    """

    suffix: str
    load: Callable[[], tuple[Callable[..., Path], Callable[[Path], Runner]]]
    quantizations: tuple[str, ...] = ()
    need_photos: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    check: Callable[..., None] = lambda **options: None


def _saved_model() -> Any:
    from keras_vit.exports.saved_model import export, runtime

    return export.export_saved_model, runtime.runner


def _tflite() -> Any:
    from keras_vit.exports.tflite import export, runtime

    return export.export_tflite, runtime.runner


def _onnx() -> Any:
    from keras_vit.exports.onnx import export, runtime

    return export.export_onnx, runtime.runner


FORMATS = {
    "savedmodel": Format("", _saved_model),
    "tflite": Format(".tflite", _tflite, quantizations.QUANTIZATIONS, quantizations.NEED_PHOTOS),
    "onnx": Format(
        ".onnx",
        _onnx,
        graph.QUANTIZATIONS,
        options=("opset", "pad_to_multiple_of"),
        check=graph.check_options,
    ),
}
# Of all formats, each once.
QUANTIZATIONS = tuple({each: None for row in FORMATS.values() for each in row.quantizations})


def format_of(path: Path) -> str:
    """The format that the ending of a path says.

    A folder may be called `1`, or `vit.v2`: an ending that is not known says nothing.
    """
    endings = {row.suffix: name for name, row in FORMATS.items()}
    return endings.get(path.suffix, "savedmodel")


def export(
    model: Any, path: str | os.PathLike[str], *, format: str | None = None, **options: Any
) -> Path:
    """Writes a model as a file, or a folder, to deploy.

    Args:
        model: A model around what keras_vit built; trained or not, of any dtype policy.
        path: A folder to make for a SavedModel, a file that ends with `.tflite` or `.onnx` for
            the others.
        format: `"savedmodel"`, `"tflite"` or `"onnx"`. Default: what the ending of `path` says.
        **options: Those of the format, see `exports.saved_model.export.export_saved_model`,
            `exports.tflite.export.export_tflite` and `exports.onnx.export.export_onnx`:
            `class_names`, `input_range`, `scores`, `resize`, `interpolation`, `overwrite`,
            `quantize`, ...

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
