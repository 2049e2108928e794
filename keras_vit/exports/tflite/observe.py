"""Records what enters and leaves the layers of a TFLite file on real photos."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_vit.exports.tflite.flatbuffer import read
from keras_vit.exports.tflite.runtime import litert
from keras_vit.utils.progress import Progress

# Below this a GELU is zero, to within a step of 8 bits: the inputs of one may be cut off there.
LOWEST_GELU_INPUT = -4.0


@dataclasses.dataclass(frozen=True)
class Layer:
    """A dense or convolution layer of a file.

    Attributes:
        position: Among those of its signature: the same layer in all signatures.
        operation: `"FULLY_CONNECTED"` or `"CONV_2D"`.
        scope: What the quantizer calls it.
        input: Name of its input.
        output: Name of its output.
        rank: Axes of both.
        weight_shape: The input channels last.
        weights: Index of their buffer.
        before_gelu: Whether its output goes into a GELU and nowhere else.
        indices: Of the input and the output, in the file.
    """

    position: int
    operation: str
    scope: str
    input: str
    output: str
    rank: int
    weight_shape: tuple[int, ...]
    weights: int
    before_gelu: bool
    indices: tuple[int, int]


@dataclasses.dataclass
class Observed:
    """What was seen of a layer.

    Attributes:
        input: Lowest and highest value.
        output: Likewise.
        noise: The mean square error that 8 bits for these ranges make of the input and of the
            output, as shares of the mean squares of the values.
        products: The mean of `x x'` over the input's rows, `[in, in]`; `None` for convolutions.
    """

    input: tuple[float, float]
    output: tuple[float, float]
    noise: tuple[float, float]
    products: np.ndarray | None = None


def layers_of_file(flatbuffer: bytes) -> list[Layer]:
    """The layers of all signatures."""
    schema = litert("schema_py_generated")
    model = read(flatbuffer)
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
    names = {
        schema.BuiltinOperator.FULLY_CONNECTED: "FULLY_CONNECTED",
        schema.BuiltinOperator.CONV_2D: "CONV_2D",
    }
    found = []
    for graph in model.subgraphs:
        readers: dict[int, list[int]] = {}
        for operator in graph.operators:
            for tensor in operator.inputs:
                readers.setdefault(int(tensor), []).append(codes[operator.opcodeIndex])
        position = 0
        for operator in graph.operators:
            operation = names.get(codes[operator.opcodeIndex])
            if operation is None:
                continue
            first, weights, output = operator.inputs[0], operator.inputs[1], operator.outputs[0]
            name = graph.tensors[output].name.decode()
            found.append(
                Layer(
                    position,
                    operation,
                    f"{name};",
                    graph.tensors[first].name.decode(),
                    name,
                    len(graph.tensors[output].shape),
                    tuple(map(int, graph.tensors[weights].shape)),
                    int(graph.tensors[weights].buffer),
                    readers.get(int(output)) == [schema.BuiltinOperator.GELU],
                    (int(first), int(output)),
                )
            )
            position += 1
    return found


def observe(
    flatbuffer: bytes, images: Sequence[np.ndarray], progress: bool = False
) -> list[Observed]:
    """Runs the first signature of a file.

    Args:
        flatbuffer: In float32.
        images: Its inputs.
        progress: Whether to show a bar.

    Returns:
        By the positions of the layers.
    """

    module = litert("interpreter")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the memory that keeping all takes
        made = module.Interpreter(
            model_content=flatbuffer,
            experimental_preserve_all_tensors=True,
            # XNNPACK would keep what is between its operations to itself.
            experimental_op_resolver_type=module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            num_threads=2,
        )
    made.allocate_tensors()
    (detail,) = made.get_input_details()
    layers = layers_of_file(flatbuffer)
    layers = layers[: max(layer.position for layer in layers) + 1]
    # A norm is read by three layers: once is enough.
    tensors = {index: _Statistics() for layer in layers for index in layer.indices}
    for layer in layers:
        tensors[layer.indices[0]].products |= layer.operation == "FULLY_CONNECTED"
        if layer.before_gelu:
            tensors[layer.indices[1]].lowest = LOWEST_GELU_INPUT
    with Progress(len(images), 1, int(progress), unit="photo") as bar:
        for i, image in enumerate(images, start=1):
            made.set_tensor(detail["index"], image)
            made.invoke()
            for index, statistics in tensors.items():
                statistics.add(made.get_tensor(index))
            bar.show(i)
    seen = [(tensors[layer.indices[0]], tensors[layer.indices[1]]) for layer in layers]
    return [Observed(a.range, b.range, (a.noise, b.noise), a.mean_products) for a, b in seen]


class _Statistics:
    """Of a tensor: its ends, its mean square, the mean of its rows' products."""

    def __init__(self) -> None:
        self.lowest = -np.inf
        self.products = False
        self._low = self._high = 0.0  # zero is always among the numbers that have a code
        self._squares = 0.0
        self._count = self._rows = 0
        self._sum: Any = 0.0

    def add(self, values: np.ndarray) -> None:
        values = np.maximum(values, self.lowest)
        self._low = min(self._low, float(values.min()))
        self._high = max(self._high, float(values.max()))
        self._squares += float(np.square(values, dtype="float64").sum())
        self._count += values.size
        if self.products:
            rows = values.reshape(-1, values.shape[-1])
            self._sum = self._sum + rows.T @ rows
            self._rows += len(rows)

    @property
    def range(self) -> tuple[float, float]:
        return self._low, self._high

    @property
    def noise(self) -> float:
        step = (self._high - self._low) / 255
        # The error of rounding is spread evenly over a step.
        return step**2 / 12 / max(self._squares / self._count, 1e-30)

    @property
    def mean_products(self) -> np.ndarray | None:
        return self._sum / self._rows if self.products else None
