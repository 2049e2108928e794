"""Names of the arrays in timm's and Hugging Face's files. Tables, as in `keys.py`.

Both store PyTorch's layouts. timm keeps query, key and value in one array. Sources: timm 1.0
(vision_transformer.py, vision_transformer_hybrid.py, resnetv2.py), transformers 4 and 5
(models/vit).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from keras_vit.checkpoints.names.keys import Key
from keras_vit.checkpoints.names.parts import CONV, fused, norm, weight_and_bias

_STAGE = "patch_embed.backbone.stages.{b-1}.blocks.{u-1}"
_UNIT = "stem_block{b}_unit{u}"

TIMM_VIT_KEYS = (
    *weight_and_bias("patch_embed/projection", "patch_embed.proj", CONV),
    Key("class_token/token", "cls_token"),
    Key("distillation_token/token", "dist_token"),
    Key("registers/token", "reg_token"),
    Key("position_embedding/embedding", "pos_embed", "any_positions"),
    *norm("block_{i}/attention_norm", "blocks.{i}.norm1"),
    *fused("block_{i}/attention", "blocks.{i}.attn.qkv"),
    *weight_and_bias("block_{i}/attention/out", "blocks.{i}.attn.proj"),
    Key("block_{i}/attention_scale/gamma", "blocks.{i}.ls1.gamma"),
    *norm("block_{i}/mlp_norm", "blocks.{i}.norm2"),
    *weight_and_bias("block_{i}/mlp/dense_1", "blocks.{i}.mlp.fc1"),
    *weight_and_bias("block_{i}/mlp/dense_2", "blocks.{i}.mlp.fc2"),
    # timm's `SwiGLU`, which we write as the packed one.
    *weight_and_bias("block_{i}/mlp/gate", "blocks.{i}.mlp.fc1_g", read_only=True),
    *weight_and_bias("block_{i}/mlp/dense_1", "blocks.{i}.mlp.fc1_x", read_only=True),
    Key("block_{i}/mlp_scale/gamma", "blocks.{i}.ls2.gamma"),
    *norm("encoder_norm", "norm"),
    *norm("pooled_norm", "fc_norm"),
    *weight_and_bias("pre_logits", "pre_logits.fc", read_only=True),  # timm before 0.8
    *weight_and_bias("head", "head"),
    # The stem of the hybrids.
    Key("stem_root_conv/kernel", "patch_embed.backbone.stem.conv.weight", CONV),
    *norm("stem_root_norm", "patch_embed.backbone.stem.norm"),
    Key(f"{_UNIT}_conv{{c}}/kernel", f"{_STAGE}.conv{{c}}.weight", CONV),
    *norm(f"{_UNIT}_norm{{c}}", f"{_STAGE}.norm{{c}}"),
    Key(f"{_UNIT}_conv_proj/kernel", f"{_STAGE}.downsample.conv.weight", CONV),
    *norm(f"{_UNIT}_norm_proj", f"{_STAGE}.downsample.norm"),
)

# timm has no `stem.` before the two layers of a stem without blocks.
_TIMM_STEM = "patch_embed.backbone."

TIMM_STEM_ONLY_KEYS = tuple(
    dataclasses.replace(key, array=key.array.replace(f"{_TIMM_STEM}stem.", _TIMM_STEM))
    for key in TIMM_VIT_KEYS
    if not key.variable.startswith("stem_block")
)


def with_packed_swiglu(keys: Iterable[Key]) -> Iterator[Key]:
    """The same rows for a SwiGLU whose first array holds the gate, and the hidden channels below.

    timm's `SwiGLUPacked`, `w12` of Facebook's DINOv2, `weights_in` of Hugging Face's.
    """
    for key in keys:
        if "/mlp/dense_1/" in key.variable and not key.read_only:
            gate = key.variable.replace("dense_1", "gate")
            yield dataclasses.replace(key, variable=gate, part=(0, 2))
            yield dataclasses.replace(key, part=(1, 2))
        else:
            yield key


TIMM_SWIGLU_KEYS = tuple(with_packed_swiglu(TIMM_VIT_KEYS))

_BIT_UNIT = "block{b}_unit{u:02}"
_BIT_STAGE = "stages.{b-1}.blocks.{u-1}"

TIMM_BIT_KEYS = (
    Key("root_conv/kernel", "stem.conv.weight", CONV),
    *(
        row
        for number, part in enumerate("abc", start=1)
        for row in (
            Key(f"{_BIT_UNIT}_{part}_conv/kernel", f"{_BIT_STAGE}.conv{number}.weight", CONV),
            *norm(f"{_BIT_UNIT}_{part}_norm", f"{_BIT_STAGE}.norm{number}"),
        )
    ),
    Key(f"{_BIT_UNIT}_a_proj/kernel", f"{_BIT_STAGE}.downsample.conv.weight", CONV),
    *norm("norm", "norm"),
    *weight_and_bias("head", "head.fc", "out_in_1_1"),
)

_LAYER = "vit.encoder.layer.{i}"

HUGGING_FACE_KEYS = (
    *weight_and_bias("patch_embed/projection", "vit.embeddings.patch_embeddings.projection", CONV),
    Key("class_token/token", "vit.embeddings.cls_token"),
    Key("position_embedding/embedding", "vit.embeddings.position_embeddings", "positions"),
    *norm("block_{i}/attention_norm", f"{_LAYER}.layernorm_before"),
    *(
        row
        for name in ("query", "key", "value")
        for row in (
            Key(
                f"block_{{i}}/attention/{name}/kernel",
                f"{_LAYER}.attention.attention.{name}.weight",
                "transposed",
            ),
            Key(
                f"block_{{i}}/attention/{name}/bias",
                f"{_LAYER}.attention.attention.{name}.bias",
                zero_if_absent=True,
            ),
        )
    ),
    *weight_and_bias("block_{i}/attention/out", f"{_LAYER}.attention.output.dense"),
    *norm("block_{i}/mlp_norm", f"{_LAYER}.layernorm_after"),
    *weight_and_bias("block_{i}/mlp/dense_1", f"{_LAYER}.intermediate.dense"),
    *weight_and_bias("block_{i}/mlp/dense_2", f"{_LAYER}.output.dense"),
    *norm("encoder_norm", "vit.layernorm"),
    *weight_and_bias("pre_logits", "vit.pooler.dense", read_only=True),  # of `ViTModel`
    *weight_and_bias("head", "classifier"),
)

# Spellings of older and newer files -> those of the tables.
TIMM_RENAMES = (
    # Facebook's DINOv2, whose blocks may lie in chunks, `blocks.3.37`.
    (r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."),
    (r"^register_tokens$", "reg_token"),
    (r"\.mlp\.w12\.", ".mlp.fc1."),
    (r"\.mlp\.w3\.", ".mlp.fc2."),
    (r"^linear_head\.", "head."),
)

HUGGING_FACE_RENAMES = (
    (r"^(embeddings|encoder|layers|layernorm|pooler)\.", r"vit.\1."),  # `ViTModel`
    # transformers 5 in memory
    (r"^vit\.layers\.", "vit.encoder.layer."),
    (r"\.attention\.q_proj\.", ".attention.attention.query."),
    (r"\.attention\.k_proj\.", ".attention.attention.key."),
    (r"\.attention\.v_proj\.", ".attention.attention.value."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)
