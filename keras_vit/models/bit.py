"""Big Transfer, the ResNet that the paper compares with (arXiv 1912.11370), pixels to logits.

A ResNet v2 (norm and ReLU before each convolution) with GroupNorm and weight-standardised
convolutions. Three of its conventions differ from those of the hybrids' stem: where the epsilons
are and how large, explicit zero padding in place of SAME, and the padding of the first pooling,
which is with zeros and so not the same as padding inside the pooling.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_vit.layers.standardized_conv import StandardizedConv2D
from keras_vit.models.input_and_head import (
    classification_head,
    feature_output,
    finished,
    image_input,
)
from keras_vit.utils.checks import as_pair, check_choice, check_counts

POOLINGS = ("avg", "max")


def BiT(
    image_size: int | tuple[int, int] = 224,
    block_sizes: tuple[int, ...] = (3, 4, 6, 3),
    width_factor: float = 1,
    *,
    include_preprocessing: bool = False,
    include_top: bool = True,
    input_tensor: Any = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = None,
    dtype: Any = None,
    name: str = "bit",
) -> keras.Model:
    """Builds a BiT ResNet with random weights.

    Args:
        image_size: Pixels, one number or (rows, columns); the weights do not depend on it.
        block_sizes: Bottleneck units per block; (3, 4, 6, 3) is R50.
        width_factor: Scales all channels; 1 gives 64 after the root.
        include_preprocessing: Put the scaling from [0, 255] to [-1, 1] into the model.
        include_top: Whether to end with the head.
        input_tensor: Keras tensor to use as the image.
        input_shape: (rows, columns, channels); rows and columns may be `None`. Default:
            `image_size` and 3 channels.
        pooling: Without the head: `None` for a feature map, `"avg"` or `"max"` over it.
        classes: Outputs of the head.
        classifier_activation: Activation of the head; `None` gives logits.
        dtype: Dtype policy of every layer. Default: Keras's.
        name: Name of the model.

    Returns:
        A functional `keras.Model`; images `[B, H, W, C]` in [-1, 1] (in [0, 255] with
        `include_preprocessing`) to `[B, classes]`, or to features of
        `64 * width_factor * 4 * 2 ** (len(block_sizes) - 1)` channels.

    Raises:
        ValueError: If an argument is out of its range.
    """
    check_counts(1, **{f"block_sizes[{i}]": size for i, size in enumerate(block_sizes)})
    check_choice("pooling", pooling, (None, *POOLINGS), "A ResNet has no class token.")
    policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
    layers = keras.layers
    common: dict[str, Any] = {"dtype": policy}
    inputs, x = image_input(
        as_pair(image_size, "image_size"), input_shape, input_tensor, include_preprocessing, policy
    )

    # The root: 7x7/2 convolution, 3x3/2 pooling.                                    [B, H, W, C]
    filters = int(64 * width_factor)
    x = _convolution(x, filters, 7, 2, "root_conv", policy)  # [B, H/2, W/2, 64]
    x = _zero_padding(1, "root_pool_pad", policy)(x)
    x = layers.MaxPooling2D(3, 2, "valid", data_format="channels_last", name="root_pool", **common)(
        x
    )  # [B, H/4, W/4, 64]

    # The blocks; each but the first halves the size.
    for block, size in enumerate(block_sizes, start=1):
        for unit in range(1, size + 1):
            strides = 2 if block > 1 and unit == 1 else 1
            x = _unit(
                x, filters * 2 ** (block - 1), strides, unit == 1, f"block{block}_unit{unit:02d}",
                policy,
            )  # fmt: skip
    x = _norm_relu(x, "norm", policy)

    # Features to what was asked for.
    if include_top or pooling is not None:
        pool = layers.GlobalMaxPooling2D if pooling == "max" else layers.GlobalAveragePooling2D
        x = pool(data_format="channels_last", name="pooling", **common)(x)  # [B, D]
        if include_top:
            x = classification_head(x, classes, classifier_activation, policy)
    else:
        x = feature_output(x, policy)
    return finished(inputs, x, input_tensor, policy, name)


def _unit(x: Any, filters: int, strides: int, projection: bool, name: str, dtype: Any) -> Any:
    """Norm, ReLU, then 1x1, 3x3 (with the stride) and 1x1 to four times the filters; no ReLU
    after the sum."""
    y = _norm_relu(x, f"{name}_a_norm", dtype)
    # The projection reads what the first norm gives, not `x`.
    shortcut = (
        _convolution(y, 4 * filters, 1, strides, f"{name}_a_proj", dtype) if projection else x
    )
    y = _convolution(y, filters, 1, 1, f"{name}_a_conv", dtype)
    y = _norm_relu(y, f"{name}_b_norm", dtype)
    y = _convolution(y, filters, 3, strides, f"{name}_b_conv", dtype)
    y = _norm_relu(y, f"{name}_c_norm", dtype)
    y = _convolution(y, 4 * filters, 1, 1, f"{name}_c_conv", dtype)
    return keras.layers.Add(dtype=dtype, name=f"{name}_add")([shortcut, y])


def _norm_relu(x: Any, name: str, dtype: Any) -> Any:
    x = keras.layers.GroupNormalization(groups=32, epsilon=1e-5, dtype=dtype, name=name)(x)
    return keras.layers.ReLU(dtype=dtype, name=f"{name}_relu")(x)


def _convolution(
    x: Any, filters: int, kernel_size: int, strides: int, name: str, dtype: Any
) -> Any:
    if kernel_size > 1:
        x = _zero_padding(kernel_size // 2, f"{name}_pad", dtype)(x)
    return StandardizedConv2D(
        filters,
        kernel_size,
        epsilon_in_root=True,
        strides=strides,
        padding="valid",
        kernel_initializer="he_normal",
        dtype=dtype,
        name=name,
    )(x)


def _zero_padding(size: int, name: str, dtype: Any) -> Any:
    return keras.layers.ZeroPadding2D(size, data_format="channels_last", dtype=dtype, name=name)
