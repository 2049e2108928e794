"""Names of the arrays in DINOv3's files, of models with rotary positions. Tables, as in `keys.py`.

Sources: timm 1.0 (models/eva.py), transformers 5 (models/dinov3_vit). Facebook's own names are as
the converter of timm knows them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from keras_vit.checkpoints.names.keys import Key
from keras_vit.checkpoints.names.parts import CONV, norm, weight_and_bias
from keras_vit.checkpoints.names.pytorch import TIMM_VIT_KEYS

# Rows of timm's other models that these do not have, or have otherwise.
_NOT_HERE = re.compile(
    r"(stem_|position_|distillation_|pre_logits).*|.*/attention/(query|key|value)/bias"
)
_SCALES = ((".ls1.gamma", ".gamma_1"), (".ls2.gamma", ".gamma_2"))


def _timm(mlp: str) -> Iterator[Key]:
    """timm's `Eva`, whose keys have no bias; `mlp` is a pattern of the arrays of its MLPs."""
    for key in TIMM_VIT_KEYS:
        other_mlp = "/mlp/" in key.variable and not re.search(mlp, key.array)
        if _NOT_HERE.fullmatch(key.variable) or other_mlp:
            continue
        array = key.array
        for old, new in _SCALES:
            array = array.replace(old, new)
        yield dataclasses.replace(key, array=array, read_only=False)
    for name in ("query", "value"):
        yield Key(
            f"block_{{i}}/attention/{name}/bias", f"blocks.{{i}}.attn.{name[0]}_bias",
            zero_if_absent=True,
        )  # fmt: skip


TIMM_DINOV3_KEYS = tuple(_timm(r"\.fc[12]\."))
TIMM_DINOV3_SWIGLU_KEYS = tuple(_timm(r"\.fc(1_[gx]|2)\."))


def _facebook() -> Iterator[Key]:
    """As timm's DINOv2, with three biases in one array, of which the second is masked."""
    renamed = {"reg_token": "storage_tokens"}
    for key in TIMM_VIT_KEYS:
        if not _NOT_HERE.fullmatch(key.variable) and "fc1_" not in key.array:
            yield dataclasses.replace(key, array=renamed.get(key.array, key.array), read_only=True)
    for part, name in ((0, "query"), (2, "value")):
        yield Key(
            f"block_{{i}}/attention/{name}/bias", "blocks.{i}.attn.qkv.bias", "same", (part, 3),
            zero_if_absent=True, read_only=True,
        )  # fmt: skip
    for ours, theirs in (("gate", "w1"), ("dense_1", "w2"), ("dense_2", "w3")):
        yield from weight_and_bias(
            f"block_{{i}}/mlp/{ours}", f"blocks.{{i}}.mlp.{theirs}", read_only=True
        )


FACEBOOK_DINOV3_KEYS = tuple(_facebook())

_LAYER = "layer.{i}"

HUGGING_FACE_DINOV3_KEYS = (
    *weight_and_bias("patch_embed/projection", "embeddings.patch_embeddings", CONV),
    Key("class_token/token", "embeddings.cls_token"),
    Key("registers/token", "embeddings.register_tokens"),
    *norm("block_{i}/attention_norm", f"{_LAYER}.norm1"),
    *(
        dataclasses.replace(row, zero_if_absent=row.variable.endswith("/bias"))
        for name in ("query", "key", "value")
        for row in weight_and_bias(
            f"block_{{i}}/attention/{name}", f"{_LAYER}.attention.{name[0]}_proj"
        )
    ),
    *weight_and_bias("block_{i}/attention/out", f"{_LAYER}.attention.o_proj"),
    Key("block_{i}/attention_scale/gamma", f"{_LAYER}.layer_scale1.lambda1"),
    *norm("block_{i}/mlp_norm", f"{_LAYER}.norm2"),
    *weight_and_bias("block_{i}/mlp/gate", f"{_LAYER}.mlp.gate_proj"),
    *weight_and_bias("block_{i}/mlp/dense_1", f"{_LAYER}.mlp.up_proj"),
    *weight_and_bias("block_{i}/mlp/dense_2", f"{_LAYER}.mlp.down_proj"),
    Key("block_{i}/mlp_scale/gamma", f"{_LAYER}.layer_scale2.lambda1"),
    *norm("encoder_norm", "norm"),
)
