"""An ONNX graph under construction: names, weights, nodes."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from keras_vit.utils.backend import ops
from keras_vit.utils.checks import check_counts

# The first with LayerNormalization, Gelu and the corrected GroupNormalization.
OPSET = 21
# The first with LayerNormalization; what came later is put together where it is missing.
OLDEST_OPSET = 17
# What `quantize=` may be: kernels of 8 bits; a runtime finds the scales of what they multiply.
QUANTIZATIONS = ("dynamic_int8",)


def check_options(opset: int = OPSET, pad_to_multiple_of: int = 1) -> None:
    """Refuses options of a file that cannot be, before anything takes long.

    Raises:
        ValueError: If one is out of its range.
        ImportError: If the package onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            'ONNX export needs the package onnx: pip install "keras-vit-applications[onnx]"'
        ) from error
    check_counts(1, pad_to_multiple_of=pad_to_multiple_of)
    newest = onnx.defs.onnx_opset_version()
    if not isinstance(opset, int) or not OLDEST_OPSET <= opset <= newest:
        raise ValueError(
            f"`opset` must be a whole number from {OLDEST_OPSET} to {newest}, the newest of the "
            f"package onnx that is installed. Received: opset={opset!r}"
        )


class Value(NamedTuple):
    """A tensor of the graph.

    Attributes:
        name: In the graph.
        channels_first: Whether an image lies `[B, C, H, W]`, as ONNX's convolutions take it,
            where Keras has `[B, H, W, C]`.
        padding: How many of the last tokens, `[B, N, D]`, are none: nobody attends to them.
    """

    name: str
    channels_first: bool = False
    padding: int = 0


