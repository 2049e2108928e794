"""The Vision Transformer, from pixels to logits (paper, section 3.1, figure 1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_vit.layers import (
    AttentionPooling,
    ClassToken,
    FeatureMap,
    LayerNorm,
    PatchEmbed,
    PositionEmbedding,
    RotaryEmbedding,
    TokenPooling,
    TransformerBlock,
)
from keras_vit.layers.base.dense import Dense
from keras_vit.layers.tokens import POOLINGS
from keras_vit.models.input_and_head import (
    classification_head,
    feature_output,
    finished,
    image_input,
)
from keras_vit.utils.checks import as_pair, check_choice, check_counts, check_numbers

# What the head reads -> the `pooling` that gives it.
CLASSIFIERS = {
    "token": "token", "gap": "avg", "token+avg": "token+avg",
    "token+distillation": "token+distillation", "map": "map",
}  # fmt: skip

POSITION_EMBEDDINGS = ("learned", "rotary")


def classifier_of(pooling: str) -> str:
    """The `classifier` whose head reads what that pooling gives; `"gap"` for a maximum."""
    return next((name for name, found in CLASSIFIERS.items() if found == pooling), "gap")


def ViT(
    image_size: int | tuple[int, int] = 224,
    patch_size: int = 16,
    width: int = 768,
    depth: int = 12,
    num_heads: int = 12,
    mlp_dim: int = 3072,
    *,
    stem: Callable[..., Any] | None = None,
    classifier: str = "token",
    class_token: bool | None = None,
    position_embedding: str = "learned",
    key_bias: bool = True,
    norm_after_pooling: bool = False,
    embedding_norm: bool = False,
    head_bias: bool = True,
    representation_size: int | None = None,
    registers: int = 0,
    layer_scale: float | None = None,
    swiglu: bool = False,
    distillation_token: bool | None = None,
    dropout_rate: float = 0.0,
    attention_dropout_rate: float = 0.0,
    stochastic_depth_rate: float = 0.0,
    rematerialise: bool = False,
    gelu: str = "tanh",
    norm_epsilon: float = 1e-6,
    border: str = "drop",
    interpolation: str = "bilinear",
    patch_sizes: Sequence[int] | None = None,
    include_preprocessing: bool = False,
    normalisation: Any = "centred",
    include_top: bool = True,
    input_tensor: Any = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = None,
    dtype: Any = None,
    name: str = "vit",
) -> keras.Model:
    """Builds a Vision Transformer with random weights.

    Args:
        image_size: Pixels, one number or (rows, columns). Where `input_shape` leaves the size
            open, learned positions are made for this size and resampled for what arrives.
        patch_size: Side of a patch in pixels (of the stem's output, where there is a stem).
        width: Channels of a token, `D`.
        depth: Number of Transformer blocks, `L`.
        num_heads: Attention heads per block; divides `width`.
        mlp_dim: Hidden channels of the MLP.
        stem: `None`, or a callable with a `stride` that turns the image into a feature map
            (the hybrids): `stem(images, dtype=...)`.
        classifier: `"token"` classifies from the class token (the paper), `"gap"` from the
            mean of the patch tokens, `"token+avg"` from both (DINOv2), `"token+distillation"`
            from the class token and the distillation token (DeiT), `"map"` from what a learned
            query takes of the patch tokens (SigLIP).
        class_token: Whether there is a class token. Default: where `classifier` reads it. With
            `"gap"` it takes part in the attention and is left out of the mean (timm).
        position_embedding: `"learned"` adds a learned vector for each position (the paper);
            `"rotary"` has no such weights: every block turns its queries and keys by angles that
            follow from the position (DINOv3). See `RotaryEmbedding`.
        key_bias: Whether the keys of the attention have a bias; DINOv3's have none.
        norm_after_pooling: Put the last layer norm after the pooling, as timm does for
            `global_pool="avg"` (`fc_norm`). A feature map then has no norm.
        embedding_norm: Put a layer norm before the blocks, as CLIP does. The projection of the
            patches then has no bias.
        head_bias: Whether the head has a bias; CLIP's projection has none.
        representation_size: Width of the `pre_logits` layer (dense, tanh) before the head,
            or `None` for no such layer.
        registers: Extra learned tokens after the class token, without a position.
        layer_scale: Initial value of a learned scale of each channel after each branch of a
            block (DeiT-III, DINOv2), or `None` for none (the paper).
        swiglu: Whether the MLPs of the blocks are SwiGLUs, with a third kernel (DINOv2's giant).
        distillation_token: Whether a second learned token, with a position, follows the class
            token (DeiT, distilled). Default: with `classifier="token+distillation"`.
        dropout_rate: Dropout after the position embedding and inside the blocks, in [0, 1).
        attention_dropout_rate: Dropout of the attention weights, in [0, 1).
        stochastic_depth_rate: Of the last block; it rises linearly from 0 at the first.
        rematerialise: Whether training keeps only the input of each block and computes the rest
            again in the backward pass. The numbers stay the same. It does not apply to a stem.
        gelu: `"tanh"` (Google's checkpoints), `"exact"` (timm's and Hugging Face's code) or
            `"quick"` (OpenAI's CLIP).
        norm_epsilon: Of the layer norms; 1e-6 in Google's and timm's code, 1e-12 in Hugging
            Face's.
        border: What to do with a border that the patches do not cover: `"drop"` it (the
            original, with a warning), `"pad"` with zeros, or `"error"`.
        interpolation: How the position embedding is resampled for an image of another size:
            `"bilinear"` (Google's code), `"bicubic"` (Hugging Face's) or `"bicubic_antialias"`
            (timm's).
        patch_sizes: Train with one of these, drawn for each step: FlexiViT. See `PatchEmbed`.
        include_preprocessing: Put the scaling from [0, 255] to [-1, 1] into the model.
        normalisation: How the patches get the pixels. `"centred"`: in [-1, 1], as the model does.
            `"imagenet"`, `"clip"` or (mean, standard deviation) of each channel in [0, 1]: the
            model takes [-1, 1] all the same, and normalises by itself.
        include_top: Whether to end with the head.
        input_tensor: Keras tensor to use as the image.
        input_shape: (rows, columns, channels); rows and columns may be `None`. Channels come
            first when that is the data format of the Keras configuration. Default:
            `image_size` and 3 channels.
        pooling: Without the head: `None` for a feature map `[B, rows, columns, D]`, `"avg"`
            or `"max"` over the patches, `"token"` for the class token, `"map"` as for
            `classifier`, all `[B, D]`; `"token+avg"` or `"token+distillation"`, `[B, 2 D]`.
        classes: Outputs of the head.
        classifier_activation: Activation of the head; `None` gives logits.
        dtype: Dtype policy of every layer, `"mixed_bfloat16"` for example. Default: Keras's.
        name: Name of the model.

    Returns:
        A functional `keras.Model`; images `[B, H, W, C]` in [-1, 1] (in [0, 255] with
        `include_preprocessing`) to `[B, classes]`, or what `pooling` says.

    Raises:
        ValueError: If an argument is out of its range or contradicts another.
    """
    check_counts(1, patch_size=patch_size, width=width, num_heads=num_heads, mlp_dim=mlp_dim)
    check_counts(0, depth=depth, registers=registers)
    if include_top:
        check_counts(1, classes=classes, representation_size=representation_size or 1)
    check_numbers(
        "[0, 1)",
        dropout_rate=dropout_rate,
        attention_dropout_rate=attention_dropout_rate,
        stochastic_depth_rate=stochastic_depth_rate,
    )
    check_choice("classifier", classifier, CLASSIFIERS)
    check_choice("position_embedding", position_embedding, POSITION_EMBEDDINGS)
    if class_token is None:
        class_token = "token" in classifier
    if not class_token and any("token" in (name or "") for name in (classifier, pooling)):
        raise ValueError(
            '"token" and "token+avg", as `classifier` or `pooling`, need a class token. Pass '
            "`class_token=True`, or another classifier and pooling. Received: class_token="
            f"{class_token}, classifier={classifier!r}, pooling={pooling!r}"
        )
    check_choice("pooling", pooling, (None, *POOLINGS, "map"))
    policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
    layers = keras.layers
    common: dict[str, Any] = {"dtype": policy}
    if distillation_token is None:
        distillation_token = classifier == "token+distillation"
    if distillation_token > class_token or (
        not distillation_token and "token+distillation" in (classifier, pooling)
    ):
        raise ValueError(
            '"token+distillation", as `classifier` or `pooling`, needs a distillation token, and '
            "that a class token before it. Received: class_token="
            f"{class_token}, distillation_token={distillation_token}, classifier={classifier!r}, "
            f"pooling={pooling!r}"
        )
    num_class_tokens = class_token + distillation_token
    num_prefix_tokens = num_class_tokens + registers

    image_size = as_pair(image_size, "image_size")
    inputs, x = image_input(
        image_size, input_shape, input_tensor, include_preprocessing, policy, normalisation
    )

    # Image to tokens.
    if stem is not None:
        x = stem(x, dtype=policy)  # [B, H', W', C']
    cut = PatchEmbed(
        patch_size,
        width,
        border,
        use_bias=not embedding_norm,
        patch_sizes=patch_sizes,
        interpolation=interpolation,
        return_grid=True,
        name="patch_embed",
        **common,
    )
    x, grid = cut(x)  # [B, N, D] and [B, rows, columns, D]
    if class_token:
        x = ClassToken(name="class_token", **common)(x)  # [B, 1 + N, D]
    if distillation_token:
        x = ClassToken(position=1, name="distillation_token", **common)(x)  # [B, 2 + N, D]
    positions: list[Any] = []  # for the blocks
    if position_embedding == "rotary":
        rotary = RotaryEmbedding(num_heads, num_prefix_tokens, name="rotary_embedding", **common)
        positions = [rotary(grid)]  # [1, P + N, d]
    else:
        x = PositionEmbedding(
            _grid_size(grid, image_size, stem, patch_size),
            num_class_tokens,
            interpolation=interpolation,
            name="position_embedding",
            **common,
        )(x, grid)
    if registers:
        x = ClassToken(
            registers,
            position=num_class_tokens,
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="registers",
            **common,
        )(x)  # [B, P + N, D]
    x = layers.Dropout(dropout_rate, name="embedding_dropout", **common)(x)
    if embedding_norm:
        x = LayerNorm(epsilon=norm_epsilon, name="embedding_norm", **common)(x)

    # The encoder.
    for i in range(depth):
        x = TransformerBlock(
            num_heads,
            mlp_dim,
            dropout_rate=dropout_rate,
            attention_dropout_rate=attention_dropout_rate,
            stochastic_depth_rate=stochastic_depth_rate * i / max(depth - 1, 1),
            gelu=gelu,
            epsilon=norm_epsilon,
            layer_scale=layer_scale,
            swiglu=swiglu,
            key_bias=key_bias,
            rematerialise=rematerialise,
            name=f"block_{i}",
            **common,
        )(x, *positions)
    if not norm_after_pooling:
        x = LayerNorm(epsilon=norm_epsilon, name="encoder_norm", **common)(x)

    # Tokens to what was asked for.
    if include_top:
        pooling = CLASSIFIERS[classifier]
    if pooling == "map":
        x = AttentionPooling(
            num_heads, mlp_dim, gelu, norm_epsilon, num_prefix_tokens, name="pooling", **common
        )(x)  # [B, D]
    elif pooling is not None:
        x = TokenPooling(pooling, num_prefix_tokens, name="pooling", **common)(x)  # [B, D]
    if pooling is not None and norm_after_pooling:
        x = LayerNorm(epsilon=norm_epsilon, name="pooled_norm", **common)(x)
    if include_top:
        if representation_size is not None:
            x = Dense(representation_size, activation="tanh", name="pre_logits", **common)(x)
        x = classification_head(x, classes, classifier_activation, policy, head_bias)
    elif pooling is None:
        x = FeatureMap(num_prefix_tokens, name="feature_map", **common)(x, grid)
        x = feature_output(x, policy)  # [B, rows, columns, D]

    return finished(inputs, x, input_tensor, policy, name)


def _grid_size(grid: Any, image_size: tuple[int, int], stem: Any, patch_size: int) -> Any:
    """(rows, columns) of the position embedding: of the input, or of `image_size` if open."""
    stem_stride = stem.stride if stem is not None else 1
    rows, columns = (
        max(-(-side // stem_stride) // patch_size, 1) if found is None else found
        for found, side in zip(grid.shape[1:3], image_size, strict=True)
    )
    return rows, columns
