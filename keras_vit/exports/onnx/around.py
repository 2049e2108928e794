"""What Keras and its users put around our models, as ONNX operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_vit.exports.onnx.graph import (
    Graph,
    Value,
    as_array,
    as_keras_has_it,
    channels_first,
    dense_product,
    gelu,
)
from keras_vit.layers import PixelNormalisation
from keras_vit.layers.base.dense import Dense

# Name in Keras -> operator and its attributes.
_ACTIVATIONS: dict[str, tuple[str, dict[str, float]]] = {
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "softmax": ("Softmax", {"axis": -1}),
    "elu": ("Elu", {"alpha": 1.0}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.2}),
    "selu": ("Selu", {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "exponential": ("Exp", {}),
}


def _activated(graph: Graph, x: str, function: Any) -> str:
    name = getattr(function, "__name__", str(function))
    if name == "linear" or function is None:
        return x
    if name == "gelu":
        return gelu(graph, x, "exact")
    if name == "silu":
        return graph.op("Mul", x, graph.op("Sigmoid", x))
    if name not in _ACTIVATIONS:
        raise ValueError(
            f"The activation {name!r} has no ONNX operator here. Expected one of "
            f"{', '.join([*_ACTIVATIONS, 'gelu', 'silu'])}, or none: export the model without it "
            "and apply it afterwards."
        )
    kind, attributes = _ACTIVATIONS[name]
    return graph.op(kind, x, **attributes)


def _dense(graph: Graph, layer: Any, shapes: Any, x: Value) -> Value:
    return Value(_activated(graph, dense_product(graph, x.name, layer, "dense"), layer.activation))


def _activation(graph: Graph, layer: Any, shapes: Any, x: Value) -> Value:
    function = getattr(layer, "activation", keras.activations.softmax)
    return Value(_activated(graph, as_keras_has_it(graph, x), function))


def _relu(graph: Graph, layer: Any, shapes: Any, x: Value) -> Value:
    if layer.threshold or (layer.negative_slope and layer.max_value is not None):
        raise ValueError(
            f"The layer {layer.name!r} is a ReLU with a threshold, or with a slope and a largest "
            "value, which has no ONNX operator here."
        )
    if layer.negative_slope:
        y = graph.op("LeakyRelu", x.name, alpha=float(layer.negative_slope))
    elif layer.max_value is not None:
        ends = graph.weight("zero", 0.0), graph.weight("max_value", layer.max_value)
        y = graph.op("Clip", x.name, *ends)
    else:
        y = graph.op("Relu", x.name)
    return Value(y, x.channels_first)


def _leaky_relu(graph: Graph, layer: Any, shapes: Any, x: Value) -> Value:
    y = graph.op("LeakyRelu", x.name, alpha=float(layer.negative_slope))
    return Value(y, x.channels_first)


def _elu(graph: Graph, layer: Any, shapes: Any, x: Value) -> Value:
    return Value(graph.op("Elu", x.name, alpha=float(layer.alpha)), x.channels_first)


def _scaled(graph: Graph, x: Value, scale: Any, offset: Any) -> Value:
    """`x * scale + offset`, which broadcast as in Keras."""
    product = graph.op("Mul", as_keras_has_it(graph, x), graph.weight("scale", scale))
    return Value(graph.op("Add", product, graph.weight("offset", offset)))


def _rescaling(graph: Graph, layer: Any, shapes: Any, x: Value) -> Value:
    return _scaled(graph, x, layer.scale, layer.offset)


def _normalization(graph: Graph, layer: Any, shapes: Any, x: Value) -> Value:
    mean, variance = as_array(layer.mean), as_array(layer.variance)
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    if layer.invert:
        return _scaled(graph, x, deviation, mean)
    return _scaled(graph, x, 1 / deviation, -mean / deviation)


def _batch_normalization(graph: Graph, layer: Any, shapes: Any, x: Value) -> Value:
    scale = 1 / np.sqrt(as_array(layer.moving_variance) + layer.epsilon)
    if layer.scale:
        scale = scale * as_array(layer.gamma)
    offset = -as_array(layer.moving_mean) * scale
    if layer.center:
        offset = offset + as_array(layer.beta)
    axis, rank = layer.axis, len(shapes[0])
    shape = [-1 if i == axis % rank else 1 for i in range(rank)]
    return _scaled(graph, x, scale.reshape(shape), offset.reshape(shape))


def _unit_normalization(graph: Graph, layer: Any, shapes: Any, x: Value) -> Value:
    axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
    return Value(graph.op("LpNormalization", as_keras_has_it(graph, x), axis=int(axis), p=2))


def _resizing(graph: Graph, layer: Any, shapes: Any, x: Value) -> Value:
    modes = {
        "bilinear": {"mode": "linear"},
        "nearest": {"mode": "nearest", "nearest_mode": "round_prefer_ceil"},
    }
    whole = not (layer.crop_to_aspect_ratio or layer.pad_to_aspect_ratio or layer.antialias)
    if layer.interpolation not in modes or not whole:
        raise ValueError(
            f"The layer {layer.name!r} must resize bilinear or nearest, without antialias and "
            "without crop or pad, to be an ONNX operator. Resize before the model."
        )
    image = channels_first(graph, x)
    first = graph.op("Shape", image, start=0, end=2)
    sizes = graph.op("Concat", first, graph.ints(layer.height, layer.width), axis=0)
    y = graph.op("Resize", image, "", "", sizes, **modes[layer.interpolation])
    return Value(y, channels_first=True)


def _concatenate(graph: Graph, layer: Any, shapes: Any, values: Any) -> Value:
    names = [as_keras_has_it(graph, value) for value in values]
    return Value(graph.op("Concat", *names, axis=layer.axis))


def _reshape(graph: Graph, layer: Any, shapes: Any, x: Value) -> Value:
    return Value(graph.op("Reshape", as_keras_has_it(graph, x), graph.ints(0, *layer.target_shape)))


def _permute(graph: Graph, layer: Any, shapes: Any, x: Value) -> Value:
    return Value(graph.op("Transpose", as_keras_has_it(graph, x), perm=[0, *layer.dims]))


def _flatten(graph: Graph, layer: Any, shapes: Any, x: Value) -> Value:
    return Value(graph.op("Flatten", as_keras_has_it(graph, x), axis=1))


def _identity(graph: Graph, layer: Any, shapes: Any, x: Value) -> Value:
    return x


def _arithmetic(kind: str) -> Callable[..., Value]:
    """An operation of two numbers, one of which may be a constant: `x / 127.5`."""

    def emit(graph: Graph, operation: Any, shapes: Any, *operands: Any) -> Value:
        names = [
            as_keras_has_it(graph, x) if isinstance(x, Value) else graph.weight("constant", x)
            for x in operands
        ]
        return Value(graph.op(kind, *names))

    return emit


AROUND: dict[type, Callable[..., Any]] = {
    keras.layers.Dense: _dense,
    Dense: _dense,
    keras.layers.Activation: _activation,
    keras.layers.Softmax: _activation,
    keras.layers.ReLU: _relu,
    keras.layers.LeakyReLU: _leaky_relu,
    keras.layers.ELU: _elu,
    keras.layers.Rescaling: _rescaling,
    PixelNormalisation: _rescaling,
    keras.layers.Normalization: _normalization,
    keras.layers.BatchNormalization: _batch_normalization,
    keras.layers.UnitNormalization: _unit_normalization,
    keras.layers.Resizing: _resizing,
    keras.layers.Concatenate: _concatenate,
    keras.layers.Reshape: _reshape,
    keras.layers.Permute: _permute,
    keras.layers.Flatten: _flatten,
    keras.layers.Identity: _identity,
    keras.layers.Dropout: _identity,
    keras.layers.GaussianDropout: _identity,
    keras.layers.GaussianNoise: _identity,
    # Augmentation: the image itself where nothing is trained. A crop is a crop always.
    **{
        kind: _identity
        for name, kind in vars(keras.layers).items()
        if name.startswith("Random") and name != "RandomCrop"
    },
}

# Operations of `keras.ops`, and of arithmetic on tensors, by the names of their classes.
OPERATIONS: dict[str, Callable[..., Any]] = {
    "Add": _arithmetic("Add"),
    "Subtract": _arithmetic("Sub"),
    "Multiply": _arithmetic("Mul"),
    "Divide": _arithmetic("Div"),
    "TrueDivide": _arithmetic("Div"),
    "Cast": _identity,
}