class Graph:
    """Nodes and weights of a graph that is being made.

    Attributes:
        opset: The version of the operators.
        int8: Whether kernels have 8 bits.
        multiple: The blocks have a multiple of so many tokens.
        last_block: Name of the block of which only the class token is wanted, or `None`.
    """

    def __init__(self, opset: int = OPSET, int8: bool = False, multiple: int = 1) -> None:
        self.opset = opset
        self.int8 = int8
        self.multiple = multiple
        self.last_block: str | None = None
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._layer = ""
        self._masks: dict[tuple[int, ...], str] = {}
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
        """Adds a constant, as float32 whatever it is: an offset may be the integer -1."""
        import onnx

        name = self.name(part)
        array = np.ascontiguousarray(np.asarray(value, "float32"))
        self.weights.append(onnx.numpy_helper.from_array(array, name))
        return name

    def mask(self, asking: int, asked: int, padding: int) -> str:
        """What is added to scores `[B, H, asking, asked]`, so that no padding is attended to.

        A constant, once for all blocks. It has a row for each token that asks: OpenVINO 2026.4
        adds a single row wrongly in bfloat16.
        """
        shape = (asking, asked, padding)
        if shape not in self._masks:
            mask = np.zeros((asking, asked))
            mask[:, asked - padding :] = -1e9
            self._masks[shape] = self.weight("mask", mask)
        return self._masks[shape]

    def kernel(self, part: str, value: np.ndarray, axis: int) -> str:
        """Adds what a product or a convolution multiplies by; `axis` is that of its outputs.

        In int8 each output has a scale. A runtime that sees how the numbers are made may multiply
        them as they are; to others they are constants.

        Raises:
            ValueError: If numbers that are not finite would become some of int8.
        """
        if not self.int8:
            return self.weight(part, value)
        import onnx

        others = tuple(i for i in range(value.ndim) if i != axis)
        largest = np.abs(value).max(others, keepdims=True)
        if not np.isfinite(largest).all():
            raise ValueError(
                f"The weights of {self._layer!r} ({part}) must be finite to be quantised. "
                "Received: NaN or infinity among them; load weights from before the training "
                "diverged."
            )
        scale = np.where(largest > 0, largest, 1) / 127
        codes, name = np.rint(value / scale).astype("int8"), self.name(f"{part}/int8")
        self.weights.append(onnx.numpy_helper.from_array(np.ascontiguousarray(codes), name))
        scales = self.weight(f"{part}/scale", scale.reshape(-1))
        return self.op("DequantizeLinear", name, scales, axis=axis)

    def ints(self, *values: int) -> str:
        """A constant vector of integers: a shape, axes. Numbers to compute with are weights."""
        import onnx

        name = self.name("ints")
        self.weights.append(onnx.numpy_helper.from_array(np.array(values, "int64"), name))
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node and returns the name of its output."""
        import onnx

        output = self.name(kind)
        self.nodes.append(onnx.helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def halves(self, x: str) -> list[str]:
        """Both halves of a tensor along its last axis, whose length is even."""
        import onnx

        outputs = [self.name("Split"), self.name("Split")]
        # Since opset 18 the number of outputs must be said; halves are what it was before.
        attributes: dict[str, Any] = {"num_outputs": 2} if self.opset >= 18 else {}
        self.nodes.append(onnx.helper.make_node("Split", [x], outputs, axis=-1, **attributes))
        return outputs

    def rename(self, x: str, name: str) -> None:
        """Gives a tensor another name, that of an output."""
        import onnx

        self.nodes.append(onnx.helper.make_node("Identity", [x], [name]))

    def reduce(self, kind: str, x: str, *axes: int) -> str:
        """ReduceMean or ReduceMax, without the axes."""
        if self.opset >= 18:
            return self.op(kind, x, self.ints(*axes), keepdims=0)
        return self.op(kind, x, axes=list(axes), keepdims=0)


def gelu(graph: Graph, x: str, kind: str) -> str:
    """One operator, from opset 20 on; ONNX has none for the quick GELU."""
    if kind == "quick":  # x sigmoid(1.702 x)
        share = graph.op("Sigmoid", graph.op("Mul", x, graph.weight("slope", 1.702)))
        return graph.op("Mul", x, share)
    if graph.opset >= 20:
        return graph.op("Gelu", x, approximate="tanh" if kind == "tanh" else "none")
    if kind == "tanh":  # 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
        cube = graph.op("Mul", graph.op("Mul", x, x), x)
        inner = graph.op("Add", x, graph.op("Mul", cube, graph.weight("cube", 0.044715)))
        root = graph.weight("root", math.sqrt(2 / math.pi))
        share = graph.op("Tanh", graph.op("Mul", inner, root))
    else:
        share = graph.op("Erf", graph.op("Mul", x, graph.weight("root", math.sqrt(0.5))))
    share = graph.op("Add", share, graph.weight("one", 1.0))
    return graph.op("Mul", graph.op("Mul", x, share), graph.weight("half", 0.5))


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


def without_padding(graph: Graph, tokens: Any) -> Any:
    """The tokens alone, of a value or a list of them; what is none is returned."""
    if isinstance(tokens, list):
        return [without_padding(graph, each) for each in tokens]
    if not isinstance(tokens, Value) or not tokens.padding:
        return tokens
    return Value(token_slice(graph, tokens.name, 0, -tokens.padding))


def token_slice(graph: Graph, x: str, start: int, end: int) -> str:
    """Those of `[B, N, D]` from `start` to `end`, as Python counts."""
    return graph.op("Slice", x, graph.ints(start), graph.ints(end), graph.ints(1))


def as_array(variable: Any) -> np.ndarray:
    """The values of a variable, float32."""
    return np.asarray(ops.convert_to_numpy(variable)).astype("float32")


def dense_product(graph: Graph, x: str, layer: Any, name: str, scale: Any = None) -> str:
    """`x W + b`; `scale` multiplies the outputs, and goes into the weights.

    The kernel of a convolution, `[p, p, in, out]`, is that of a dense layer of whole patches.
    """
    kernel, bias = as_array(layer.kernel), layer.bias
    kernel = kernel.reshape(-1, kernel.shape[-1])
    bias = np.zeros(kernel.shape[1], "float32") if bias is None else as_array(bias)
    if scale is not None:
        kernel, bias = kernel * scale, bias * scale
    product = graph.op("MatMul", x, graph.kernel(f"{name}/kernel", kernel, axis=1))
    return graph.op("Add", product, graph.weight(f"{name}/bias", bias))
