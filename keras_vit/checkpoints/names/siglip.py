"""Names of the arrays in SigLIP's image towers, whose head pools by attention.

Tables, as in `keys.py`. Sources: big_vision (models/vit.py, `MAPHead`), timm 1.0
(layers/attention_pool.py, `AttentionPoolLatent`), transformers 4 and 5 (models/siglip).
"""

from __future__ import annotations

from keras_vit.checkpoints.names.clip import hugging_face_tower
from keras_vit.checkpoints.names.keys import Key
from keras_vit.checkpoints.names.parts import CONV, fused, norm, weight_and_bias

_MAP = "MAPHead_0"
_ATTENTION = f"{_MAP}/MultiHeadDotProductAttention_0"

BIG_VISION_POOLING_KEYS = (
    Key("pooling/probe", f"{_MAP}/probe"),
    *(
        row
        for name in ("query", "key", "value")
        for row in (
            Key(f"pooling/attention/{name}/kernel", f"{_ATTENTION}/{name}/kernel", "to_heads"),
            Key(f"pooling/attention/{name}/bias", f"{_ATTENTION}/{name}/bias", "heads"),
        )
    ),
    Key("pooling/attention/out/kernel", f"{_ATTENTION}/out/kernel", "from_heads"),
    Key("pooling/attention/out/bias", f"{_ATTENTION}/out/bias"),
    Key("pooling/norm/gamma", f"{_MAP}/LayerNorm_0/scale"),
    Key("pooling/norm/beta", f"{_MAP}/LayerNorm_0/bias"),
    *(
        Key(f"pooling/mlp/dense_{n + 1}/{part}", f"{_MAP}/MlpBlock_0/Dense_{n}/{part}")
        for n in range(2)
        for part in ("kernel", "bias")
    ),
)

TIMM_POOLING_KEYS = (
    Key("pooling/probe", "attn_pool.latent"),
    *weight_and_bias("pooling/attention/query", "attn_pool.q"),
    *fused("pooling/attention", "attn_pool.kv", ("key", "value")),
    *weight_and_bias("pooling/attention/out", "attn_pool.proj"),
    *norm("pooling/norm", "attn_pool.norm"),
    *weight_and_bias("pooling/mlp/dense_1", "attn_pool.mlp.fc1"),
    *weight_and_bias("pooling/mlp/dense_2", "attn_pool.mlp.fc2"),
)

_HEAD = "vision_model.head"

HUGGING_FACE_SIGLIP_KEYS = (
    *weight_and_bias("patch_embed/projection", "vision_model.embeddings.patch_embedding", CONV),
    *hugging_face_tower(),
    Key("pooling/probe", f"{_HEAD}.probe"),
    *fused("pooling/attention", f"{_HEAD}.attention.in_proj", between="_"),
    *weight_and_bias("pooling/attention/out", f"{_HEAD}.attention.out_proj"),
    *norm("pooling/norm", f"{_HEAD}.layernorm"),
    *weight_and_bias("pooling/mlp/dense_1", f"{_HEAD}.mlp.fc1"),
    *weight_and_bias("pooling/mlp/dense_2", f"{_HEAD}.mlp.fc2"),
)
