"""Writes a model as an ONNX file, for onnxruntime, OpenVINO and browsers."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_vit.checkpoints.model_variables import layers_of
from keras_vit.exports.onnx.graph import OPSET, Graph, Value, as_keras_has_it
from keras_vit.exports.onnx.operators import OPERATORS
from keras_vit.layers import TokenPooling, TransformerBlock
from keras_vit.layers.initializers import weights_follow
from keras_vit.models.flatten import flat
from keras_vit.utils.checks import check_class_names
from keras_vit.utils.files import check_target, replacing

# The version of the file that goes with the operators: what runtimes of 2024 and later read.
IR_VERSION = 10


def export_onnx(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    class_names: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a model as ONNX, with LayerNormalization and Gelu as single operators.

    The input is called `image`, float32 `[batch, rows, columns, channels]` as the Keras model
    takes it ([-1, 1], or [0, 255] with `include_preprocessing`), any batch. The outputs are
    `output`, what the model says, and `features`, what its head sees. Computed in float32
    whatever the model's policy.

    Args:
        model: A functional model with one image input of known size: ours, and Keras's simple
            layers around it.
        path: Ends with `.onnx`.
        class_names: Written into the metadata as `labels`, a JSON list.
        overwrite: Whether a file at `path` may be replaced.

    Returns:
        `path`.

    Raises:
        ValueError: If the model has a layer that is not known here, or takes any size.
        FileExistsError: If there is a file and not `overwrite`.
        ImportError: If the package onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            'ONNX export needs the package onnx: pip install "keras-vit-applications[onnx]"'
        ) from error
    path = check_target(path, ".onnx", overwrite)
    model = flat(model)
    if len(model.inputs) != 1 or len(model.outputs) != 1 or None in model.inputs[0].shape[1:]:
        raise ValueError(
            "Expected a model with one input of known size and one output; "
            "`keras_vit.resize_model(model, (rows, columns))` gives a size to one that takes any. "
            f"Received: inputs of shape {[tuple(x.shape) for x in model.inputs]}"
        )
    graph, outputs = build_graph(model)
    classes = int(model.outputs[0].shape[-1])
    float32 = onnx.TensorProto.FLOAT
    info = onnx.helper.make_tensor_value_info
    made = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            model.name,
            [info("image", float32, ["batch", *map(int, model.inputs[0].shape[1:])])],
            [info(name, float32, ["batch", *shape]) for name, shape in outputs.items()],
            graph.weights,
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="keras_vit",
    )
    if class_names is not None:
        names = check_class_names(class_names, classes)
        onnx.helper.set_model_props(made, {"labels": json.dumps(names)})
    onnx.checker.check_model(made, full_check=True)
    with replacing(path) as temporary:
        onnx.save(made, temporary)
    return path


def build_graph(model: keras.Model) -> tuple[Graph, dict[str, list[int]]]:
    """The graph of a model, and its outputs: name -> shape without the batch."""
    graph = Graph()
    values, copy = _write_down(graph, model, Value("image"))
    named: dict[str, Any] = {"output": copy.outputs[0]}
    if any(layer.name == "head" for layer in copy.layers):
        named["features"] = copy.get_layer("head").input
    graph.enter("outputs")
    outputs: dict[str, list[int]] = {}
    for name, tensor in named.items():
        graph.rename(as_keras_has_it(graph, values[id(tensor)]), name)
        outputs[name] = [int(n) for n in tensor.shape[1:]]
    return graph, outputs


def _write_down(graph: Graph, model: Any, image: Value) -> tuple[dict[int, Value], Any]:
    """Adds all layers of a model to the graph.

    Returns:
        The values of the tensors by their ids, and the copy of the model whose tensors they are.
    """
    graph.last_block = _last_block(model)
    values: dict[int, Value] = {}
    alive: list[Any] = []  # a tensor's id is its own only as long as it lives

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = layer(*args, **kwargs)
        received = keras.tree.flatten(args)
        values.setdefault(id(received[0]), image)  # of the first layer, the image
        inputs: Any = keras.tree.map_structure(lambda x: values[id(x)], list(args))
        emitted = _emit(graph, model.get_layer(layer.name), [x.shape for x in received], inputs)
        for tensor, value in zip(keras.tree.flatten(outputs), emitted, strict=True):
            values[id(tensor)] = value
        alive.append((args, outputs))
        return outputs

    with weights_follow():  # the copy tells the order and the shapes; the weights are the model's
        copy = keras.models.clone_model(model, call_function=call)
    alive.append(copy)
    return values, copy


def _emit(graph: Graph, layer: Any, shapes: list[Any], inputs: list[Any]) -> list[Value]:
    """The values of the outputs of a layer."""
    emitter = next((OPERATORS[kind] for kind in type(layer).__mro__ if kind in OPERATORS), None)
    if emitter is None:
        raise ValueError(
            f"The layer {layer.name!r} is a {type(layer).__name__}, which has no ONNX operator "
            f"here. Known: {', '.join(sorted(kind.__name__ for kind in OPERATORS))}."
        )
    graph.enter(layer.name)
    emitted = emitter(graph, layer, shapes, *inputs)
    return emitted if isinstance(emitted, list) else [emitted]


def _last_block(model: keras.Model) -> str | None:
    """The last Transformer block, if all that is used of it is the class token."""
    blocks = layers_of(model, TransformerBlock)
    pooled = [layer.pooling for layer in layers_of(model, TokenPooling)]
    return blocks[-1].name if blocks and pooled == ["token"] else None
