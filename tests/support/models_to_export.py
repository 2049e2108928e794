"""Models of every kind to export, and what they say."""

from __future__ import annotations

import keras
import numpy as np

import keras_vit
from keras_vit.models import ResNetStem

SIZE = (32, 48)
VIT = {"patch_size": 8, "width": 32, "depth": 2, "num_heads": 4, "mlp_dim": 64, "classes": 5}

ROTARY = {"position_embedding": "rotary", "key_bias": False, "registers": 2, "layer_scale": 0.3}


def randomised(model, spread=0.1):
    random = np.random.default_rng(0)
    for variable in model.weights:
        if "float" in str(variable.dtype):
            value = np.asarray(keras.ops.convert_to_numpy(variable)).astype("float32")
            variable.assign(value + random.normal(0, spread, variable.shape))
    return model


def _channels_first():
    keras.config.set_image_data_format("channels_first")
    try:
        return keras_vit.ViT(SIZE, **VIT)
    finally:
        keras.config.set_image_data_format("channels_last")


def _own_head():
    backbone = keras_vit.ViT(SIZE, **VIT, include_top=False, pooling="token")
    return keras.Sequential([backbone, keras.layers.Dropout(0.1), keras.layers.Dense(7)])


def _hybrid(**options):
    return keras_vit.ViT((64, 96), **{**VIT, "patch_size": 1}, stem=ResNetStem((1, 1)), **options)


FOLDED = {
    "token": lambda: keras_vit.ViT(SIZE, **VIT),
    "gap": lambda: keras_vit.ViT(SIZE, **VIT, classifier="gap"),
    "all options": lambda: keras_vit.ViT(
        SIZE, **VIT, registers=2, layer_scale=0.3, gelu="exact", representation_size=8
    ),
    "token and mean": lambda: keras_vit.ViT(SIZE, **VIT, classifier="token+avg", registers=1),
    "distilled": lambda: keras_vit.ViT(SIZE, **VIT, classifier="token+distillation"),
    "swiglu": lambda: keras_vit.ViT(SIZE, **VIT, swiglu=True, layer_scale=0.3),
    "quick": lambda: keras_vit.ViT(SIZE, **VIT, gelu="quick", head_bias=False),
    "rotary": lambda: keras_vit.ViT(SIZE, **VIT, **ROTARY),
    "rotary, mean": lambda: keras_vit.ViT(  # with a bias of the keys, which counts there
        SIZE, **VIT, position_embedding="rotary", classifier="gap"
    ),
    "norm after pooling": lambda: keras_vit.ViT(
        SIZE, **VIT, classifier="gap", class_token=True, norm_after_pooling=True
    ),
    "cut off": lambda: keras_vit.ViT((36, 50), **VIT),
    "padded": lambda: keras_vit.ViT((36, 50), **VIT, border="pad"),
    "pixels to scores": lambda: keras_vit.ViT(
        SIZE, **VIT, include_preprocessing=True, classifier_activation="softmax"
    ),
    "channels first": _channels_first,
    "own head": _own_head,
    "hybrid": _hybrid,
    "hybrid of pixels": lambda: _hybrid(include_preprocessing=True),
}
AS_THEY_ARE = {
    "max": lambda: keras.Sequential(
        [keras_vit.ViT(SIZE, **VIT, include_top=False, pooling="max"), keras.layers.Dense(3)]
    ),
    "clip": lambda: keras_vit.ViT(
        SIZE,
        **VIT,
        embedding_norm=True,
        head_bias=False,
        gelu="quick",
        normalisation="clip",
        include_preprocessing=True,
    ),
    "siglip": lambda: keras_vit.ViT(SIZE, **VIT, classifier="map", class_token=True),
    "siglip without a head": lambda: keras_vit.ViT(SIZE, **VIT, include_top=False, pooling="map"),
    "bit": lambda: keras_vit.BiT((33, 48), (1, 2), 1, classes=5),
    "mixer": lambda: keras_vit.Mixer(SIZE, 8, 32, 2, 16, 64, classes=5),
}


def pixels_for(model, batch):
    shape = model.input_shape[1:]
    if shape[0] == 3:  # channels are last in a file
        shape = (*shape[1:], shape[0])
    return np.random.default_rng(1).integers(0, 256, (batch, *shape), "uint8")


def takes_pixels(model):
    inner = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return any(layer.name == "preprocessing" for m in (model, *inner) for layer in m.layers)


def expected_of(model, pixels):
    images = pixels.astype("float32")
    if not takes_pixels(model):
        images = keras_vit.preprocess_input(images)
    if model.input_shape[1] == 3:
        images = images.transpose(0, 3, 1, 2)
    return model.predict(images, verbose=0)
