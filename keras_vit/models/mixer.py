"""MLP-Mixer, pixels to logits (arXiv 2105.01601): an MLP over the tokens replaces attention.

Released beside the Vision Transformer and compared with it. It has no class token and no position
embedding: the token MLP has a weight for every patch, so a Mixer is made for one number of them.

Shape letters: B images, H and W pixels, N tokens, D width.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_vit.layers import FeatureMap, LayerNorm, PatchEmbed, TokenPooling
from keras_vit.layers.mixer_block import MixerBlock
from keras_vit.models.input_and_head import (
    classification_head,
    feature_output,
    finished,
    image_input,
)
from keras_vit.utils.checks import as_pair, check_choice, check_counts, check_numbers

POOLINGS = ("avg", "max")


def Mixer(
    image_size: int | tuple[int, int] = 224,
    patch_size: int = 16,
    width: int = 768,
    depth: int = 12,
    tokens_mlp_dim: int = 384,
    channels_mlp_dim: int = 3072,
    *,
    stochastic_depth_rate: float = 0.0,
    rematerialise: bool = False,
    gelu: str = "tanh",
    border: str = "drop",
    include_preprocessing: bool = False,
    include_top: bool = True,
    input_tensor: Any = None,
    input_shape: tuple[int, int, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = None,
    dtype: Any = None,
    name: str = "mixer",
) -> keras.Model:
    """Builds an MLP-Mixer with random weights.

    Args:
        image_size: Pixels, one number or (rows, columns); the weights fit one number of patches.
        patch_size: Side of a patch in pixels.
        width: Channels of a token, `C` in the paper.
        depth: Number of blocks.
        tokens_mlp_dim: Hidden channels of the MLP over the tokens, `D_S` in the paper.
        channels_mlp_dim: Hidden channels of the MLP over the channels, `D_C` in the paper.
        stochastic_depth_rate: Of the last block, in [0, 1); it rises linearly from 0.
        rematerialise: Whether training keeps of each block its input alone and computes the rest
            again in the backward pass. The numbers stay the same.
        gelu: `"tanh"` (Google's checkpoints) or `"exact"`.
        border: What to do with a border that the patches do not cover: `"drop"` it (the
            original, with a warning), `"pad"` with zeros, or `"error"`.
        include_preprocessing: Put the scaling from [0, 255] to [-1, 1] into the model.
        include_top: Whether to end with the head.
        input_tensor: Keras tensor to use as the image.
        input_shape: (rows, columns, channels), all known. Default: `image_size` and 3 channels.
        pooling: Without the head: `None` for a feature map `[B, rows, columns, width]`, `"avg"`
            or `"max"` over it.
        classes: Outputs of the head.
        classifier_activation: Activation of the head; `None` gives logits.
        dtype: Dtype policy of every layer. Default: Keras's.
        name: Name of the model.

    Returns:
        A functional `keras.Model`; images `[B, H, W, C]` in [-1, 1] (in [0, 255] with
        `include_preprocessing`) to `[B, classes]`, or what `pooling` says.

    Raises:
        ValueError: If an argument is out of its range, or rows or columns are unknown.
    """
    check_counts(1, patch_size=patch_size, width=width)
    check_counts(1, tokens_mlp_dim=tokens_mlp_dim, channels_mlp_dim=channels_mlp_dim)
    check_counts(0, depth=depth)
    if include_top:
        check_counts(1, classes=classes)
    check_numbers("[0, 1)", stochastic_depth_rate=stochastic_depth_rate)
    check_choice("pooling", pooling, (None, *POOLINGS), "A Mixer has no class token.")
    policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
    common: dict[str, Any] = {"dtype": policy}
    inputs, x = image_input(
        as_pair(image_size, "image_size"), input_shape, input_tensor, include_preprocessing, policy
    )
    if None in x.shape[1:3]:
        raise ValueError(
            "A Mixer is made for one size of images, as it has a weight for each patch. Give rows "
            "and columns, `input_shape=(224, 224, 3)` for example, or use a ViT. "
            f"Received: input_shape={tuple(inputs.shape[1:])}"
        )

    # Image to tokens.                                                                [B, H, W, C]
    cut = PatchEmbed(patch_size, width, border, return_grid=True, name="stem", **common)
    x, grid = cut(x)  # [B, N, D] and [B, rows, columns, D]
    for i in range(depth):
        x = MixerBlock(
            tokens_mlp_dim,
            channels_mlp_dim,
            stochastic_depth_rate=stochastic_depth_rate * i / max(depth - 1, 1),
            gelu=gelu,
            rematerialise=rematerialise,
            name=f"mixer_block_{i}",
            **common,
        )(x)
    x = LayerNorm(epsilon=1e-6, name="norm", **common)(x)

    # Tokens to what was asked for.
    if include_top or pooling is not None:
        pooled = "avg" if include_top or pooling is None else pooling
        x = TokenPooling(pooled, num_prefix_tokens=0, name="pooling", **common)(x)  # [B, D]
        if include_top:
            x = classification_head(x, classes, classifier_activation, policy)  # [B, classes]
    else:
        x = FeatureMap(num_prefix_tokens=0, name="feature_map", **common)(x, grid)
        x = feature_output(x, policy)  # [B, rows, columns, D]

    return finished(inputs, x, input_tensor, policy, name)
