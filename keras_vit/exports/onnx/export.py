"""Writes a model as an ONNX file, for onnxruntime, OpenVINO and browsers."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_vit.checkpoints.model_variables import layers_of
from keras_vit.exports.classifier import PixelClassifier
from keras_vit.exports.comparison import (
    ROUGH_TOLERANCE,
    TOLERANCE,
    check_same,
    example_pixels,
    facts,
)
from keras_vit.exports.onnx.around import AROUND, OPERATIONS
from keras_vit.exports.onnx.graph import (
    OPSET,
    QUANTIZATIONS,
    Graph,
    Value,
    as_keras_has_it,
    check_options,
    without_padding,
)
from keras_vit.exports.onnx.operators import OURS
from keras_vit.exports.onnx.runtime import runner
from keras_vit.layers import TokenPooling, TransformerBlock
from keras_vit.models.graph import walk
from keras_vit.utils.checks import check_choice
from keras_vit.utils.files import check_target, replacing

OPERATORS = {**OURS, **AROUND}
# These compute each token by itself, or know which are padding. All else gets the tokens alone.
TAKE_PADDING = (TransformerBlock, keras.layers.LayerNormalization)


def export_onnx(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    class_names: Sequence[str] | None = None,
    image_size: int | tuple[int, int] | None = None,
    input_range: tuple[float, float] | None = None,
    scores: str | None = None,
    resize: str = "squash",
    interpolation: str = "bilinear",
    opset: int = OPSET,
    pad_to_multiple_of: int = 1,
    quantize: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a model as ONNX, with LayerNormalization and Gelu as single operators.

    The input `image` is float32 `[batch, rows, columns, channels]`, as the Keras model takes it,
    with any number of images. The outputs are `output`, what the model returns, and `features`,
    the input of its head; several outputs keep their names. The file computes in float32, whatever
    the dtype policy of the model is, unless it is quantised. The metadata `input_range` (JSON)
    holds the values of black and white.

    Args:
        model: A functional model with one image input: ours, and Keras's simple layers around it.
        path: Ends with `.onnx`.
        class_names: Written into the metadata as `labels`, a JSON list. Default: as in
            `export_saved_model`.
        image_size: Pixels, one number or (rows, columns). Default: the model's.
        input_range: (low, high), the values of black and white for the model. Default: found by
            running the model on grey images.
        scores: As in `export_saved_model`; with `"none"` the file has no labels.
        resize: How photos get the size of the image: as in `export_saved_model`. The metadata say
            it; the file itself takes images that have their size.
        interpolation: How photos are resampled: as in `export_saved_model`. The metadata say it.
        opset: The version of the operators, 17 or later. Before 20 a Gelu is several operators,
            before 21 a group norm.
        pad_to_multiple_of: Blocks compute a multiple of so many tokens; those that are added are
            attended to by none, and the results are the same. 2 is for OpenVINO, whose products of
            a single image are slow for an odd number, as 197 is.
        quantize: `None` for float32, or "dynamic_int8": kernels are int8 with a scale for each
            output. ONNX Runtime and OpenVINO quantise what a dense layer multiplies them by while
            the model runs; convolutions, and other runtimes, compute in float32.
        overwrite: Whether a file at `path` may be replaced.

    Returns:
        `path`.

    Raises:
        ValueError: If the model has a layer that cannot be exported, or takes images of any size
            and `image_size` is missing; or if ONNX Runtime is installed and its result differs
            from the model's.
        FileExistsError: If there is a file and not `overwrite`.
        ImportError: If the package onnx is not installed.
    """
    check_options(opset, pad_to_multiple_of)
    import onnx

    check_choice("quantize", quantize, (None, *QUANTIZATIONS))
    path = check_target(path, ".onnx", overwrite)
    classifier = PixelClassifier(
        model, image_size, class_names, input_range, scores, resize, interpolation
    )
    graph = Graph(opset, quantize is not None, pad_to_multiple_of)
    outputs = build_graph(graph, classifier)
    float32 = onnx.TensorProto.FLOAT
    info = onnx.helper.make_tensor_value_info
    shape = classifier.model.inputs[0].shape[1:]
    opsets = [onnx.helper.make_opsetid("", opset)]
    made = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            model.name,
            [info("image", float32, ["batch", *map(int, shape)])],
            [info(name, float32, ["batch", *shape]) for name, shape in outputs.items()],
            graph.weights,
        ),
        opset_imports=opsets,
        ir_version=onnx.helper.find_min_ir_version_for(opsets),
        producer_name="keras_vit",
    )
    props = facts(classifier)
    if classifier.class_names:
        props["labels"] = classifier.class_names
    onnx.helper.set_model_props(
        made, {k: v if isinstance(v, str) else json.dumps(v) for k, v in props.items()}
    )
    onnx.checker.check_model(made, full_check=True)
    with replacing(path) as temporary:
        onnx.save(made, temporary)
        _check(temporary, classifier, TOLERANCE if quantize is None else ROUGH_TOLERANCE)
    return path


