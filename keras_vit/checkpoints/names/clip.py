"""Names of the arrays in CLIP's image towers. Tables, as in `keys.py`.

Sources: OpenAI's CLIP and open_clip (transformer.py), transformers 4 and 5 (models/clip), timm 1.0
(vision_transformer.py, `pre_norm`). The towers of Hugging Face's SigLIP have the same blocks.
"""

from __future__ import annotations

from collections.abc import Iterator

from keras_vit.checkpoints.names.keys import Key
from keras_vit.checkpoints.names.parts import CONV, fused, norm, weight_and_bias
from keras_vit.checkpoints.names.pytorch import TIMM_VIT_KEYS

_TOWER = "vision_model"
_LAYER = f"{_TOWER}.encoder.layers.{{i}}"


def hugging_face_tower() -> Iterator[Key]:
    """Positions, blocks and the last norm."""
    yield Key(
        "position_embedding/embedding", f"{_TOWER}.embeddings.position_embedding.weight",
        "position_rows",
    )  # fmt: skip
    yield from norm("block_{i}/attention_norm", f"{_LAYER}.layer_norm1")
    for ours, theirs in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "out")):
        yield from weight_and_bias(
            f"block_{{i}}/attention/{ours}", f"{_LAYER}.self_attn.{theirs}_proj"
        )
    yield from norm("block_{i}/mlp_norm", f"{_LAYER}.layer_norm2")
    yield from weight_and_bias("block_{i}/mlp/dense_1", f"{_LAYER}.mlp.fc1")
    yield from weight_and_bias("block_{i}/mlp/dense_2", f"{_LAYER}.mlp.fc2")
    yield from norm("encoder_norm", f"{_TOWER}.post_layernorm")


HUGGING_FACE_CLIP_KEYS = (
    Key("patch_embed/projection/kernel", f"{_TOWER}.embeddings.patch_embedding.weight", CONV),
    Key("class_token/token", f"{_TOWER}.embeddings.class_embedding", "vector"),
    *norm("embedding_norm", f"{_TOWER}.pre_layrnorm"),
    *hugging_face_tower(),
    Key("head/kernel", "visual_projection.weight", "transposed"),
)

# `CLIPVisionModel` and `SiglipVisionModel` of transformers 5 leave the first part out.
HUGGING_FACE_TOWER_RENAMES = (
    (r"^(embeddings|pre_layrnorm|encoder|post_layernorm|head)\.", rf"{_TOWER}.\1."),
)

_BLOCK = "visual.transformer.resblocks.{i}"

OPEN_CLIP_KEYS = (
    Key("patch_embed/projection/kernel", "visual.conv1.weight", CONV),
    Key("class_token/token", "visual.class_embedding", "vector"),
    Key("position_embedding/embedding", "visual.positional_embedding", "position_rows"),
    *norm("embedding_norm", "visual.ln_pre"),
    *norm("block_{i}/attention_norm", f"{_BLOCK}.ln_1"),
    *fused("block_{i}/attention", f"{_BLOCK}.attn.in_proj", between="_"),
    *weight_and_bias("block_{i}/attention/out", f"{_BLOCK}.attn.out_proj"),
    Key("block_{i}/attention_scale/gamma", f"{_BLOCK}.ls_1.gamma"),
    *norm("block_{i}/mlp_norm", f"{_BLOCK}.ln_2"),
    *weight_and_bias("block_{i}/mlp/dense_1", f"{_BLOCK}.mlp.c_fc"),
    *weight_and_bias("block_{i}/mlp/dense_2", f"{_BLOCK}.mlp.c_proj"),
    Key("block_{i}/mlp_scale/gamma", f"{_BLOCK}.ls_2.gamma"),
    *norm("encoder_norm", "visual.ln_post"),
    Key("head/kernel", "visual.proj"),
)

# The prefix `visual.` is gone when names are compared.
OPEN_CLIP_RENAMES = (
    (
        r"^(conv1|class_embedding|positional_embedding|ln_pre|transformer|ln_post|proj)(?=\.|$)",
        r"visual.\1",
    ),
)

TIMM_CLIP_KEYS = (
    *(key for key in TIMM_VIT_KEYS if key.variable != "patch_embed/projection/bias"),
    *norm("embedding_norm", "norm_pre"),
)
