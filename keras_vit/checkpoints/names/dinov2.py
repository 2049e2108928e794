"""Names of the arrays in Hugging Face's DINOv2 files. Tables, as in `keys.py`.

Source: transformers 4 and 5 (models/dinov2, models/dinov2_with_registers). Facebook's own files
have timm's names, but for what `TIMM_RENAMES` says.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator

from keras_vit.checkpoints.names.keys import Key
from keras_vit.checkpoints.names.pytorch import (
    HUGGING_FACE_KEYS,
    HUGGING_FACE_RENAMES,
    with_packed_swiglu,
)

# What Hugging Face's ViT calls the parts of a block -> what its DINOv2 does.
_PARTS = (
    (r"^vit\.", "dinov2."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"(?<!attention)\.output\.dense\.", ".mlp.fc2."),
)
_LAYER = "dinov2.encoder.layer.{i}"


def _renamed(name: str) -> str:
    for pattern, replacement in _PARTS:
        name = re.sub(pattern, replacement, name)
    return name


DINOV2_KEYS = (
    *(
        dataclasses.replace(key, array=_renamed(key.array))
        for key in HUGGING_FACE_KEYS
        if not key.variable.startswith("pre_logits")
    ),
    Key("block_{i}/attention_scale/gamma", f"{_LAYER}.layer_scale1.lambda1"),
    Key("block_{i}/mlp_scale/gamma", f"{_LAYER}.layer_scale2.lambda1"),
    # The SwiGLU of the giant, as transformers 5 has it in memory.
    *(
        Key(f"block_{{i}}/mlp/{ours}/{part}", f"{_LAYER}.mlp.{theirs}", layout, read_only=True)
        for ours, name in (("gate", "gate_proj"), ("dense_1", "up_proj"), ("dense_2", "down_proj"))
        for part, theirs, layout in (
            ("kernel", f"{name}.weight", "transposed"),
            ("bias", f"{name}.bias", "same"),
        )
    ),
)

# The giant as it is saved.
_PACKED = ((".mlp.fc1.", ".mlp.weights_in."), (".mlp.fc2.", ".mlp.weights_out."))


def _giant(keys: Iterable[Key]) -> Iterator[Key]:
    for key in with_packed_swiglu(keys):
        array = key.array
        for old, new in _PACKED:
            array = array.replace(old, new)
        yield dataclasses.replace(key, array=array)


def _with_registers(keys: Iterable[Key]) -> Iterator[Key]:
    for key in (*keys, Key("registers/token", "dinov2.embeddings.register_tokens")):
        array = key.array.replace("dinov2.", "dinov2_with_registers.")
        yield dataclasses.replace(key, array=array)


DINOV2_GIANT_KEYS = tuple(_giant(DINOV2_KEYS))

_RENAMES = tuple(row for row in HUGGING_FACE_RENAMES if "attention" in row[0])


def _renames(base: str) -> tuple[tuple[str, str], ...]:
    """`Dinov2Model` alone has no `dinov2.` before its names."""
    return ((r"^(embeddings|encoder|layernorm)\.", rf"{base}.\1."), *_RENAMES)


_SCALE = "encoder.layer.0.layer_scale1.lambda1"
_GATE = "encoder.layer.0.mlp.weights_in.weight"
_REGISTERS = "embeddings.register_tokens"
_WITH_REGISTERS = "dinov2_with_registers"

# What follows "DINOv2" in the title, what the names begin with, the names, those by which such a
# file is known, other spellings, and how transformers resamples the positions.
DINOV2_FORMATS = (
    (" giant with registers", _WITH_REGISTERS, tuple(_with_registers(DINOV2_GIANT_KEYS)),
     (_SCALE, _GATE, _REGISTERS), _renames(_WITH_REGISTERS), "bicubic_antialias"),
    (" with registers", _WITH_REGISTERS, tuple(_with_registers(DINOV2_KEYS)),
     (_SCALE, _REGISTERS), _renames(_WITH_REGISTERS), "bicubic_antialias"),
    (" giant", "dinov2", DINOV2_GIANT_KEYS, (_SCALE, _GATE), _renames("dinov2"), "bicubic"),
    ("", "dinov2", DINOV2_KEYS, (_SCALE,), _renames("dinov2"), "bicubic"),
)  # fmt: skip