def _check(path: Path, classifier: PixelClassifier, tolerance: float) -> None:
    try:
        run = runner(path)
    except ImportError:  # onnx is enough to write a file
        return
    pixels = example_pixels(classifier)
    check_same(run(pixels), classifier.expected(pixels), "ONNX file", tolerance)


def build_graph(graph: Graph, classifier: PixelClassifier) -> dict[str, list[int]]:
    """Fills the graph of a model and returns its outputs: name -> shape without the batch."""
    model = classifier.model
    graph.last_block = _last_block(model)

    def call(node: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Value]:
        return _emit(graph, node, args, kwargs)

    named = dict(zip(classifier.output_names, classifier.outputs, strict=True))
    # With a head of the user's own the file has the one output that the model has.
    if any(layer.name == "head" for layer in model.layers) and classifier.features is not None:
        named["features"] = classifier.features
    inside: Any = keras.Model(model.inputs[0], list(named.values()))
    values = walk(inside, [Value("image")], call)
    graph.enter("outputs")
    outputs: dict[str, list[int]] = {}
    for (name, tensor), value in zip(named.items(), values, strict=True):
        graph.rename(as_keras_has_it(graph, without_padding(graph, value)), name)
        outputs[name] = [int(n) for n in tensor.shape[1:]]
    return outputs


def _emit(graph: Graph, node: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Value]:
    """The values of the outputs of a layer or an operation."""
    operation = node.operation
    kinds = type(operation).__mro__
    emitter = next((OPERATORS[kind] for kind in kinds if kind in OPERATORS), None)
    if emitter is None and not isinstance(operation, keras.layers.Layer):
        emitter = OPERATIONS.get(type(operation).__name__)
    if emitter is None:
        known = sorted(kind.__name__ for kind in OPERATORS)
        raise ValueError(
            f"The layer {operation.name!r} is a {type(operation).__name__}, which has no ONNX "
            f"operator here. Known: {', '.join(known)}; of operations "
            f"{', '.join(OPERATIONS)}. SavedModel and TFLite take any layer."
        )
    graph.enter(operation.name)
    if not isinstance(operation, keras.layers.Layer):
        args = (*args, *kwargs.values())  # those of a layer are `training=False` and the like
    if not isinstance(operation, TAKE_PADDING):
        args = tuple(without_padding(graph, value) for value in args)
    shapes = [x.shape for x in node.input_tensors]
    emitted = emitter(graph, operation, shapes, *args)
    return emitted if isinstance(emitted, list) else [emitted]


def _last_block(model: keras.Model) -> str | None:
    """The last Transformer block, if all that is used of it is the class token."""
    blocks = layers_of(model, TransformerBlock)
    pooled = [layer.pooling for layer in layers_of(model, TokenPooling)]
    return blocks[-1].name if blocks and pooled == ["token"] and len(model.outputs) == 1 else None
