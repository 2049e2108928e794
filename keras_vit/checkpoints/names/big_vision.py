"""Names of the arrays in big_vision's files: Google's, but numbered by kind. As in `keys.py`.

Source: big_vision (models/vit.py).
"""

from __future__ import annotations

import dataclasses

from keras_vit.checkpoints.names.google import VIT_KEYS
from keras_vit.checkpoints.names.keys import Key


def _numbering(*pairs: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """Renames of the parts of a block, whether the blocks are stacked or not."""
    block = r"(encoderblock(?:_\d+)?)"
    return tuple((f"{block}/{old}/", rf"\1/{new}/") for old, new in pairs)


_RELEASED_NUMBERS = (
    ("MultiHeadDotProductAttention_0", "MultiHeadDotProductAttention_1"),
    ("LayerNorm_1", "LayerNorm_2"),
    ("MlpBlock_0", "MlpBlock_3"),
)

GOOGLE_RENAMES = (
    *_numbering(*_RELEASED_NUMBERS),
    (r"/standardized_conv2d_\d+/", "/standardized_conv2d/"),  # some BiT files
)


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

# `posemb="sincos2d"`: positions that are computed.
BIG_VISION_SINCOS_KEYS = tuple(
    dataclasses.replace(key, layout="sincos2d") if key.array == "pos_embedding" else key
    for key in BIG_VISION_KEYS
)

BIG_VISION_RENAMES = (
    *_numbering(*((released, by_kind) for by_kind, released in _RELEASED_NUMBERS)),
)
