"""The arrays of a model in the format of a file: names, shapes and values."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_vit.checkpoints.files.config_json import SILU
from keras_vit.checkpoints.model_variables import (
    layers_of,
    model_family,
    model_variables,
    number_of_heads,
)
from keras_vit.checkpoints.names.formats import FORMATS, Format
from keras_vit.checkpoints.names.keys import VIT, Family, Key, members
from keras_vit.checkpoints.names.layouts import LAYOUTS, shape_written
from keras_vit.layers import (
    AttentionPooling,
    PatchEmbed,
    PixelNormalisation,
    PositionEmbedding,
    RotaryEmbedding,
    TokenPooling,
    TransformerBlock,
)
from keras_vit.layers.pixels import normalisation_of
from keras_vit.models.lora import merged
from keras_vit.models.parts import positions_of
from keras_vit.models.vit import classifier_of
from keras_vit.utils.backend import ops

_POSITIONS = "position_embedding/embedding"
_CLASS_TOKEN = "class_token/token"


def format_for(
    name: str,
    family: Family,
    variables: Iterable[str],
    classifier: str | None = None,
    positions: str = "learned",
) -> Format:
    """The row of `FORMATS` that writes such a model, if there is one with such a head.

    Raises:
        ValueError: If the format does not know the family or its kind of positions, lacks a part
            of the model, or has parts that the model lacks.
    """
    variables = list(variables)
    rows = [f for f in FORMATS if f.family is family and f.position_embedding in (None, positions)]
    known = sorted({f.name for f in rows})
    rows = [f for f in rows if f.name == name]
    if not rows:
        kind = "" if positions == "learned" else f" with {positions} positions"
        raise ValueError(
            f"The format {name!r} has no {family.name}{kind}. Formats that have one: {known}"
        )
    complete = [row for row in rows if _writes_whole_files(row, variables)]
    row = min(
        complete or rows,
        key=lambda row: (len(_homeless(row, variables)), classifier not in row.heads),
    )
    if lacking := _homeless(row, variables):
        raise ValueError(
            f"The format {name!r} has no place for these parts of the model: "
            f"{', '.join(sorted(lacking)[:8])}{', ...' if len(lacking) > 8 else ''}. Save it in "
            "another format; format='keras' takes every model."
        )
    if not complete:
        known = [array for v in variables if (r := row.array_of(v)) for array in members(r[0])]
        raise ValueError(
            f"Code that reads the format {name!r} expects arrays that the model has no part for: "
            f"{', '.join(m for m in row.markers if m not in known)}. Save it in another format; "
            "format='keras' takes every model."
        )
    return row


def _homeless(row: Format, variables: list[str]) -> list[str]:
    """The variables for which the format has no array."""
    return [v for v in variables if (r := row.array_of(v)) is None or r[1].read_only]


def _writes_whole_files(row: Format, variables: list[str]) -> bool:
    """Whether a reader of the format finds all that it looks for, and each array whole."""
    found = [pair for variable in variables if (pair := row.array_of(variable)) is not None]
    arrays = [array for array, _ in found]
    whole = all(key.part is None or arrays.count(a) == key.part[1] for a, key in found)
    return whole and set(row.markers) <= {name for array in arrays for name in members(array)}


class Arrays:
    """The arrays that a model has in a format, made one at a time.

    Args:
        model: A model that keras_vit built.
        name: Of the format, `"google"` for example.

    Attributes:
        format: The row of the table.
        shapes: Name -> shape.
        settings: What the arrays do not say: heads, GELU, epsilon, grid.

    Raises:
        ValueError: If the format has no place for a part of the model.
    """

    def __init__(self, model: keras.Model, name: str):
        family = model_family(model)
        model = merged(model)
        self.variables = model_variables(model)
        self.settings = settings_of(model)
        classifier = self.settings.get("classifier")
        positions = "rotary" if "rotary_base" in self.settings else "learned"
        if positions == "learned":
            self.variables |= _zero_key_biases(self.variables)
        self.format = format_for(name, family, self.variables, classifier, positions)
        self.num_heads = number_of_heads(model)
        if family is VIT and "head/kernel" in self.variables:
            _check_classifier(self.format, self.settings, _CLASS_TOKEN in self.variables)
        self._parts: dict[str, list[tuple[Key, str]]] = {}
        for variable in self.variables:
            array, key = self.format.array_of(variable)  # type: ignore[misc]
            self._parts.setdefault(array, []).append((key, variable))
        layout = self.format.array_of(_POSITIONS)
        # big_vision has no position for the class token, and timm none where there are registers.
        self._folds = (
            _CLASS_TOKEN in self.variables
            and layout is not None
            and (
                layout[1].layout == "patch_positions"
                or (layout[1].layout == "any_positions" and "registers/token" in self.variables)
            )
        )
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._stacks: dict[str, tuple[str, int]] = {}  # a member -> the joint name, its index
        for array, parts in self._parts.items():
            shape, names = self._shape(parts), members(array)
            self.shapes |= dict.fromkeys(names, shape if len(names) == 1 else shape[1:])
            if len(names) > 1:
                self._stacks |= {name: (array, n) for n, name in enumerate(names)}
        head_bias = self.format.array_of("head/bias")
        if {*self.variables} & {"head/kernel", "head/bias"} == {"head/kernel"} and head_bias:
            # That of a head without one, CLIP's projection, for a library where all have it.
            shape = tuple(self.variables["head/kernel"].shape[-1:])
            self.shapes |= dict.fromkeys(members(head_bias[0]), shape)

    def _shape(self, parts: list[tuple[Key, str]]) -> tuple[int, ...]:
        key, variable = parts[0]
        shape = tuple(self.variables[variable].shape)
        if self._folds and variable == _POSITIONS:
            return (1, shape[1] - 1, shape[2])
        shape = shape_written(key.layout, shape, self.num_heads)
        return (shape[0] * len(parts), *shape[1:]) if key.part else shape

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __getitem__(self, name: str) -> np.ndarray:
        array, index = self._stacks.get(name, (name, None))
        if array not in self._parts:  # the bias of a head without one
            return np.zeros(self.shapes[name], "float32")
        parts = sorted(self._parts[array], key=lambda part: part[0].part or (0, 1))
        written = [
            LAYOUTS[key.layout].write(self._value(variable), self.num_heads)
            for key, variable in parts
        ]
        value = written[0] if len(written) == 1 else np.concatenate(written)
        return np.ascontiguousarray(value if index is None else value[index])

    def _value(self, variable: str) -> np.ndarray:
        value = _numpy(self.variables[variable])
        if not self._folds or variable not in (_CLASS_TOKEN, _POSITIONS):
            return value
        if variable == _POSITIONS:
            return value[:, 1:]
        row = _numpy(self.variables[_POSITIONS])[:, :1]
        return value + row if row.any() else value  # -0.0 + 0.0 is not -0.0


def _zero_key_biases(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The key biases that a model lacks, for readers that look for them: zeros change nothing."""
    biases = (name.replace("key/kernel", "key/bias") for name in variables if "key/k" in name)
    return {
        bias: np.zeros(variables[bias.replace("key", "query")].shape, "float32")
        for bias in biases
        if bias not in variables
    }


