"""The public layers, in the order in which an image meets them."""

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
    StochasticDepth,
    TransformerBlock,
)

__all__ = [
    "ClassToken",
    "FeatureMap",
    "MLPBlock",
    "MultiHeadSelfAttention",
    "PatchEmbed",
    "PositionEmbedding",
    "StochasticDepth",
    "TokenPooling",
    "TransformerBlock",
]
