"""A checkpoint of any format, seen as the variables of our models."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from keras_vit.checkpoints.files.open import open_arrays
from keras_vit.checkpoints.names.formats import FORMATS, detect
from keras_vit.checkpoints.names.keys import Key
from keras_vit.checkpoints.names.layouts import LAYOUTS, shape_read

# Blocks that a scan over layers has stacked: `Transformer/encoderblock/...`, one array for all.
_STACKED = "/encoderblock/"
# Width -> heads, where a head does not have 64 channels: ViT-H, ViT-g and SoViT-400m.
_HEADS = {1280: 16, 1408: 16, 1152: 16}


class Checkpoint(Mapping[str, np.ndarray]):
    """A mapping from our names of variables to their values; values are read when asked for.

    Position embeddings come as the file has them, all else has the variable's shape. Numbers
    are in float32 (float64 stays).

    Args:
        path: The file.

    Attributes:
        format: Its `Format`.
        arrays: Name of every array, as the table of the format spells it -> shape.
        shapes: Name of every variable -> its shape, as far as the arrays have a fitting rank.
        unknown: Arrays that are no variable of the family.
        metadata: What the file says about the model besides; may be empty.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not the checkpoint of a known kind of model, or is damaged.
        ImportError: If a package for this kind of file is missing.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._reader = open_arrays(path)
        try:
            self._read_names()
        except BaseException:
            self._reader.close()
            raise

    def _read_names(self) -> None:
        self.path = self._reader.path
        detected = detect(self._reader)
        if detected is None:
            known = ", ".join(f"{f.title} ({f.markers[0]!r})" for f in FORMATS)
            raise ValueError(
                f"{str(self.path)!r} is no checkpoint of a kind that is known here, by the names "
                f"of its arrays: {known}. The first that it has: {sorted(self._reader)[:5]}"
            )
        self.format, named = detected
        self.metadata: Mapping[str, Any] = self._reader.metadata
        self.arrays: dict[str, tuple[int, ...]] = {}
        self.sources: dict[str, tuple[str, int | None]] = {}
        for name, source in named.items():
            shape = self._reader.shapes[source]
            if _STACKED in name and shape:
                for i in range(min(shape[0], 10_000)):
                    unstacked = name.replace(_STACKED, f"/encoderblock_{i}/")
                    self.arrays[unstacked] = shape[1:]
                    self.sources[unstacked] = (source, i)
            else:
                self.arrays[name] = shape
                self.sources[name] = (source, None)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.unknown: list[str] = []
        self._rows: dict[str, tuple[str, Key]] = {}
        for name, shape in self.arrays.items():
            variables = self.format.variables_of(name)
            if not variables:
                self.unknown.append(name)
            for variable, key in variables:
                self._rows[variable] = (name, key)
                found = shape_read(key.layout, part_shape(key, shape))
                if found is not None:
                    self.shapes[variable] = found
        self._last: tuple[str, np.ndarray] | None = None

    def array_of(self, variable: str) -> tuple[str, Key] | None:
        """The name of the array for a variable, in the file's format, and its row."""
        return self._rows.get(variable) or self.format.array_of(variable)

    def has(self, variable: str) -> bool:
        """Whether the file has an array for a variable."""
        return variable in self._rows

    def is_absent(self, key: Key) -> bool:
        """Whether the file has no array of this row, and may lack them."""
        return key.zero_if_absent and not any(k == key for _, k in self._rows.values())

    def dtype_of(self, array: str) -> str:
        """Name of the dtype of an array."""
        return str(self._reader.dtypes[self.sources[array][0]])

    def num_heads(self, wanted: int | None = None) -> int:
        """Heads of the attention, from the shapes, or from what the file says, or by the width.

        PyTorch's and Keras's layouts do not keep heads apart. The paper's models but ViT-H have
        64 channels in each.

        Args:
            wanted: What it is where the shapes do not say it.

        Raises:
            ValueError: If nothing says it.
        """
        for variable, (name, key) in self._rows.items():
            if key.layout == "to_heads" and variable in self.shapes:
                return self.arrays[name][1]
        if wanted is not None:
            return wanted
        width = self.shapes.get("block_0/attention/query/kernel", (0,))[0]
        said = self.metadata.get("num_heads")
        if isinstance(said, int) and self.metadata.get("width", width) == width:
            return said
        heads = _HEADS.get(width, width // 64 if width % 64 == 0 else 0)
        if heads == 0:
            raise ValueError(
                f"{str(self.path)!r} does not say how many attention heads its model has, and a "
                f"width of {width} is not a multiple of the usual 64 channels of a head. Give "
                "the number as `num_heads=`."
            )
        return heads

    def verify(self) -> None:
        """Reads every array once, which compares the checksums of an `.npz`.

        Raises:
            ValueError: If one is damaged.
        """
        for source, _ in self.sources.values():
            self._reader[source]

    def __getitem__(self, variable: str) -> np.ndarray:
        name, key = self._rows[variable]
        source, index = self.sources[name]
        if key.part is None and index is None:
            array = as_float(self._reader[source])
        else:
            array = self._shared(source)
            if index is not None:
                array = array[index]
        if key.part is not None:
            part, count = key.part
            size = len(array) // count
            array = array[part * size : (part + 1) * size]
        return LAYOUTS[key.layout].read(array)

    def _shared(self, source: str) -> np.ndarray:
        """Query, key and value, or the blocks of a stack, come from one array, by turns."""
        if self._last is None or self._last[0] != source:
            self._last = None  # first, so that two large arrays are never there at once
            self._last = (source, as_float(self._reader[source]))
        return self._last[1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()


def part_shape(key: Key, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the part of an array that a row means."""
    if key.part is None or not shape:
        return shape
    return (shape[0] // key.part[1], *shape[1:])


def is_float(dtype: str) -> bool:
    """Whether these are numbers of a model; big_vision's bfloat16 has no name in an `.npz`."""
    return dtype in ("bfloat16", "|V2") or np.dtype(dtype).kind == "f"


def as_float(array: np.ndarray) -> np.ndarray:
    """float32 for what has less digits."""
    if array.dtype == np.dtype("V2"):
        import ml_dtypes  # comes with Keras

        array = array.view(ml_dtypes.bfloat16)
    if array.dtype.name in ("float16", "bfloat16"):
        return array.astype("float32")
    return array
