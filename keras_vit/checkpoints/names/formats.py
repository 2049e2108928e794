"""The formats of checkpoints: one row for each way to name the arrays of a family of models.

What a format is shows in the names of the arrays alone; the kind of file (`.npz`, `.safetensors`)
is another matter.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping

from keras_vit.checkpoints.names.google import BIT_KEYS, MIXER_KEYS, VIT_KEYS
from keras_vit.checkpoints.names.keys import BIT, MIXER, VIT, Family, Key
from keras_vit.checkpoints.names.pytorch import (
    HUGGING_FACE_KEYS,
    HUGGING_FACE_RENAMES,
    TIMM_BIT_KEYS,
    TIMM_RENAMES,
    TIMM_VIT_KEYS,
)
from keras_vit.checkpoints.names.templates import fill, numbers_in


@dataclasses.dataclass(frozen=True)
class Format:
    """How files of one origin name the arrays of one family of models.

    Attributes:
        name: What `save_weights(format=...)` calls it.
        title: For people.
        family: The models that it can hold.
        keys: All arrays.
        markers: Arrays that every such file has, and none of the formats after it in `FORMATS`.
        renames: (pattern, replacement) from other spellings of the names to those of `keys`.
        ignored: Pattern of arrays that are no part of the model.
        gelu, norm_epsilon: Of the code that reads such files.
        container: What such files usually are.
    """

    name: str
    title: str
    family: Family
    keys: tuple[Key, ...]
    markers: tuple[str, ...]
    renames: tuple[tuple[str, str], ...] = ()
    ignored: str | None = None
    gelu: str = "tanh"
    norm_epsilon: float = 1e-6
    container: str = ".npz"

    def spelling(self, name: str) -> str:
        """The name of an array as `keys` has it."""
        for pattern, replacement in self.renames:
            name = re.sub(pattern, replacement, name)
        return name

    def array_of(self, variable: str) -> tuple[str, Key] | None:
        """`"block_3/mlp_norm/beta"` -> the name of its array and its row, or `None`."""
        return _array_of(self, variable)

    def variables_of(self, array: str) -> list[tuple[str, Key]]:
        """The variables that an array holds: one, three where they are fused, or none."""
        found = []
        for key in self.keys:
            numbers = numbers_in(key.array, array)
            if numbers is not None:
                found.append((fill(key.variable, numbers), key))
        return found


@functools.cache
def _array_of(file_format: Format, variable: str) -> tuple[str, Key] | None:
    for key in file_format.keys:
        numbers = numbers_in(key.variable, variable)
        if numbers is not None:
            return fill(key.array, numbers), key
    return None


def _numbering(*pairs: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """Renames of the parts of a block, whether the blocks are stacked or not."""
    block = r"(encoderblock(?:_\d+)?)"
    return tuple((f"{block}/{old}/", rf"\1/{new}/") for old, new in pairs)


# In Google's files the parameters may lie inside a training state, which is ignored, and newer
# code numbers each kind of part of a block by itself.
_PREFIX = (r"^(opt/target/params|opt/target|params)/", "")

_RELEASED_NUMBERS = (
    ("MultiHeadDotProductAttention_0", "MultiHeadDotProductAttention_1"),
    ("LayerNorm_1", "LayerNorm_2"),
    ("MlpBlock_0", "MlpBlock_3"),
)

_GOOGLE_RENAMES = (
    _PREFIX,
    *_numbering(*_RELEASED_NUMBERS),
    (r"/standardized_conv2d_\d+/", "/standardized_conv2d/"),  # some BiT files
)

_TRAINING_STATE = r"^(opt/state/.*|opt/step|step|opt_state/.*)$"


def _as_big_vision(key: Key) -> Key:
    """The row of the ViT table as big_vision writes it: numbered by kind, positions on top."""
    if key.layout == "positions":
        return dataclasses.replace(key, array="pos_embedding", layout="patch_positions")
    array = key.array
    for by_kind, released in _RELEASED_NUMBERS:
        array = array.replace(released, by_kind)
    return dataclasses.replace(key, array=array)


BIG_VISION_KEYS = tuple(
    _as_big_vision(key) for key in VIT_KEYS if not key.variable.startswith(("stem", "registers"))
)

_BIG_VISION_RENAMES = (
    _PREFIX,
    *_numbering(*((released, by_kind) for by_kind, released in _RELEASED_NUMBERS)),
)

# timm has no `stem.` before the two layers of a stem without blocks.
_TIMM_STEM = "patch_embed.backbone."

TIMM_STEM_ONLY_KEYS = tuple(
    dataclasses.replace(key, array=key.array.replace(f"{_TIMM_STEM}stem.", _TIMM_STEM))
    for key in TIMM_VIT_KEYS
)


def _keras(family: Family, keys: tuple[Key, ...], marker: str) -> Format:
    """Keras's own files have our names."""
    own = dict.fromkeys(key.variable for key in keys)
    rows = tuple(Key(variable, variable) for variable in own)
    positions = "position_embedding/embedding"
    rows = tuple(
        dataclasses.replace(row, layout="positions") if row.array == positions else row
        for row in rows
    )
    return Format("keras", f"Keras, {family.name}", family, rows, (marker,), container=".keras")


