"""Reads `.safetensors` files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_vit.checkpoints.files.array_file import ArrayFile
from keras_vit.checkpoints.files.hdf5 import parsed_json

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
        try:
            with self._open() as file:
                slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
                self.shapes = {name: tuple(s.get_shape()) for name, s in slices.items()}
                self.dtypes = {
                    name: _SAFETENSORS_DTYPES.get(s.get_dtype(), s.get_dtype())
                    for name, s in slices.items()
                }
                self.metadata = _metadata(file.metadata(), path)
        except safetensors.SafetensorError as error:
            raise ValueError(
                f"Cannot read {str(path)!r}: {error}. Expected a .safetensors file; download or "
                "export it again."
            ) from error

    def __getitem__(self, name: str) -> np.ndarray:
        # The file is mapped anew for each array, else all of it would end up in memory.
        with self._open() as file:
            return file.get_tensor(name)


def _metadata(inside: Mapping[str, str] | None, path: Path) -> dict[str, Any]:
    """What we wrote into the file, or the `config.json` of Hugging Face that lies beside it."""
    if inside and "keras_vit" in inside:
        return parsed_json(inside["keras_vit"])
    config = path.with_name("config.json")
    if not config.is_file() or config.stat().st_size > 2**20:
        return {}
    settings = parsed_json(config.read_text(encoding="utf-8", errors="replace"))
    if settings.get("model_type") != "vit":
        return {}
    size = settings.get("image_size")
    found = {
        "width": settings.get("hidden_size"),
        "num_heads": settings.get("num_attention_heads"),
        "norm_epsilon": settings.get("layer_norm_eps"),
        "gelu": {"gelu": "exact", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}.get(
            str(settings.get("hidden_act"))
        ),
        "image_size": [size, size] if isinstance(size, int) else size,
    }
    return {key: value for key, value in found.items() if value is not None}
