"""The Vision Transformer for Keras 3, in the manner of `keras.applications`."""

from keras_vit import layers
from keras_vit.analysis import attention_maps
from keras_vit.checkpoints import from_checkpoint, load_weights
from keras_vit.position import resample_position_embedding
from keras_vit.resize import resize_model
from keras_vit.variants import VARIANTS
from keras_vit.vit import ViT
