"""The Vision Transformer for Keras 3, in the manner of `keras.applications`."""

from keras_vit import distribution, evaluate, layers, optimizers, planner, recipes, schedules
from keras_vit.analysis import (
    attention_maps,
    attention_masks,
    attention_rollout,
    mean_attention_distance,
    position_similarity,
    rgb_filters,
    rollout_grids,
)
from keras_vit.bit import BiT
from keras_vit.checkpoints import from_checkpoint, load_weights
from keras_vit.exports import export
from keras_vit.mixer import Mixer
from keras_vit.models import (
    BiT_R50x1,
    BiT_R50x3,
    BiT_R101x1,
    BiT_R101x3,
    BiT_R152x2,
    BiT_R152x4,
    Mixer_B16,
    Mixer_B32,
    Mixer_L16,
    R26_ViT_B32,
    R26_ViT_S32,
    R50_ViT_B16,
    R50_ViT_L32,
    R_Ti16,
    ViT_B8,
    ViT_B16,
    ViT_B32,
    ViT_H14,
    ViT_L16,
    ViT_L32,
    ViT_S16,
    ViT_S32,
    ViT_Ti16,
)
from keras_vit.position import resample_position_embedding
from keras_vit.preprocessing import decode_predictions, preprocess_input
from keras_vit.resize import resize_model
from keras_vit.saving import save_weights
from keras_vit.variants import VARIANTS, BiTConfig, MixerConfig, ViTConfig
from keras_vit.vit import ViT
from keras_vit.weights import available, download_weights

__version__ = "0.1.0"

__all__ = [
    "R26_ViT_B32",
    "R26_ViT_S32",
    "R50_ViT_B16",
    "R50_ViT_L32",
    "R_Ti16",
    "VARIANTS",
    "BiT",
    "BiTConfig",
    "BiT_R50x1",
    "BiT_R50x3",
    "BiT_R101x1",
    "BiT_R101x3",
    "BiT_R152x2",
    "BiT_R152x4",
    "Mixer",
    "MixerConfig",
    "Mixer_B16",
    "Mixer_B32",
    "Mixer_L16",
    "ViT",
    "ViTConfig",
    "ViT_B8",
    "ViT_B16",
    "ViT_B32",
    "ViT_H14",
    "ViT_L16",
    "ViT_L32",
    "ViT_S16",
    "ViT_S32",
    "ViT_Ti16",
    "attention_maps",
    "attention_masks",
    "attention_rollout",
    "available",
    "decode_predictions",
    "distribution",
    "download_weights",
    "evaluate",
    "export",
    "from_checkpoint",
    "layers",
    "load_weights",
    "mean_attention_distance",
    "optimizers",
    "planner",
    "position_similarity",
    "preprocess_input",
    "recipes",
    "resample_position_embedding",
    "resize_model",
    "rgb_filters",
    "rollout_grids",
    "save_weights",
    "schedules",
]
