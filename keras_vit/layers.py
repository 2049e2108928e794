"""The public layers, in the order in which an image meets them."""

from keras_vit.branches import LayerScale, StochasticDepth
from keras_vit.mixer import MixerBlock
from keras_vit.norm import LayerNorm
from keras_vit.tokens import (
    ClassToken,
    FeatureMap,
    PatchEmbed,
    PositionEmbedding,
    TokenPooling,
)
from keras_vit.transformer import (
    MLPBlock,
    MultiHeadSelfAttention,
    TransformerBlock,
)

__all__ = [
    "ClassToken",
    "FeatureMap",
    "LayerNorm",
    "LayerScale",
    "MLPBlock",
    "MixerBlock",
    "MultiHeadSelfAttention",
    "PatchEmbed",
    "PositionEmbedding",
    "StochasticDepth",
    "TokenPooling",
    "TransformerBlock",
]
