"""Where every model begins and ends: the image comes in, scores or features go out."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def image_input(
    image_size: tuple[int, int],
    input_shape: Any,
    input_tensor: Any,
    include_preprocessing: bool,
    policy: Any,
) -> tuple[Any, Any]:
    """The input of a model, and the image `[B, H, W, C]` in [-1, 1] that its layers take.

    In the data format of the Keras configuration, as `keras.applications` has it: with
    `"channels_first"` the image is turned round once, here.
    """
    inputs = _input(image_size, input_shape, input_tensor)
    x = inputs
    if keras.config.image_data_format() == "channels_first":
        x = keras.layers.Permute((2, 3, 1), dtype=policy, name="channels_last")(x)
    if include_preprocessing:
        # In float32: bfloat16 has no room for all of the 256 values after the scaling.
        x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="preprocessing")(x)
    return inputs, x


def _input(image_size: tuple[int, int], input_shape: Any, input_tensor: Any) -> Any:
    if input_tensor is not None:
        if not keras.utils.is_keras_tensor(input_tensor):
            raise ValueError(
                "`input_tensor` must be a Keras tensor, the output of `keras.Input(...)` or of "
                f"a layer called on one. Received: input_tensor={input_tensor!r}"
            )
        return input_tensor
    if input_shape is None:
        input_shape = image_shape(image_size, 3)
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 3:
        raise ValueError(
            "`input_shape` must be a tuple of three, (rows, columns, channels); rows and "
            f"columns may be None. Received: input_shape={input_shape!r}"
        )
    return keras.Input(tuple(input_shape), name="image")


def image_shape(size: tuple[Any, Any], channels: int) -> tuple[Any, Any, Any]:
    """The shape of an image in the data format of the Keras configuration."""
    if keras.config.image_data_format() == "channels_first":
        return (channels, *size)
    return (*size, channels)


def classification_head(x: Any, classes: int, activation: Any, policy: Any) -> Any:
    """`[B, D]` to `[B, classes]`; a new head is zero, as the papers fine-tune."""
    return keras.layers.Dense(
        classes,
        activation=activation,
        kernel_initializer="zeros",
        # Probabilities and the loss want more digits than a 16-bit float has.
        dtype="float32" if policy.name.startswith("mixed_") else policy,
        name="head",
    )(x)


def feature_output(x: Any, policy: Any) -> Any:
    """A feature map `[B, rows, columns, D]`, in the data format of the Keras configuration."""
    if keras.config.image_data_format() == "channels_first":
        x = keras.layers.Permute((3, 1, 2), dtype=policy, name="channels_first")(x)
    return x


def check_counts(least: int, **counts: Any) -> None:
    """Raises a `ValueError` for what is no integer, or less than `least`."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < least:
            raise ValueError(
                f"`{name}` must be an integer of at least {least}. Received: {name}={count!r}"
            )


def check_rates(**rates: Any) -> None:
    """Raises a `ValueError` for what is no number in [0, 1)."""
    for name, rate in rates.items():
        if not isinstance(rate, (int, float)) or not 0 <= rate < 1:
            raise ValueError(f"`{name}` must be a number in [0, 1). Received: {name}={rate!r}")
