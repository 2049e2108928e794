"""Reads `.safetensors` files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_vit.checkpoints.files.array_file import ArrayFile
from keras_vit.checkpoints.files.config_json import settings_beside
from keras_vit.utils.files import parsed_json

_SAFETENSORS_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


class SafetensorsReader(ArrayFile):
    """Arrays of a `.safetensors` file; see `open_arrays`."""

    def __init__(self, path: Path):
        self.path = path
        try:
            import safetensors
        except ImportError as error:
            raise ImportError(
                f"Reading {path.name!r} needs the package safetensors: "
                'pip install "keras-vit-applications[safetensors]"'
            ) from error
        self._open = lambda: safetensors.safe_open(path, framework="numpy")
        with self._open() as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            self.shapes = {name: tuple(s.get_shape()) for name, s in slices.items()}
            self.dtypes = {
                name: _SAFETENSORS_DTYPES.get(s.get_dtype(), s.get_dtype())
                for name, s in slices.items()
            }
            self.metadata = _metadata(file.metadata(), path)

    def read(self, name: str) -> np.ndarray:
        # The file is mapped anew for each array, else all of it would end up in memory.
        with self._open() as file:
            return file.get_tensor(name)


def _metadata(inside: Mapping[str, str] | None, path: Path) -> dict[str, Any]:
    """What we wrote into the file, or the `config.json` that lies beside it."""
    if inside and "keras_vit" in inside:
        return parsed_json(inside["keras_vit"], {}, f"the metadata of {str(path)!r}")
    return settings_beside(path)
