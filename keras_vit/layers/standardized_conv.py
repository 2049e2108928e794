"""The convolution of BiT and of the hybrids' stem, with standardised weights."""

from __future__ import annotations

from typing import Any

import keras

from keras_vit.layers.base.initializers import random_start
from keras_vit.layers.base.loss_scaling import check_loss_is_scaled
from keras_vit.utils.backend import ops


@keras.saving.register_keras_serializable(package="keras_vit")
class StandardizedConv2D(keras.layers.Conv2D):
    """A convolution without bias whose kernel is standardised per output channel.

    In float32 whatever the policy: the deviation of a released kernel can be small beside the
    steps of a 16-bit float.

    Args:
        filters: Output channels.
        kernel_size: Of the kernel.
        epsilon_in_root: `(w - mean) / sqrt(variance + 1e-10)` (BiT) in place of
            `(w - mean) / (std + 1e-5)` (the hybrids).
        **kwargs: As in `keras.layers.Conv2D`.

    Input: `[B, H, W, C]`. Output: `[B, H', W', filters]`.
    """

    def __init__(
        self, filters: int, kernel_size: Any, epsilon_in_root: bool = False, **kwargs: Any
    ):
        options = {"use_bias": False, "data_format": "channels_last", "padding": "same"}
        super().__init__(filters, kernel_size, **{**options, **kwargs})
        self.epsilon_in_root = epsilon_in_root

    def build(self, input_shape: Any) -> None:
        # The config keeps what was asked for: a copy that no weights follow starts at random.
        chosen = self.kernel_initializer
        self.kernel_initializer = keras.initializers.get(random_start(chosen))
        super().build(input_shape)
        self.kernel_initializer = chosen

    def add_weight(self, *args: Any, **kwargs: Any) -> Any:
        # Without autocast the kernel stays in float32 until it is standardised.
        return super().add_weight(*args, **{**kwargs, "autocast": False})

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        check_loss_is_scaled(self)
        mean = ops.mean(kernel, axis=(0, 1, 2), keepdims=True)
        variance = ops.var(kernel, axis=(0, 1, 2), keepdims=True)
        root = ops.sqrt(variance + 1e-10) if self.epsilon_in_root else ops.sqrt(variance) + 1e-5
        return super().convolution_op(inputs, ops.cast((kernel - mean) / root, self.compute_dtype))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon_in_root": self.epsilon_in_root}
