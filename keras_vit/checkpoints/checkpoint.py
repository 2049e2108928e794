"""A checkpoint of any format, seen as the variables of our models."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from keras_vit.checkpoints.files.array_file import check_finite
from keras_vit.checkpoints.files.open import open_arrays
from keras_vit.checkpoints.names.detect import detect
from keras_vit.checkpoints.names.formats import FORMATS
from keras_vit.checkpoints.names.keys import Key
from keras_vit.checkpoints.names.layouts import LAYOUTS, shape_read
from keras_vit.checkpoints.names.others import what_has

# Blocks that a scan over layers has stacked: `Transformer/encoderblock/...`, one array for all.
_STACKED = "/encoderblock/"
# (width, depth, MLP, of a SwiGLU both halves) -> heads, where a head does not have 64 channels or
# the width is unusual: ViT-H, g, G, e, SoViT-400m, SigLIP's giantopt, DINOv2's giant, DINOv3's H+
# and 7B, and timm's models for tests.
_HEADS = {
    (1280, 32, 5120): 16, (1408, 40, 6144): 16, (1664, 48, 8192): 16, (1792, 56, 15360): 16,
    (1152, 27, 4304): 16, (1536, 40, 6144): 16, (1536, 40, 8192): 24, (1280, 32, 10240): 20,
    (4096, 40, 16384): 32,
    (64, 6, 192): 2, (64, 8, 192): 2, (96, 9, 192): 3, (96, 9, 288): 3,
}  # fmt: skip
# Above this width no size is usual.
_WIDEST = 1024


class Checkpoint(Mapping[str, np.ndarray]):
    """A mapping from our names of variables to their values; values are read when asked for.

    Position embeddings have the shape that they have in the file, all others the shape of the
    variable. Values are float32, or float64 if the file has that.

    Args:
        path: The file.

    Attributes:
        format: Its `Format`.
        arrays: Name of every array, as the table of the format spells it -> shape.
        shapes: Name of every variable -> its shape, as far as the arrays have a fitting rank.
        unknown: Arrays that are not a variable of the family.
        allow_nonfinite: Whether NaN and infinity are read too; they are refused otherwise.
        left_out: Arrays of the file that belong to no model, those of an optimiser for example.
        metadata: What else the file says about the model; may be empty.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not the checkpoint of a known kind of model, or is damaged.
        ImportError: If a package for this kind of file is missing.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.allow_nonfinite = False
        self._reader = open_arrays(path)
        try:
            self._read_names()
        except BaseException:
            self._reader.close()
            raise

    def _read_names(self) -> None:
        self.path = self._reader.path
        detected = detect(self._reader.shapes)
        if detected is None:
            known = ", ".join(f"{f.title} ({f.markers[0]!r})" for f in FORMATS)
            raise ValueError(
                f"{str(self.path)!r} is not a checkpoint of a format that keras_vit knows. "
                f"{_what_it_is(self._reader)} The formats, and an array that each of them has: "
                f"{known}. Received: {sorted(self._reader)[:5]} and so on"
            )
        self.format, named = detected.format, detected.sources
        self.left_out = detected.left_out
        self.metadata: Mapping[str, Any] = self._reader.metadata
        self.arrays: dict[str, tuple[int, ...]] = {}
        self.sources: dict[str, tuple[tuple[str, ...], int | None]] = {}
        for name, source in named.items():
            shape = self._reader.shapes[source[0]]
            if len(source) > 1:
                shape = (len(source), *shape)
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
        self._last: tuple[tuple[str, ...], np.ndarray] | None = None

    def array_of(self, variable: str) -> tuple[str, Key] | None:
        """The name of the array for a variable, in the file's format, and its row."""
        return self._rows.get(variable) or self.format.array_of(variable)

    def has(self, variable: str) -> bool:
        """Whether the file has an array for a variable."""
        return variable in self._rows

    def is_absent(self, key: Key) -> bool:
        """Whether the file has no array of this row, and may lack them."""
        may_lack = key.zero_if_absent or key.layout == "sincos2d"
        return may_lack and not any(k == key for _, k in self._rows.values())

    def dtype_of(self, array: str) -> str:
        """Name of the dtype of an array."""
        return str(self._reader.dtypes[self.sources[array][0][0]])

    def num_heads(self, wanted: int | None = None) -> int:
        """Heads of the attention, from the shapes, or from what the file says, or by the width.

        PyTorch's and Keras's layouts do not show the heads. All models of the paper but ViT-H have
        64 channels in each.

        Args:
            wanted: The number to return where the shapes do not show it.

        Raises:
            ValueError: If the number cannot be found.
        """
        for variable, (name, key) in self._rows.items():
            if key.layout == "to_heads" and variable in self.shapes:
                return self.arrays[name][1]
        if wanted is not None:
            return wanted
        said = self.said_heads()
        if said is not None:
            return said
        width = self.shapes.get("block_0/attention/query/kernel", (0,))[0]
        hidden = (self.shapes.get(f"block_0/mlp/{name}/kernel") for name in ("gate", "dense_1"))
        mlp_dim = sum(shape[-1] for shape in hidden if shape)
        depth = sum(name.endswith("/attention_norm/gamma") for name in self.shapes)
        heads = _HEADS.get((width, depth, mlp_dim))
        if heads is None:
            heads = width // 64 if width % 64 == 0 and width <= _WIDEST else 0
        if heads == 0:
            raise ValueError(
                f"{str(self.path)!r} does not say how many attention heads its model has. The "
                f"usual rule, a head for 64 channels, does not hold at its width of {width}. Pass "
                "the number as `num_heads=`."
            )
        return heads

    def said_heads(self) -> int | None:
        """Heads of the attention as the file, or a configuration beside it, says them."""
        width = self.shapes.get("block_0/attention/query/kernel", (0,))[0]
        said = self.metadata.get("num_heads")
        if isinstance(said, int) and said > 0 and self.metadata.get("width", width) == width:
            return said
        return None

    def verify(self) -> None:
        """Reads every array once, which compares the checksums of an `.npz`.

        Raises:
            ValueError: If one is damaged, or has NaN or infinity.
        """
        self._reader.verify(self.allow_nonfinite)

    def __getitem__(self, variable: str) -> np.ndarray:
        name, key = self._rows[variable]
        source, index = self.sources[name]
        if key.part is None and index is None:
            array = self._read(source)
        else:
            array = self._shared(source)
            if index is not None:
                array = array[index]
        if key.part is not None:
            part, count = key.part
            size = len(array) // count
            array = array[part * size : (part + 1) * size]
        return LAYOUTS[key.layout].read(array)

    def _shared(self, source: tuple[str, ...]) -> np.ndarray:
        """An array that several variables share: query, key and value, or the blocks of a stack."""
        if self._last is None or self._last[0] != source:
            self._last = None  # first, so that two large arrays are never there at once
            self._last = (source, self._read(source))
        return self._last[1]

    def _read(self, source: tuple[str, ...]) -> np.ndarray:
        arrays = []
        for name in source:
            arrays.append(as_float(self._reader[name]))
            if not self.allow_nonfinite:
                check_finite(arrays[-1], name, self.path)
        return arrays[0] if len(arrays) == 1 else np.stack(arrays)

    def __contains__(self, variable: object) -> bool:
        return variable in self._rows  # a `Mapping` would read the array to find out

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()


