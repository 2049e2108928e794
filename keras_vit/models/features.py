"""What a model computes before its head: a vector, or the maps of its blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import keras

from keras_vit.layers import AttentionPooling, ClassToken, FeatureMap, TokenPooling
from keras_vit.models.graph import functional, nodes
from keras_vit.models.input_and_head import feature_output
from keras_vit.models.parts import Parts, model_of_ours, models_of_ours, parts_of

ALL = "all"

# Layers that may follow the dense layer of a head.
_AFTER_HEAD = (keras.layers.Activation, keras.layers.Softmax, keras.layers.Dropout)

# A model that ends in one of these has no head: its outputs are features.
_POOLINGS = (
    AttentionPooling,
    TokenPooling,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.LayerNormalization,  # of ViTs that pool before the last norm
)


def feature_model(
    model: Any,
    blocks: Sequence[int] | str | None = None,
    *,
    norm: bool = True,
    as_maps: bool = True,
    class_token: bool = False,
    layer: str | None = None,
) -> Any:
    """A model that ends in features: in the vector before the head, or in the maps of blocks.

    The layers are shared: what you train, freeze or quantize in one model, you train, freeze or
    quantize in the other. With `blocks`, the outputs are those of timm's
    `forward_intermediates(indices=blocks, norm=norm)`.

    Args:
        model: A functional model or a built `keras.Sequential`, for `blocks` one that keras_vit
            built. It may be wrapped into a larger one, quantized, or have LoRA.
        blocks: Indexes of blocks, in the order in which you want their features; -1 is the last.
            `"all"` for every block. Those of a BiT are its four stages. Default: the vector
            before the head.
        norm: Whether the features of blocks go through the norm that the model has after its last
            block. In a BiT only the last stage does, as its channels are those of the norm. A
            model that pools before it normalises has no such norm.
        as_maps: Whether the features of a block are laid out as the patches lie in the image.
            Otherwise all tokens of the block are returned, the class token and the registers
            first.
        class_token: Whether to return the class tokens of the blocks too, after all maps.
        layer: In place of `blocks`, the name of the layer whose outputs, `[B, D]`, are the
            features; `model` need then not be of keras_vit.

    Returns:
        A model from images, as `model` takes them. Without `blocks`: to `[B, D]`, the class token
        (or the mean of the patches) after the last norm, and after the `pre_logits` layer with
        its tanh if there is one; of a BiT and a Mixer the pooled output. With `blocks`: to a list
        with a map `[B, rows, columns, D]` for each, in the data format of the Keras configuration
        (`[B, N, D]` without `as_maps`), and with `class_token` then a vector `[B, D]` for each; a
        single output is not in a list.

    Raises:
        ValueError: If a block does not exist, the model has no tokens or class token where they
            are asked for, the layer before the head cannot be found, or there is no such layer.
    """
    graph = functional(model)
    if graph is None or (blocks is None and len(graph.outputs) != 1):
        raise ValueError(
            "`model` must be a functional model of one output or a built keras.Sequential, as "
            "nothing is known of the layers of any other before it runs. Received: "
            f"model={getattr(model, 'name', model)!r}"
        )
    if blocks is None:

        def find(graph: Any) -> Any:
            return _before_head(graph) if layer is None else _output_of(graph, layer)

    elif layer is None:
        chosen = _chosen(blocks, len(model_of_ours(graph)[1].blocks))

        def find(graph: Any) -> Any:
            return _of_blocks(graph, chosen, norm, as_maps, class_token)
    else:
        raise ValueError(
            f"Pass `blocks` or `layer`, not both. Received: blocks={blocks!r}, layer={layer!r}"
        )
    features = _cut(graph, find, f"{model.name}_features")
    if blocks is None and len(features.output.shape) != 2:
        raise ValueError(
            "Features must be vectors, [B, D]: build the model with `pooling='avg'`, or pass "
            "`layer=` with the name of a layer behind its pooling. For feature maps pass "
            f"`blocks=[-1]`. Received: {tuple(features.output.shape)}"
        )
    features.dtype_policy = model.dtype_policy  # `compile` reads it
    return features


def check_features(features: Any, **others: Any) -> None:
    """Refuses what goes with a head or a pooling, where features are to be returned.

    Args:
        features: The argument `features` of a constructor.
        **others: Arguments that contradict it, by their names, if they were given; else false.

    Raises:
        ValueError: If one was given.
    """
    given = [f"{name}={value!r}" for name, value in others.items() if value]
    if given:
        raise ValueError(
            "With `features` the model ends in the maps of blocks: it has no head and no pooling. "
            f"Leave out {' and '.join(given)}, or `features`. Received: features={features!r}"
        )


def _cut(graph: Any, find: Callable[[Any], Any], name: str) -> Any:
    """The part of a model that ends in what `find` finds.

    Args:
        graph: A functional model.
        find: Takes a functional model and returns tensors of it; or the node of a model inside,
            in which it is to look on.
        name: Of the part.
    """
    found = find(graph)
    inner = functional(getattr(found, "operation", None))
    if inner is not None:
        part = _cut(inner, find, inner.name)
        found = part(*found.arguments.args, **found.arguments.kwargs)
    return keras.Model(graph.input, found, name=name)


def _source(tensor: Any) -> Any:
    """The node that a tensor comes from."""
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]


def last_node(graph: Any) -> Any:
    """The node that ends a model of one output, activations and dropout after it left out."""
    node = _source(graph.outputs[0])
    while isinstance(node.operation, _AFTER_HEAD) or _is_function(node):
        node = _source(node.input_tensors[0])
    return node


def _before_head(graph: Any) -> Any:
    output, node = graph.outputs[0], last_node(graph)
    last = node.operation
    if functional(last) is not None:
        return node
    if isinstance(last, keras.layers.Dense):
        return node.input_tensors[0]
    if len(output.shape) != 2 or (isinstance(last, _POOLINGS) and node.outputs[0] is output):
        return output  # of a feature map: the caller raises
    raise ValueError(
        "It cannot be told which layer comes before the head: the model ends neither in a dense "
        "layer nor in a pooling. Pass `layer=` with the name of the layer whose outputs are the "
        f"features. Received: {graph.name!r}, which ends in {last.name!r} "
        f"({type(last).__name__})"
    )


def _is_function(node: Any) -> bool:
    """Whether a node is a call of `keras.ops.softmax` or its like."""
    return not isinstance(node.operation, keras.layers.Layer) and len(node.input_tensors) == 1


def _output_of(graph: Any, name: str) -> Any:
    for node in nodes(graph):
        if node.operation.name == name:
            return node.outputs[0]
    for node in nodes(graph):
        if name in _layer_names(node.operation):
            return node
    raise ValueError(
        f"There is no layer {name!r} in {graph.name!r}. Its last ones are "
        f"{_layer_names(graph)[-8:]}"
    )


def _layer_names(operation: Any) -> list[str]:
    """Names of the layers of a model, those of the models inside it too."""
    graph = functional(operation)
    if graph is None:
        return []
    return [name for x in graph.layers for name in (_layer_names(x) or [x.name])]


def _chosen(blocks: Any, count: int) -> list[int]:
    """The indexes of blocks, from 0 on."""
    if isinstance(blocks, str) and blocks == ALL:
        return list(range(count))
    if (
        isinstance(blocks, str)
        or not isinstance(blocks, Sequence)
        or len(blocks) == 0
        or not all(isinstance(i, Integral) and -count <= int(i) < count for i in blocks)
        or len({i % count for i in blocks}) < len(blocks)
    ):
        raise ValueError(
            f"`blocks` must be 'all' or a list of different indexes from {-count} to {count - 1}, "
            f"as the model has {count} blocks. Received: blocks={blocks!r}"
        )
    return [int(i) % count for i in blocks]


def _of_blocks(graph: Any, chosen: list[int], norm: bool, as_maps: bool, class_token: bool) -> Any:
    parts = parts_of(graph)
    if parts is None:
        return next(node for node in nodes(graph) if any(models_of_ours(node.operation)))
    learned = [n.operation for n in parts.embeddings if isinstance(n.operation, ClassToken)]
    _check_tokens(parts, learned, as_maps, class_token)
    num_prefix_tokens = sum(layer.num_tokens for layer in learned)
    found, tokens = [], []
    for i in chosen:
        last = parts.blocks[i][-1]
        name, dtype = last.operation.name, last.operation.compute_dtype
        x = last.outputs[0]  # [B, P + N, D]; of a BiT [B, rows, columns, D]
        if norm and (not parts.is_bit or i == len(parts.blocks) - 1):
            for layer in parts.norm:
                x = layer(x)
        features = x
        if as_maps:
            if not parts.is_bit:
                to_map = FeatureMap(num_prefix_tokens, name=f"{name}_map", dtype=dtype)
                features = to_map(x, parts.grid)  # [B, rows, columns, D]
            features = feature_output(features, dtype, f"{name}_channels_first")
        if class_token:
            to_token = TokenPooling("token", num_prefix_tokens, name=f"{name}_token", dtype=dtype)
            tokens.append(to_token(x))
        found.append(features)
    found += tokens
    return found if len(found) > 1 else found[0]  # a Keras model gives no list of one


def _check_tokens(parts: Parts, learned: list[Any], as_maps: bool, class_token: bool) -> None:
    """Refuses to give tokens that there are not, or the class token twice."""
    if parts.is_bit and not (as_maps and not class_token):
        raise ValueError(
            "A BiT has no tokens: leave out `as_maps` and `class_token`. Received: "
            f"as_maps={as_maps}, class_token={class_token}"
        )
    if class_token and not as_maps:
        raise ValueError(
            "Without `as_maps` the class token is the first of the tokens: leave out "
            "`class_token`. Received: as_maps=False, class_token=True"
        )
    if class_token and all(layer.position for layer in learned):
        raise ValueError("The model has no class token. Received: class_token=True")
