"""The ResNet stem of the hybrids (paper, section 3.1, "Hybrid Architecture").

A ResNet v1 with GroupNorm for BatchNorm and weight-standardised convolutions; its feature map is
cut into patches in place of the image.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from keras_vit.layers.standardized_conv import StandardizedConv2D


@dataclasses.dataclass(frozen=True)
class ResNetStem:
    """The stem of a hybrid: a 7x7/2 convolution, a 3x3/2 pooling, then groups of bottlenecks.

    Attributes:
        block_sizes: Bottleneck units per group, (3, 4, 9) for R50; () for the root alone.
        width_factor: Scales all channels; 1 gives 64 after the root.
    """

    block_sizes: tuple[int, ...] = ()
    width_factor: float = 1

    @property
    def stride(self) -> int:
        """Image pixels per pixel of the output, along one side."""
        return 4 * 2 ** max(len(self.block_sizes) - 1, 0)

    def __call__(self, images: Any, dtype: Any = None) -> Any:
        """`[B, H, W, C]` to `[B, ceil(H / stride), ceil(W / stride), C']`."""
        filters = int(64 * self.width_factor)
        x = _conv_norm(images, filters, 7, 2, "stem_root_conv", "stem_root_norm", dtype)
        x = keras.layers.ReLU(dtype=dtype, name="stem_root_relu")(x)
        x = keras.layers.MaxPooling2D(
            3, 2, "same", data_format="channels_last", dtype=dtype, name="stem_root_pool"
        )(x)
        for block, size in enumerate(self.block_sizes, start=1):
            for unit in range(1, size + 1):
                strides = 2 if block > 1 and unit == 1 else 1
                name = f"stem_block{block}_unit{unit}_"
                x = _bottleneck(x, filters * 2 ** (block - 1), strides, name, dtype)
        return x


def _bottleneck(x: Any, filters: int, strides: int, name: str, dtype: Any) -> Any:
    """1x1, 3x3 (with the stride), 1x1 to four times the filters; ReLU after the sum."""
    layers = keras.layers
    shortcut = x
    if x.shape[-1] != 4 * filters or strides != 1:
        shortcut = _conv_norm(
            x, 4 * filters, 1, strides, f"{name}conv_proj", f"{name}norm_proj", dtype
        )
    y = _conv_norm(x, filters, 1, 1, f"{name}conv1", f"{name}norm1", dtype)
    y = layers.ReLU(dtype=dtype, name=f"{name}relu1")(y)
    y = _conv_norm(y, filters, 3, strides, f"{name}conv2", f"{name}norm2", dtype)
    y = layers.ReLU(dtype=dtype, name=f"{name}relu2")(y)
    # The last norm starts at zero, so that a new unit starts as the identity.
    y = _conv_norm(y, 4 * filters, 1, 1, f"{name}conv3", f"{name}norm3", dtype, gamma="zeros")
    y = layers.Add(dtype=dtype, name=f"{name}add")([shortcut, y])
    return layers.ReLU(dtype=dtype, name=f"{name}relu3")(y)


def _conv_norm(
    x: Any,
    filters: int,
    kernel_size: int,
    strides: int,
    conv_name: str,
    norm_name: str,
    dtype: Any,
    gamma: str = "ones",
) -> Any:
    x = StandardizedConv2D(
        filters,
        kernel_size,
        strides=strides,
        kernel_initializer="lecun_normal",
        dtype=dtype,
        name=conv_name,
    )(x)
    return keras.layers.GroupNormalization(
        groups=32, epsilon=1e-6, gamma_initializer=gamma, dtype=dtype, name=norm_name
    )(x)