def _what_it_is(names: Iterable[str]) -> str:
    names = list(names)
    markers = [f"/{marker}" for f in FORMATS if f.name == "keras" for marker in f.markers]
    if any(name.endswith(marker) for name in names for marker in markers):
        return (
            "It is a saved model of your own around a backbone of keras_vit: "
            "`import keras_vit; keras.models.load_model(path)` opens it where it is a .keras "
            "file, and `model.load_weights(path)` loads it into the same model."
        )
    return what_has(names) or "Its arrays have other names."


def part_shape(key: Key, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the part of an array that a row means."""
    if key.part is None or not shape:
        return shape
    return (shape[0] // key.part[1], *shape[1:])


def is_float(dtype: str) -> bool:
    """Whether a dtype is floating point; big_vision's bfloat16 is `|V2` in an `.npz`."""
    if dtype in ("bfloat16", "|V2"):
        return True
    try:
        return np.dtype(dtype).kind == "f"
    except TypeError:
        return False  # NumPy has no such numbers: fp8


def as_float(array: np.ndarray) -> np.ndarray:
    """Turns 16-bit floats into float32."""
    if array.dtype == np.dtype("V2"):
        import ml_dtypes  # comes with Keras

        array = array.view(ml_dtypes.bfloat16)
    if array.dtype.name in ("float16", "bfloat16"):
        return array.astype("float32")
    return array
