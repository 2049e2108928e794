"""From pixels to logits: ViT, BiT and MLP-Mixer."""

from keras_vit.models.bit import BiT
from keras_vit.models.features import feature_model
from keras_vit.models.freezing import freeze
from keras_vit.models.mixer import Mixer
from keras_vit.models.resize import resize_model
from keras_vit.models.resnet_stem import ResNetStem
from keras_vit.models.variants import VARIANTS, BiTConfig, MixerConfig, ViTConfig
from keras_vit.models.vit import ViT

__all__ = [
    "BiT",
    "BiTConfig",
    "Mixer",
    "MixerConfig",
    "ResNetStem",
    "VARIANTS",
    "ViT",
    "ViTConfig",
    "feature_model",
    "freeze",
    "resize_model",
]
