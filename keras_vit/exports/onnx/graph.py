"""An ONNX graph under construction: names, weights, nodes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

# The first with LayerNormalization, Gelu and the corrected GroupNormalization.
OPSET = 21


class Value(NamedTuple):
    """A tensor of the graph.

    Attributes:
        name: In the graph.
        channels_first: Whether an image lies `[B, C, H, W]`, as ONNX's convolutions take it,
            where Keras has `[B, H, W, C]`.
    """

    name: str
    channels_first: bool = False


class Graph:
    """Nodes and weights of a graph that is being made.

    Attributes:
        last_block: Name of the block of which only the class token is wanted, or `None`.
    """

    def __init__(self) -> None:
        self.last_block: str | None = None
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._layer = ""
        self._names: set[str] = set()

    def enter(self, layer: str) -> None:
        """Names what follows after a layer."""
        self._layer = layer

    def name(self, part: str) -> str:
        """A name that is not taken."""
        base = name = f"{self._layer}/{part}"
        count = 1
        while name in self._names:
            count += 1
            name = f"{base}_{count}"
        self._names.add(name)
        return name

    def weight(self, part: str, value: Any) -> str:
        """Adds a constant; float ones as float32."""
        import onnx

        array = np.asarray(value)
        if array.dtype != np.int64:
            array = array.astype("float32")
        name = self.name(part)
        self.weights.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node and returns the name of its output."""
        import onnx

        output = self.name(kind)
        self.nodes.append(onnx.helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def rename(self, x: str, name: str) -> None:
        """Gives a tensor another name, that of an output."""
        import onnx

        self.nodes.append(onnx.helper.make_node("Identity", [x], [name]))

    def ints(self, *values: int) -> str:
        """A constant vector of integers."""
        return self.weight("ints", np.array(values, "int64"))


def channels_first(graph: Graph, value: Value) -> str:
    """An image as `[B, C, H, W]`."""
    if value.channels_first:
        return value.name
    return graph.op("Transpose", value.name, perm=[0, 3, 1, 2])


def as_keras_has_it(graph: Graph, value: Value) -> str:
    """An image as `[B, H, W, C]`; other tensors are the same."""
    if not value.channels_first:
        return value.name
    return graph.op("Transpose", value.name, perm=[0, 2, 3, 1])
