"""Reads Keras's own files, `.weights.h5` and `.keras`."""

from __future__ import annotations

import contextlib
import mmap
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from keras_vit.checkpoints.files.array_file import ArrayFile
from keras_vit.checkpoints.files.npz import MAX_TOTAL_BYTES
from keras_vit.layers.functional import GELUS
from keras_vit.layers.pixels import normalisation_of
from keras_vit.layers.position_embedding import INTERPOLATIONS
from keras_vit.layers.tokens import POOLINGS
from keras_vit.models.vit import classifier_of
from keras_vit.utils.files import MOST_BYTES, parsed_json


def too_large(path: Path) -> ValueError:
    return ValueError(f"{str(path)!r} declares more than {MAX_TOTAL_BYTES // 2**30} GiB of arrays.")


class H5Reader(ArrayFile):
    """Variables of a `.weights.h5` file under our own names; see `open_arrays`.

    Keras names the groups by the class of the layer and a counter, and keeps the name of the
    layer as an attribute; variables have a number.

    Attributes:
        places: Path of a dataset in the file -> its name, which two may share.
        settings: Path of a dataset that is no variable (the number of heads) -> its value.
    """

    def __init__(self, path: Path, file: Any = None):
        import h5py  # a dependency of Keras, which imports it when it is needed

        self.path = path
        self.shapes, self.dtypes, self.metadata = {}, {}, {}
        self.places: dict[str, str] = {}
        self.settings: dict[str, np.ndarray] = {}
        self._datasets: dict[str, Any] = {}
        with contextlib.nullcontext(file) if file else open(path, "rb") as opened:
            _check_heaps(opened)
        self._file: Any = h5py.File(file or path, "r")
        try:
            # Links are not followed, so nothing outside of the file is read.
            self._file.visititems(self._add)
            if sum(dataset.nbytes for dataset in self._datasets.values()) > MAX_TOTAL_BYTES:
                raise too_large(path)
        except BaseException:
            self._file.close()
            raise

    def _add(self, path: str, item: Any) -> None:
        if not is_variable(path) or not hasattr(item, "dtype"):
            return
        if item.external or item.is_virtual:
            return  # data in another file
        name = variable_name(path, self._layer_name)
        if name is None:
            return
        key = name.rpartition("/")[2]
        if key in SETTINGS and item.size <= _LARGEST_SETTING:
            self.settings[path] = item[()]
            said, value = SETTINGS[key](self.settings[path])
            self.metadata.setdefault(said, value)
            return
        if item.chunks is None and item.id.get_storage_size() < item.nbytes:
            raise ValueError(f"{name!r} declares {item.nbytes} bytes and has fewer")
        self.places[path] = name
        self.shapes[name] = tuple(item.shape)
        self.dtypes[name] = str(item.dtype)
        self._datasets[name] = item

    def _layer_name(self, group: str) -> str | None:
        found = self._file.get(f"{group}/vars")
        return None if found is None else found.attrs.get("name")

    def shape_at(self, path: str) -> tuple[int, ...]:
        """The shape of the dataset at a path."""
        return tuple(self._file[path].shape)

    def read(self, name: str) -> np.ndarray:
        return self._datasets[name][()]

    def close(self) -> None:
        self._file.close()


# Numbers of a setting: the mean and the deviation of as many channels as an image may have.
_LARGEST_SETTING = 64
# How a heap of strings begins, with its version.
_HEAP = b"GCOL\x01\0\0\0"


def _check_heaps(file: Any) -> None:
    """Refuses a heap of strings whose entries lead nowhere: the HDF5 library never comes back."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:

        def number(place: int, size: int) -> int:
            return int.from_bytes(data[place : place + size], "little")

        heap = data.find(_HEAP)
        while heap >= 0:
            place, end = heap + 16, heap + number(heap + 8, 8)
            while place + 16 <= end <= len(data):
                length = number(place + 8, 8)  # that of free space, entry 0, is with its header
                step = length if number(place, 2) == 0 else 16 + (length + 7) // 8 * 8
                if step < 16:
                    break
                place += step
            if not place <= end < place + 16 or end > len(data):
                raise ValueError("a heap of strings has no end")
            heap = data.find(_HEAP, heap + 8)


# What layers of ours keep beside their variables, so that a file says it.
SETTINGS: dict[str, Callable[[np.ndarray], tuple[str, Any]]] = {
    "grid_size": lambda value: ("grid_size", [int(n) for n in value[:2]]),
    "interpolation": lambda value: ("interpolation", INTERPOLATIONS[int(value)]),
    "num_heads": lambda value: ("num_heads", int(value)),
    "norm_epsilon": lambda value: ("norm_epsilon", float(value)),
    "gelu": lambda value: ("gelu", GELUS[int(value)]),
    "normalisation": lambda value: ("normalisation", normalisation_of(value)),
    "rotary_base": lambda value: ("rotary_base", float(value)),
    "pooling": lambda value: ("classifier", classifier_of(POOLINGS[int(value)])),
}


def is_variable(path: str) -> bool:
    """Whether a path in a Keras file is that of what a layer keeps."""
    parts = path.split("/")
    return parts[0] == "layers" and len(parts) > 3 and parts[-2] == "vars"


def variable_name(path: str, layer_name: Callable[[str], Any]) -> str | None:
    """`"layers/transformer_block/mlp/dense_1/vars/0"` -> `"block_0/mlp/dense_1/kernel"`.

    Args:
        path: Of a dataset.
        layer_name: The path of a group -> the name of its layer, or `None`.

    Returns:
        The name, or `None` for the state of a generator of random numbers.
    """
    parts = path.split("/")
    layers = []
    for n in range(2, len(parts) - 1):
        name = layer_name("/".join(parts[:n]))
        if name is not None or parts[n - 1] != "layers":
            layers.append(parts[n - 1] if name is None else str(name))
    if any(layer.startswith("seed_generator") for layer in (*layers, *parts)):
        return None
    layer = "/".join(layers)
    return f"{layer}/{_variable_name(layer, parts[-1])}"


def _variable_name(layer: str, number: str) -> str:
    last = layer.rpartition("/")[2]
    if not number.isdecimal():
        return number
    if "norm" in last:
        names = ("gamma", "beta")
    elif last == "pooling":
        names = ("probe",)
    elif last.endswith("_token") or last == "registers":
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
                    where = f"config.json in {str(path)!r}"
                    config = parsed_json(source.read(MOST_BYTES), {}, where)
            super().__init__(path, self._copy)
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
