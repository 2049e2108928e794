"""What a trained model looks at: the attention weights of any built or reloaded model."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_vit.backend import ops
from keras_vit.transformer import record_attention


def attention_maps(model: keras.Model, images: Any, batch_size: int = 32) -> np.ndarray:
    """The attention weights of every block and head.

    They are collected while the model runs eagerly on these images; a model pays nothing for
    it at any other time.

    Args:
        model: A model with `MultiHeadSelfAttention` or `TransformerBlock` layers at any depth:
            built, reloaded, or wrapped into a larger one.
        images: `[B, H, W, C]`, scaled as the model wants it.
        batch_size: Images per step. One step of B images holds B * depth * heads * N * N
            float32 numbers.

    Returns:
        `[B, depth, heads, N, N]` float32; the weights over the last axis sum to 1. Rows are
        the tokens that look, columns those looked at; the class token is the first.

    Raises:
        ValueError: If the model has no attention, or there are no images.
    """
    if len(images) == 0:
        raise ValueError("`images` must hold at least one image. Received: images of length 0")
    batches = []
    for start in range(0, len(images), batch_size):
        with record_attention() as recording:
            model(ops.convert_to_tensor(images[start : start + batch_size]), training=False)
        if not recording:
            raise ValueError(
                "`model` has no attention to show: none of its layers is a "
                "keras_vit.layers.MultiHeadSelfAttention or TransformerBlock. "
                f"Received: model={model.name!r}"
            )
        blocks = [ops.convert_to_numpy(weights) for weights in recording]
        batches.append(np.stack(blocks, axis=1))
    return np.concatenate(batches)