FORMATS = (
    Format(
        "big_vision", "big_vision", VIT, BIG_VISION_KEYS, ("embedding/kernel", "pos_embedding"),
        _BIG_VISION_RENAMES, _TRAINING_STATE,
    ),
    Format(
        "google", "Google, Vision Transformer", VIT, VIT_KEYS, ("embedding/kernel",),
        _GOOGLE_RENAMES, _TRAINING_STATE,
    ),
    Format(
        "google", "Google, BiT", BIT, BIT_KEYS, ("resnet/root_block/standardized_conv2d/kernel",),
        _GOOGLE_RENAMES, _TRAINING_STATE,
    ),
    Format(
        "google", "Google, MLP-Mixer", MIXER, MIXER_KEYS, ("stem/kernel",),
        _GOOGLE_RENAMES, _TRAINING_STATE,
    ),
    Format(
        "timm", "timm, Vision Transformer", VIT, TIMM_VIT_KEYS,
        ("patch_embed.proj.weight", "blocks.0.attn.qkv.weight"),
        TIMM_RENAMES, gelu="exact", container=".safetensors",
    ),
    Format(
        "timm", "timm, stem without blocks", VIT, TIMM_STEM_ONLY_KEYS,
        ("patch_embed.backbone.conv.weight",), gelu="exact", container=".safetensors",
    ),
    Format(
        "timm", "timm, BiT", BIT, TIMM_BIT_KEYS,
        ("stem.conv.weight", "stages.0.blocks.0.conv1.weight"),
        TIMM_RENAMES[:1], container=".safetensors",
    ),
    Format(
        "huggingface", "Hugging Face, ViT", VIT, HUGGING_FACE_KEYS,
        ("vit.embeddings.patch_embeddings.projection.weight",),
        HUGGING_FACE_RENAMES, r"^vit\.embeddings\.mask_token$",
        gelu="exact", norm_epsilon=1e-12, container=".safetensors",
    ),
    _keras(VIT, VIT_KEYS + TIMM_VIT_KEYS, "patch_embed/projection/kernel"),
    _keras(BIT, BIT_KEYS, "root_conv/kernel"),
    _keras(MIXER, MIXER_KEYS, "stem/projection/kernel"),
)  # fmt: skip

FORMAT_NAMES = tuple(dict.fromkeys(file_format.name for file_format in FORMATS))


def detect(names: Iterable[str]) -> tuple[Format, Mapping[str, str]] | None:
    """The format of a file from the names of its arrays.

    Returns:
        The format, and the name of every array as its table spells it -> as the file does.

    Raises:
        ValueError: If two names are the same array.
    """
    names = list(names)
    for file_format in FORMATS:
        spelled = [(file_format.spelling(name), name) for name in names]
        found = {name for name, _ in spelled}
        if not all(marker in found for marker in file_format.markers):
            continue
        sources: dict[str, str] = {}
        for name, source in spelled:
            if file_format.ignored and re.match(file_format.ignored, source):
                continue
            if name in sources:
                raise ValueError(
                    f"Two arrays of the file are the same parameter: {sources[name]!r} and "
                    f"{source!r}."
                )
            sources[name] = source
        return file_format, sources
    return None
