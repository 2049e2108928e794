"""Our layers as ONNX operators, one function for each, in the order of the forward pass.

Written by hand because a traced graph has a LayerNorm as nine operators and a GELU as eight; here
each is one, so that every runtime has its own fast kernel for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_vit import layers as ours
from keras_vit.exports.onnx.attention import attention, attention_of_one
from keras_vit.exports.onnx.graph import (
    Graph,
    Value,
    as_array,
    as_keras_has_it,
    channels_first,
    dense_product,
    gelu,
    token_slice,
    without_padding,
)
from keras_vit.layers.patch_embed import patches_along
from keras_vit.layers.standardized_conv import StandardizedConv2D


def _layer_norm(graph: Graph, x: str, layer: Any, name: str) -> str:
    width = (layer.gamma if layer.gamma is not None else layer.beta).shape
    gamma = np.ones(width) if layer.gamma is None else as_array(layer.gamma)
    beta = np.zeros(width) if layer.beta is None else as_array(layer.beta)
    gamma, beta = graph.weight(f"{name}/gamma", gamma), graph.weight(f"{name}/beta", beta)
    return graph.op("LayerNormalization", x, gamma, beta, axis=-1, epsilon=layer.epsilon)


def _mlp(graph: Graph, x: str, layer: Any, name: str, scale: Any = None) -> str:
    hidden = dense_product(graph, x, layer.dense_1, f"{name}/dense_1")
    if getattr(layer, "swiglu", False):
        gate = dense_product(graph, x, layer.gate, f"{name}/gate")
        gate = graph.op("Mul", gate, graph.op("Sigmoid", gate))
        hidden = graph.op("Mul", gate, hidden)
    else:
        hidden = gelu(graph, hidden, layer.gelu)
    return dense_product(graph, hidden, layer.dense_2, f"{name}/dense_2", scale)


# Image to tokens.


def patch_embed(graph: Graph, layer: Any, shapes: Any, image: Value) -> Any:
    """A dense layer of patches: for a convolution a runtime lays images and tokens out anew."""
    patch, (*sides, channels) = layer.patch_size, shapes[0][1:]
    rows, columns = grid = [patches_along(side, patch, layer.border) for side in sides]
    x = as_keras_has_it(graph, image)
    missing = [n * patch - side for n, side in zip(grid, sides, strict=True)]
    if any(missing):  # less than nothing is dropped, and that at the end
        before = [max(n, 0) // 2 for n in missing]
        after = [n - first for n, first in zip(missing, before, strict=True)]
        x = graph.op("Pad", x, graph.ints(0, *before, 0, 0, *after, 0))
    x = graph.op("Reshape", x, graph.ints(0, rows, patch, columns, patch, channels))
    x = graph.op("Transpose", x, perm=[0, 1, 3, 2, 4, 5])
    x = graph.op("Reshape", x, graph.ints(0, rows * columns, patch * patch * channels))
    tokens = dense_product(graph, x, layer.projection, "projection")
    if not layer.return_grid:
        return Value(tokens)
    shape = graph.ints(0, rows, columns, layer.width)
    return [Value(tokens), Value(graph.op("Reshape", tokens, shape))]


def class_token(graph: Graph, layer: Any, shapes: Any, tokens: Value) -> Value:
    learned = as_array(layer.token)
    batch = graph.op("Shape", tokens.name, start=0, end=1)
    shape = graph.op("Concat", batch, graph.ints(*learned.shape[1:]), axis=0)
    learned = graph.op("Expand", graph.weight("token", learned), shape)
    if layer.position == 0:
        return Value(graph.op("Concat", learned, tokens.name, axis=1))
    before = token_slice(graph, tokens.name, 0, layer.position)
    after = token_slice(graph, tokens.name, layer.position, 2**31)
    return Value(graph.op("Concat", before, learned, after, axis=1))


def position_embedding(
    graph: Graph, layer: Any, shapes: Any, tokens: Value, grid: Value | None = None
) -> Value:
    if grid is not None and tuple(shapes[1][1:3]) != layer.grid_size:
        raise ValueError(
            "The model takes images of any size, and an ONNX graph is made for one. Use "
            "`keras_vit.resize_model(model, (rows, columns))` first."
        )
    return Value(graph.op("Add", tokens.name, graph.weight("embedding", as_array(layer.embedding))))


def rotary_embedding(graph: Graph, layer: Any, shapes: Any, grid: Value) -> Value:
    return Value(graph.weight("rotation", layer.table()[:, None]))  # [N, 1, d]


# The encoder.


def transformer_block(
    graph: Graph, layer: Any, shapes: Any, tokens: Value, rotation: Value | None = None
) -> Value:
    """The whole block; of the last one only the class token, where nothing else is wanted."""
    scales = (None, None)
    if layer.layer_scale is not None:
        scales = (as_array(layer.attention_scale.gamma), as_array(layer.mlp_scale.gamma))
    tokens = _padded(graph, tokens, shapes[0][1])
    x, padding = tokens.name, tokens.padding
    h = _layer_norm(graph, x, layer.attention_norm, "attention_norm")
    last = layer.name == graph.last_block  # the class token asks all, and nobody asks the others
    if last:
        x = token_slice(graph, x, 0, 1)
    asking = token_slice(graph, h, 0, 1) if last else h
    if last and rotation is None:
        h = without_padding(graph, Value(h, padding=padding)).name
        mixed = attention_of_one(graph, asking, h, layer.attention, scales[0])
    else:
        count = int(shapes[0][1]) + padding
        mask = graph.mask(1 if last else count, count, padding) if padding else None
        turned = None if rotation is None else _rotation_of(graph, rotation, padding)
        mixed = attention(graph, asking, h, layer.attention, scales[0], turned, mask)
    x = graph.op("Add", x, mixed)
    h = _layer_norm(graph, x, layer.mlp_norm, "mlp_norm")
    x = graph.op("Add", x, _mlp(graph, h, layer.mlp, "mlp", scales[1]))
    return Value(x, padding=0 if last else padding)


def _padded(graph: Graph, tokens: Value, count: int) -> Value:
    """With zeros after the tokens, as many as `graph.multiple` asks for."""
    padding = -int(count) % graph.multiple
    if tokens.padding == padding:  # by an earlier block
        return tokens
    return Value(graph.op("Pad", tokens.name, graph.ints(0, 0, 0, 0, padding, 0)), padding=padding)


def _rotation_of(graph: Graph, rotation: Value, padding: int) -> str:
    """`[N, 1, d]`, also for padding."""
    if not padding:
        return rotation.name
    return graph.op("Pad", rotation.name, graph.ints(0, 0, 0, padding, 0, 0))


def mixer_block(graph: Graph, layer: Any, shapes: Any, tokens: Value) -> Value:
    x = tokens.name
    h = _layer_norm(graph, x, layer.token_norm, "token_norm")
    h = graph.op("Transpose", h, perm=[0, 2, 1])
    h = graph.op("Transpose", _mlp(graph, h, layer.token_mixing, "token_mixing"), perm=[0, 2, 1])
    x = graph.op("Add", x, h)
    h = _layer_norm(graph, x, layer.channel_norm, "channel_norm")
    return Value(graph.op("Add", x, _mlp(graph, h, layer.channel_mixing, "channel_mixing")))


def layer_norm(graph: Graph, layer: Any, shapes: Any, x: Value) -> Value:
    return Value(_layer_norm(graph, x.name, layer, "norm"), padding=x.padding)


# Tokens to what was asked for.


def token_pooling(graph: Graph, layer: Any, shapes: Any, tokens: Value) -> Value:
    places = {"token": 0, "distillation": 1}
    vectors = []
    for pooling in layer.pooling.split("+"):
        if pooling in places:
            token = token_slice(graph, tokens.name, places[pooling], places[pooling] + 1)
            vectors.append(graph.op("Squeeze", token, graph.ints(1)))
        else:
            patches = token_slice(graph, tokens.name, layer.num_prefix_tokens, 2**31)
            kind = "ReduceMean" if pooling == "avg" else "ReduceMax"
            vectors.append(graph.reduce(kind, patches, 1))
    return Value(vectors[0] if len(vectors) == 1 else graph.op("Concat", *vectors, axis=1))


def attention_pooling(graph: Graph, layer: Any, shapes: Any, tokens: Value) -> Value:
    patches = tokens.name
    if layer.num_prefix_tokens:
        patches = token_slice(graph, patches, layer.num_prefix_tokens, 2**31)
    probe = graph.weight("probe", as_array(layer.probe))
    x = attention_of_one(graph, probe, patches, layer.attention)  # [B, 1, D]
    h = _layer_norm(graph, x, layer.norm, "norm")
    x = graph.op("Add", x, _mlp(graph, h, layer.mlp, "mlp"))
    return Value(graph.op("Squeeze", x, graph.ints(1)))


def feature_map(graph: Graph, layer: Any, shapes: Any, tokens: Value, grid: Value) -> Value:
    patches = token_slice(graph, tokens.name, layer.num_prefix_tokens, 2**31)
    _, rows, columns, width = shapes[1]
    return Value(graph.op("Reshape", patches, graph.ints(0, rows, columns, width)))


def feature_pyramid(graph: Graph, layer: Any, shapes: Any, features: Value) -> list[Value]:
    """With channels first inside, as ONNX's convolutions take it."""
    first = layer.data_format == "channels_first"
    x = features.name if first else channels_first(graph, features)

    def convolved(y: str, part: Any) -> str:
        kernel = graph.kernel(part.name, as_array(part.kernel).transpose(3, 2, 0, 1), axis=0)
        return graph.op("Conv", y, kernel, auto_pad="SAME_UPPER")

    def enlarged(y: str, part: Any) -> str:
        kernel = as_array(part.kernel).transpose(3, 2, 0, 1)
        kernel = graph.kernel(f"{part.name}/kernel", kernel, axis=1)
        bias = graph.weight(f"{part.name}/bias", as_array(part.bias))
        return graph.op("ConvTranspose", y, kernel, bias, strides=[2, 2])

    def normed(y: str, part: Any) -> str:
        y = _layer_norm(graph, graph.op("Transpose", y, perm=[0, 2, 3, 1]), part, part.name)
        return graph.op("Transpose", y, perm=[0, 3, 1, 2])

    twice = normed(enlarged(x, layer.enlarge_4_first), layer.enlarge_4_norm)
    scaled = (
        enlarged(gelu(graph, twice, "exact"), layer.enlarge_4_second),
        enlarged(x, layer.enlarge_2),
        x,
        graph.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]),
    )
    maps = []
    for i, y in enumerate(scaled):
        y = normed(convolved(y, layer.projections[i]), layer.projection_norms[i])
        y = normed(convolved(y, layer.convolutions[i]), layer.convolution_norms[i])
        maps.append(Value(y, channels_first=not first))
    return maps


