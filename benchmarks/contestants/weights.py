"""The same random weights for every library, in the format of each."""

from __future__ import annotations

import warnings
from pathlib import Path

import keras
import numpy as np

import keras_vit
from benchmarks.contestants import CLASSES, images
from keras_vit.models import ViTConfig

OURS, TIMM, TRANSFORMERS = "ours.npz", "timm.safetensors", "transformers"


def vit(model: str) -> ViTConfig:
    """The row of a name in `keras_vit.VARIANTS` that all libraries have."""
    row = keras_vit.VARIANTS[model]
    if not isinstance(row, ViTConfig) or row.stem is not None:
        raise ValueError(f"The other libraries have no {model}; take a ViT without a ResNet stem")
    return row


def write(folder: Path, model: str, size: int) -> np.ndarray:
    """Writes `ours.npz`, `timm.safetensors` and the folder `transformers`.

    Args:
        folder: Exists.
        model: A name in `keras_vit.VARIANTS`.
        size: Pixels of a side.

    Returns:
        The logits [CLASSES] of the first image of `contestants.images`, by Keras in float32.
    """
    keras.utils.set_random_seed(0)
    made = getattr(keras_vit, model)(
        weights=None, input_shape=(size, size, 3), classes=CLASSES, classifier_activation=None
    )
    head = made.get_layer("head")
    head.kernel.assign(np.random.default_rng(0).normal(0, 0.02, head.kernel.shape))
    keras_vit.save_weights(made, folder / OURS)
    with warnings.catch_warnings():  # of the GELU, which timm's is told
        warnings.simplefilter("ignore")
        keras_vit.save_weights(made, folder / TIMM, format="timm")
    keras_vit.save_weights(made, folder / TRANSFORMERS, format="huggingface")
    return np.asarray(made.predict_on_batch(images(1, size)))[0]
