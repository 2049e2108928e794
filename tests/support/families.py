"""A small model of every family, with numbers far from zero."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

import keras_vit
from keras_vit.models.resnet_stem import ResNetStem

SHAPE = (32, 32, 3)


def _vit(depth: int = 2, **options: Any) -> Any:
    return keras_vit.ViT(
        32, patch_size=8, width=48, depth=depth, num_heads=3, mlp_dim=64, registers=1, **options
    )


def _hybrid(depth: int = 2, **options: Any) -> Any:
    stem = ResNetStem((1,), width_factor=0.5)
    return keras_vit.ViT(
        32, patch_size=2, width=48, depth=depth, num_heads=3, mlp_dim=64, stem=stem, **options
    )


def _bit(depth: int = 2, **options: Any) -> Any:
    return keras_vit.BiT(32, (1,) * depth, width_factor=0.5, **options)


def _mixer(depth: int = 2, **options: Any) -> Any:
    return keras_vit.Mixer(
        32, patch_size=8, width=48, depth=depth, tokens_mlp_dim=16, channels_mlp_dim=64, **options
    )


FAMILIES = {"vit": _vit, "hybrid": _hybrid, "bit": _bit, "mixer": _mixer}


def build(family: str, **options: Any) -> Any:
    """Logits of five classes; the head, which starts at zero, has numbers too."""
    keras.utils.set_random_seed(0)
    model = FAMILIES[family](**{"classes": 5, **options})
    for layer in model.layers:
        if layer.name == "head":
            layer.kernel.assign(np.random.default_rng(0).normal(0, 0.3, layer.kernel.shape))
    return model


def images(count: int = 4) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (count, *SHAPE)).astype("float32")


def outputs(model: Any) -> np.ndarray:
    """In float32, of `images()`."""
    return np.asarray(keras.ops.convert_to_numpy(model(images())), "float32")