# The ResNets.


def standardized_conv(graph: Graph, layer: Any, shapes: Any, x: Value) -> Value:
    kernel = as_array(layer.kernel).astype("float64")
    mean, variance = kernel.mean((0, 1, 2)), kernel.var((0, 1, 2))
    root = np.sqrt(variance + 1e-10) if layer.epsilon_in_root else np.sqrt(variance) + 1e-5
    kernel = ((kernel - mean) / root).transpose(3, 2, 0, 1)
    return Value(
        graph.op(
            "Conv",
            channels_first(graph, x),
            graph.kernel("kernel", kernel, axis=0),
            strides=list(layer.strides),
            auto_pad="SAME_UPPER" if layer.padding == "same" else "VALID",
        ),
        channels_first=True,
    )


def group_norm(graph: Graph, layer: Any, shapes: Any, x: Value) -> Value:
    gamma, beta = as_array(layer.gamma), as_array(layer.beta)
    image, groups = channels_first(graph, x), layer.groups
    if graph.opset >= 21:
        names = graph.weight("gamma", gamma), graph.weight("beta", beta)
        y = graph.op("GroupNormalization", image, *names, num_groups=groups, epsilon=layer.epsilon)
        return Value(y, channels_first=True)
    # Before, the operator had a number for each group: the groups as channels of their own.
    ones, zeros = np.ones(groups), np.zeros(groups)
    rows = graph.op("Reshape", image, graph.ints(0, groups, -1))
    rows = graph.op(
        "InstanceNormalization", rows, graph.weight("ones", ones), graph.weight("zeros", zeros),
        epsilon=layer.epsilon,
    )  # fmt: skip
    y = graph.op("Reshape", rows, graph.op("Shape", image))
    y = graph.op("Mul", y, graph.weight("gamma", gamma[:, None, None]))
    y = graph.op("Add", y, graph.weight("beta", beta[:, None, None]))
    return Value(y, channels_first=True)


