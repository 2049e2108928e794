"""What every model begins and ends with: the image input and the head."""

from __future__ import annotations

from typing import Any

import keras

from keras_vit.layers import PixelNormalisation
from keras_vit.layers.dense import Dense
from keras_vit.layers.pixels import NORMALISATIONS, normalisation_of
from keras_vit.models.graph import functional
from keras_vit.models.input_range import far_from_pixels


def image_input(
    image_size: tuple[int, int],
    input_shape: Any,
    input_tensor: Any,
    include_preprocessing: bool,
    policy: Any,
    normalisation: Any = "centred",
) -> tuple[Any, Any]:
    """The input of a model, and the image `[B, H, W, C]` that its layers take.

    That is in [-1, 1], or has another `normalisation`: see `ViT`.

    The input has the data format of the Keras configuration, as in `keras.applications`. An image
    with `"channels_first"` is transposed once, here; all layers work with channels last.
    """
    inputs = _input(image_size, input_shape, input_tensor)
    x = inputs
    if keras.config.image_data_format() == "channels_first":
        x = keras.layers.Permute((2, 3, 1), dtype=policy, name="channels_last")(x)
    if include_preprocessing:
        # In float32, as bfloat16 cannot tell all 256 values apart after the scaling.
        x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="preprocessing")(x)
    wanted = normalisation_of(normalisation)
    if wanted != "centred":
        mean, std = NORMALISATIONS[wanted] if isinstance(wanted, str) else wanted
        x = PixelNormalisation(mean, std, dtype="float32", name="normalisation")(x)
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


def classification_head(
    x: Any, classes: int, activation: Any, policy: Any, use_bias: bool = True
) -> Any:
    """`[B, D]` to `[B, classes]`; a new head is zero, as the papers fine-tune."""
    return Dense(
        classes,
        activation=activation,
        use_bias=use_bias,
        kernel_initializer="zeros",
        # Probabilities and the loss need more digits than a 16-bit float has.
        dtype="float32" if policy.name.startswith("mixed_") else policy,
        name="head",
    )(x)


def feature_output(x: Any, policy: Any) -> Any:
    """A feature map `[B, rows, columns, D]`, in the data format of the Keras configuration."""
    if keras.config.image_data_format() == "channels_first":
        x = keras.layers.Permute((3, 1, 2), dtype=policy, name="channels_first")(x)
    return x


def finished(inputs: Any, outputs: Any, input_tensor: Any, policy: Any, name: str) -> keras.Model:
    """The model between its input, or those behind `input_tensor`, and its outputs."""
    if input_tensor is not None:
        inputs = keras.utils.get_source_inputs(input_tensor)
    model = keras.Model(inputs, outputs, name=name)
    if policy.name == "mixed_float16":
        model.dtype_policy = policy  # `compile` reads it to decide whether to scale the loss
    return model


def check_takes_pixels(model: Any) -> None:
    """Refuses a model of ours that has no scaling for pixels; of other models nothing is known."""
    if far_from_pixels(model):
        raise ValueError(
            "The model has no scaling for pixels: it expects them in [-1, 1] or [0, 1], and the "
            "images are in [0, 255]. Build it with `include_preprocessing=True`, or put "
            "`keras.layers.Rescaling(1 / 127.5, offset=-1)` before it. Received: "
            f"model={model.name!r}"
        )


def ends_in_probabilities(model: Any) -> bool:
    """Whether a model gives probabilities: it ends in a softmax, or in the sigmoid that goes with
    the loss of that name. Else its outputs are taken for logits.
    """
    return last_activation(model) in ("softmax", "sigmoid")


def last_activation(model: Any) -> str | None:
    """What a model ends in: "linear", "softmax", ...; `None` where that is no activation.

    Args:
        model: With one output; that may be the output of a model inside it.
    """
    last = model
    while isinstance(last, keras.Model):
        graph = functional(last)
        # Of a model that is no graph nothing is known but its layers.
        last = last.layers[-1] if graph is None else _source(graph.outputs[0])
    activation = getattr(last, "activation", None)
    if activation is not None:
        return getattr(activation, "__name__", type(activation).__name__)
    kind = type(last).__name__.lower()  # a layer, or an operation of `keras.ops`
    return kind if kind in ("softmax", "sigmoid") else None


def _source(output: Any) -> Any:
    """The layer or operation that makes an output, not the model or the change of dtype around."""
    operation, node, index = output._keras_history
    graph = functional(operation)
    if graph is not None:
        return _source(graph.outputs[index])
    is_activation = isinstance(operation, keras.layers.Activation)
    if is_activation and operation.activation is keras.activations.linear:
        return _source(operation._inbound_nodes[node].input_tensors[0])
    return operation
