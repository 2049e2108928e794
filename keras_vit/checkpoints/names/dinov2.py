"""Names of the arrays in Hugging Face's DINOv2 files. Tables, as in `keys.py`.

Source: transformers 4 and 5 (models/dinov2, models/dinov2_with_registers). Facebook's own files
have timm's names, but for what `TIMM_RENAMES` says.
"""

from __future__ import annotations

import dataclasses
import re

from keras_vit.checkpoints.names.keys import Key
from keras_vit.checkpoints.names.pytorch import HUGGING_FACE_KEYS, HUGGING_FACE_RENAMES

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
)

DINOV2_REGISTERS_KEYS = tuple(
    dataclasses.replace(key, array=key.array.replace("dinov2.", "dinov2_with_registers."))
    for key in (*DINOV2_KEYS, Key("registers/token", "dinov2.embeddings.register_tokens"))
)

_ATTENTION = tuple(row for row in HUGGING_FACE_RENAMES if "attention" in row[0])
_BASE_MODEL = r"^(embeddings|encoder|layernorm)\."  # `Dinov2Model`
DINOV2_RENAMES = ((_BASE_MODEL, r"dinov2.\1."), *_ATTENTION)
DINOV2_REGISTERS_RENAMES = ((_BASE_MODEL, r"dinov2_with_registers.\1."), *_ATTENTION)
