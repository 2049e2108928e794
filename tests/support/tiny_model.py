"""A classifier that TensorFlow traces in a moment, in place of the small ViT."""

from __future__ import annotations

from typing import Any

import keras


def tiny_model(settings: Any, classes: int, recipe: object) -> keras.Model:
    """As `keras_vit.runs.from_settings.model_for`; with dropout, as its draws must go on too."""
    return keras.Sequential([
        keras.Input((settings.image_size, settings.image_size, 3)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(16, "gelu"),
        keras.layers.Dropout(0.1),
        keras.layers.Dense(classes, "softmax", name="head"),
    ])  # fmt: skip
