"""Walks through the operations of a functional model, those of the models inside it too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras


def functional(operation: Any) -> Any:
    """The graph of a functional model or a built `keras.Sequential`; `None` for all else."""
    if isinstance(operation, keras.Sequential) and operation.built:
        operation = keras.Model(operation.inputs[0], operation.outputs[0], name=operation.name)
    is_graph = isinstance(operation, keras.Model) and hasattr(operation, "_nodes_by_depth")
    return operation if is_graph else None


def nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph in the order in which they run, without its inputs.

    A node is one call: `node.operation` is the layer or the operation. A model inside the graph is
    one node.
    """
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        yield from (node for node in graph._nodes_by_depth[depth] if not node.is_input)


def walk(
    model: Any,
    inputs: Sequence[Any],
    call: Callable[[Any, tuple[Any, ...], dict[str, Any]], Sequence[Any]],
) -> list[Any]:
    """Does something at each operation of a model, in the order in which they run.

    Args:
        model: A functional model. The operations of a model inside it are visited in its place.
        inputs: A value for each input of `model`: a tensor, or whatever `call` works with.
        call: Receives a node of the graph (`node.operation` is the layer or the operation), and
            its arguments with the values in place of the tensors. Returns a value for each
            output of the node.

    Returns:
        A value for each output of `model`.
    """
    values: dict[int, Any] = {
        id(tensor): value for tensor, value in zip(model.inputs, inputs, strict=True)
    }
    for node in nodes(model):
        inner = functional(node.operation)
        if inner is None:
            outputs = call(node, *node.arguments.fill_in(values))
        else:
            outputs = walk(inner, [values[id(x)] for x in node.input_tensors], call)
        values.update(
            (id(tensor), value) for tensor, value in zip(node.outputs, outputs, strict=True)
        )
    return [values[id(tensor)] for tensor in model.outputs]
