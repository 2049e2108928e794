"""Reads Keras's own files, `.weights.h5` and `.keras`."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from keras_vit.checkpoints.files.array_file import ArrayFile
from keras_vit.checkpoints.files.npz import MAX_TOTAL_BYTES


def too_large(path: Path) -> ValueError:
    return ValueError(f"{str(path)!r} declares more than {MAX_TOTAL_BYTES // 2**30} GiB of arrays.")


def parsed_json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


class H5Reader(ArrayFile):
    """Variables of a `.weights.h5` file under our own names; see `open_arrays`.

    Keras names the groups by the class of the layer and a counter, and keeps the name of the
    layer as an attribute; variables have a number.
    """

    def __init__(self, path: Path, file: Any = None):
        import h5py  # a dependency of Keras, which imports it when it is needed

        self.path = path
        self.shapes, self.dtypes, self.metadata = {}, {}, {}
        self._datasets: dict[str, Any] = {}
        try:
            self._file = h5py.File(file or path, "r")
            # Links are not followed, so nothing outside of the file is read.
            self._file.visititems(self._add)
        except (OSError, RuntimeError, KeyError, TypeError) as error:
            raise ValueError(f"Cannot read {str(path)!r} as HDF5: {error}") from error
        if sum(dataset.nbytes for dataset in self._datasets.values()) > MAX_TOTAL_BYTES:
            raise too_large(path)

    def _add(self, path: str, item: Any) -> None:
        parts = path.split("/")
        if parts[0] != "layers" or len(parts) < 4 or parts[-2] != "vars":
            return
        if not hasattr(item, "dtype") or item.external or item.is_virtual:
            return  # a group, or data in another file
        if "seed_generator" in parts:
            return  # the state of a dropout
        layers = ["/".join(parts[: n + 1]) for n in range(1, len(parts) - 2)]
        layer = "/".join(self._layer_name(group) for group in layers)
        name = f"{layer}/{_variable_name(layer, parts[-1])}"
        if name == "position_embedding/grid_size":
            self.metadata["grid_size"] = [int(n) for n in item[:2]]
            return
        self.shapes[name] = tuple(item.shape)
        self.dtypes[name] = str(item.dtype)
        self._datasets[name] = item

    def _layer_name(self, group: str) -> str:
        name = self._file[f"{group}/vars"].attrs.get("name")
        return str(name) if name is not None else group.rpartition("/")[2]

    def __getitem__(self, name: str) -> np.ndarray:
        try:
            return self._datasets[name][()]
        except OSError as error:
            raise ValueError(
                f"Cannot read {str(self.path)!r}: {name!r} is damaged ({error})."
            ) from error

    def close(self) -> None:
        self._file.close()


def _variable_name(layer: str, number: str) -> str:
    last = layer.rpartition("/")[2]
    if not number.isdecimal():
        return number
    if "norm" in last:
        names = ("gamma", "beta")
    elif last in ("class_token", "registers"):
        names = ("token",)
    elif last.endswith("_scale"):
        names = ("gamma",)
    else:
        names = ("kernel", "bias")
    return names[int(number)] if int(number) < len(names) else number


class KerasReader(H5Reader):
    """Variables of a `.keras` file, and what its configuration says; see `open_arrays`."""

    def __init__(self, path: Path):
        self._copy = tempfile.TemporaryFile()  # noqa: SIM115 (HDF5 wants to go to and fro in it)
        try:
            with zipfile.ZipFile(path) as archive:
                if sum(member.file_size for member in archive.infolist()) > MAX_TOTAL_BYTES:
                    raise too_large(path)
                with archive.open("model.weights.h5") as source:
                    shutil.copyfileobj(source, self._copy, 2**20)
                with archive.open("config.json") as source:
                    config = parsed_json(source.read(2**24).decode("utf-8", errors="replace"))
            super().__init__(path, self._copy)
        except (zipfile.BadZipFile, zlib.error, KeyError) as error:
            self._copy.close()
            raise ValueError(f"{str(path)!r} is no complete .keras file: {error}") from error
        except BaseException:
            self._copy.close()
            raise
        self.metadata |= _settings_of(config)

    def close(self) -> None:
        super().close()
        self._copy.close()


def _settings_of(config: dict[str, Any]) -> dict[str, Any]:
    """Heads, GELU and epsilon of the first Transformer block, and the size of the image."""
    inside = config.get("config")
    layers = inside.get("layers") if isinstance(inside, dict) else None
    settings: dict[str, Any] = {}
    for layer in layers if isinstance(layers, list) else ():
        options = layer.get("config") if isinstance(layer, dict) else None
        if not isinstance(options, dict):
            continue
        if layer.get("class_name") == "TransformerBlock":
            settings |= {
                "num_heads": options.get("num_heads"),
                "gelu": options.get("gelu"),
                "norm_epsilon": options.get("epsilon"),
            }
            break
    return {key: value for key, value in settings.items() if value is not None}