def _numpy(variable: Any) -> np.ndarray:
    value = ops.convert_to_numpy(variable)
    return value if value.dtype.kind == "f" else value.astype("float32")  # bfloat16


# What changes the result of a model without changing a shape, and what to call it.
SETTINGS = {
    "num_heads": "attention heads",
    "gelu": "GELU",
    "norm_epsilon": "epsilon of the norms",
    "classifier": "classifier",
    "normalisation": "normalisation of the pixels",
    "rotary_base": "base of the rotary positions",
}
# Of these, what the code of each library has by default, and few files say.
UNSAID = ("gelu", "norm_epsilon", "normalisation")


def settings_of(model: keras.Model) -> dict[str, Any]:
    """What the arrays of a ViT do not say: heads, GELU, epsilon, grid, and so on."""
    settings: dict[str, Any] = {}
    for block in layers_of(model, TransformerBlock)[:1]:
        settings |= {"num_heads": block.num_heads, "norm_epsilon": block.epsilon}
        settings |= {"activation": SILU} if block.swiglu else {"gelu": block.gelu}
    for cut in layers_of(model, PatchEmbed)[:1]:
        settings["width"] = cut.width
        settings["interpolation"] = cut.interpolation
    positions = positions_of(model)
    if positions is not None and positions.grid_size is not None:
        settings["grid_size"] = list(positions.grid_size)
    for learned in layers_of(model, PositionEmbedding)[:1]:
        settings["interpolation"] = learned.interpolation
    for rotary in layers_of(model, RotaryEmbedding)[:1]:
        settings["rotary_base"] = rotary.base
    for pooling in layers_of(model, TokenPooling)[:1]:
        settings["classifier"] = classifier_of(pooling.pooling)
    if layers_of(model, AttentionPooling):
        settings["classifier"] = "map"
    settings["normalisation"] = "centred"
    for layer in layers_of(model, PixelNormalisation):
        settings["normalisation"] = normalisation_of((layer.mean, layer.std))
    return settings


def _check_classifier(file_format: Format, settings: dict[str, Any], class_token: bool) -> None:
    """Raises where a reader of the file would classify from something else than the model."""
    classifier = settings.get("classifier", "token" if class_token else "gap")
    needs_token = file_format.name == "huggingface"
    if classifier in file_format.heads or not (class_token or needs_token):
        return
    known = " or ".join(repr(name) for name in file_format.heads)
    others = " or format='timm'" if classifier == "gap" else ""
    raise ValueError(
        f"A model of the format {file_format.title!r} with a class token classifies as "
        f"classifier={known} does{', and every model has one' if needs_token else ''}. This model "
        f"has classifier={classifier!r}. Save it with format='keras'{others}."
    )


def warn_of_lost_settings(file_format: Format, settings: dict[str, Any], name: str) -> None:
    """Says what a reader of the file will not find in it."""
    lost = {
        key: settings[key]
        for key in UNSAID
        if key in settings and getattr(file_format, key) not in (None, settings[key])
    }
    if lost:
        usual = {key: getattr(file_format, key) for key in lost}
        warnings.warn(
            f"The model {name!r} has {lost}, and code that reads the format "
            f"{file_format.name!r} usually has {usual}. Set it there, or the results differ "
            "slightly.",
            stacklevel=3,
        )