def add(graph: Graph, layer: Any, shapes: Any, values: Any) -> Value:
    first = any(value.channels_first for value in values)
    names = [channels_first(graph, v) if first else v.name for v in values]
    total = names[0]
    for name in names[1:]:
        total = graph.op("Add", total, name)
    return Value(total, first)


def max_pooling(graph: Graph, layer: Any, shapes: Any, x: Value) -> Value:
    y = graph.op(
        "MaxPool",
        channels_first(graph, x),
        kernel_shape=list(layer.pool_size),
        strides=list(layer.strides),
        auto_pad="SAME_UPPER" if layer.padding == "same" else "VALID",
    )
    return Value(y, channels_first=True)


def zero_padding(graph: Graph, layer: Any, shapes: Any, x: Value) -> Value:
    (top, bottom), (left, right) = layer.padding
    pads = graph.ints(0, 0, top, left, 0, 0, bottom, right)
    return Value(graph.op("Pad", channels_first(graph, x), pads), channels_first=True)


def global_pooling(graph: Graph, layer: Any, shapes: Any, x: Value) -> Value:
    mean = isinstance(layer, keras.layers.GlobalAveragePooling2D)
    kind = "ReduceMean" if mean else "ReduceMax"
    return Value(graph.reduce(kind, channels_first(graph, x), 2, 3))


OURS: dict[type, Callable[..., Any]] = {
    ours.PatchEmbed: patch_embed,
    ours.ClassToken: class_token,
    ours.PositionEmbedding: position_embedding,
    ours.RotaryEmbedding: rotary_embedding,
    ours.TransformerBlock: transformer_block,
    ours.MixerBlock: mixer_block,
    ours.TokenPooling: token_pooling,
    ours.AttentionPooling: attention_pooling,
    ours.FeatureMap: feature_map,
    ours.SimpleFeaturePyramid: feature_pyramid,
    StandardizedConv2D: standardized_conv,
    keras.layers.LayerNormalization: layer_norm,
    keras.layers.GroupNormalization: group_norm,
    keras.layers.Add: add,
    keras.layers.MaxPooling2D: max_pooling,
    keras.layers.ZeroPadding2D: zero_padding,
    keras.layers.GlobalAveragePooling2D: global_pooling,
    keras.layers.GlobalMaxPooling2D: global_pooling,
}
