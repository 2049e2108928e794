"""One part of a planned model: its costs, and the size of what it passes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from keras_vit.planner.costs import bytes_of


@dataclasses.dataclass(frozen=True)
class Part:
    """A layer, or a block of layers; all numbers are for one image.

    Attributes:
        name: Name of the layer or block.
        parameters: Trainable numbers.
        macs: Multiply-accumulates of the matrix products and convolutions of a forward pass.
        padding_macs: The part of `macs` that multiplies the zeros around an image.
        outputs: Numbers that go on to the next part. A layer always keeps them for the backward
            pass, a block only with rematerialisation.
        kept: Function that returns the bytes that a block keeps without rematerialisation. It
            takes the dtype policy and the number of devices that share the model. `None` for a
            layer.
        gradients: Whether the backward pass of the block is assumed to need as much again.
        divided_parameters: The part of `parameters` that model parallelism divides.
        summed: Numbers that the devices of one model sum up in a forward pass.
        count: How many such parts follow one another.
    """

    name: str
    parameters: int = 0
    macs: int = 0
    padding_macs: int = 0
    outputs: int = 0
    kept: Callable[[str, int], int] | None = None
    gradients: bool = False
    divided_parameters: int = 0
    summed: int = 0
    count: int = 1


def total(parts: Iterable[Part], field: str) -> int:
    """The sum of a field of `Part` over a model."""
    return sum(getattr(part, field) * part.count for part in parts)


@dataclasses.dataclass(frozen=True)
class Grid:
    """The size of an image, or of a feature map."""

    rows: int
    columns: int
    channels: int

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return self.rows * self.columns * self.channels


def dense(name: str, before: int, after: int) -> Part:
    """A dense layer that takes one vector."""
    return Part(name, parameters=(before + 1) * after, macs=before * after, outputs=after)


def kept_numbers(numbers: int) -> Callable[[str, int], int]:
    """`Part.kept` of a block that keeps this many numbers, all in its compute dtype."""
    return lambda precision, model_parallel: numbers * bytes_of(precision)
