"""What a model is made of: patches, tokens, attention."""

from keras_vit.layers.feature_pyramid import SimpleFeaturePyramid
from keras_vit.layers.mixer_block import MixerBlock
from keras_vit.layers.mlp import MLPBlock
from keras_vit.layers.norm import LayerNorm
from keras_vit.layers.patch_embed import PatchEmbed
from keras_vit.layers.pixels import PixelNormalisation
from keras_vit.layers.position_embedding import PositionEmbedding
from keras_vit.layers.residual import LayerScale, StochasticDepth
from keras_vit.layers.rotary_embedding import RotaryEmbedding
from keras_vit.layers.tokens import AttentionPooling, ClassToken, FeatureMap, TokenPooling
from keras_vit.layers.transformer import MultiHeadSelfAttention, TransformerBlock

__all__ = [
    "AttentionPooling",
    "ClassToken",
    "FeatureMap",
    "LayerNorm",
    "LayerScale",
    "MLPBlock",
    "MixerBlock",
    "MultiHeadSelfAttention",
    "PatchEmbed",
    "PixelNormalisation",
    "PositionEmbedding",
    "RotaryEmbedding",
    "SimpleFeaturePyramid",
    "StochasticDepth",
    "TokenPooling",
    "TransformerBlock",
]
