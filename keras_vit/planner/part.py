"""One part of a planned model: its costs, and the size of what it passes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from keras_vit.planner.costs import bytes_of


@dataclasses.dataclass(frozen=True)
class Part:
    """A layer, or a block of layers; all numbers are for one image.

    Attributes:
        name: What it is.
        parameters: Trainable numbers.
        macs: Multiply-accumulates of the matrix products and convolutions of a forward pass.
        padding_macs: Of `macs`, those with the zeros around an image.
        outputs: Numbers that go on to the next part. Kept for the backward pass: of a layer
            always, of a block with rematerialisation.
        kept: Of a block, the bytes that it keeps without rematerialisation, a function of the
            dtype policy and the devices that share the model; `None` for a layer.
        gradients: Whether the backward pass of the block is taken to need as much again.
        divided_parameters: Of `parameters`, those that model parallelism divides.
        summed: Numbers that the devices which share a model sum up in a forward pass.
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
        """Numbers in it."""
        return self.rows * self.columns * self.channels


def dense(name: str, before: int, after: int) -> Part:
    """A dense layer on one vector."""
    return Part(name, parameters=(before + 1) * after, macs=before * after, outputs=after)


def kept_numbers(numbers: int) -> Callable[[str, int], int]:
    """`Part.kept` of a block that keeps so many numbers, all in the dtype it computes in."""
    return lambda precision, model_parallel: numbers * bytes_of(precision)
