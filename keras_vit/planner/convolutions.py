"""The parts of the ResNets: BiT, and the stem of the hybrids.

A bottleneck unit is a block: with rematerialisation only its output is kept.
"""

from __future__ import annotations

import dataclasses

from keras_vit.models import BiTConfig, ResNetStem
from keras_vit.planner.part import Grid, Part, kept_numbers


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A convolution without bias: its output and what it costs."""

    output: Grid
    parameters: int
    macs: int
    padding_macs: int


def stem_parts(stem: ResNetStem, image: Grid) -> tuple[list[Part], Grid]:
    """The stem of a hybrid (`models/resnet_stem.py`) and its output, a feature map."""
    filters = int(64 * stem.width_factor)
    root = convolve(image, filters, 7, 2, same=True)
    pooled = _halved(root.output)
    # Convolution, norm and ReLU, then the pooling.
    result = [_part("stem_root", [root], norms=filters, outputs=3 * root.output.size + pooled.size)]
    x = pooled
    for block, size in enumerate(stem.block_sizes):
        for unit, count in ((0, 1), (1, size - 1)):
            strides = 2 if block > 0 and unit == 0 else 1
            part, x = _stem_unit(x, filters * 2**block, strides, f"stem_block{block + 1}")
            result.append(dataclasses.replace(part, count=count))
    return result, x


def _stem_unit(x: Grid, filters: int, strides: int, name: str) -> tuple[Part, Grid]:
    """A norm after each convolution, a ReLU after two of three; a sum and a ReLU at the end."""
    first = convolve(x, filters, 1, 1)
    second = convolve(first.output, filters, 3, strides, same=True)
    third = convolve(second.output, 4 * filters, 1, 1)
    convolutions, result = [first, second, third], third.output
    kept = 3 * first.output.size + 3 * second.output.size + 3 * result.size
    norms = 6 * filters
    if x.channels != 4 * filters or strides != 1:
        convolutions.append(convolve(x, 4 * filters, 1, strides))
        kept += 2 * result.size
        norms += 4 * filters
    part = _part(name, convolutions, norms=norms, outputs=result.size, kept=kept + result.size)
    return part, result


def bit_parts(config: BiTConfig, image: Grid) -> tuple[list[Part], int]:
    """BiT (`models/bit.py`) up to the pooled features, and their number."""
    filters = int(64 * config.width_factor)
    root = convolve(image, filters, 7, 2)
    x = _halved(root.output)
    kept = _padded(image, 3) + root.output.size + _padded(root.output, 1) + x.size
    result = [_part("root", [root], norms=0, outputs=kept)]
    for block, size in enumerate(config.block_sizes):
        for unit, count in ((0, 1), (1, size - 1)):
            strides = 2 if block > 0 and unit == 0 else 1
            part, x = _bit_unit(x, filters * 2**block, strides, unit == 0, f"block{block + 1}")
            result.append(dataclasses.replace(part, count=count))
    result.append(Part("norm", parameters=2 * x.channels, outputs=2 * x.size))  # and a ReLU
    return [*result, Part("pooling", outputs=x.channels)], x.channels


def _bit_unit(
    x: Grid, filters: int, strides: int, projection: bool, name: str
) -> tuple[Part, Grid]:
    """A norm and a ReLU before each convolution, the middle one padded; a sum at the end."""
    first = convolve(x, filters, 1, 1)
    second = convolve(first.output, filters, 3, strides)
    third = convolve(second.output, 4 * filters, 1, 1)
    convolutions, result = [first, second, third], third.output
    if projection:
        convolutions.append(convolve(x, 4 * filters, 1, strides))
    kept = 2 * (x.size + first.output.size + second.output.size) + _padded(first.output, 1)
    kept += sum(convolution.output.size for convolution in convolutions)
    norms = x.channels + 2 * filters
    part = _part(name, convolutions, norms=norms, outputs=result.size, kept=kept + result.size)
    return part, result


def _part(
    name: str, convolutions: list[Convolution], *, norms: int, outputs: int, kept: int = 0
) -> Part:
    """A part of several convolutions, and of norms with `norms` channels in all."""
    return Part(
        name,
        parameters=sum(each.parameters for each in convolutions) + 2 * norms,
        macs=sum(each.macs for each in convolutions),
        padding_macs=sum(each.padding_macs for each in convolutions),
        outputs=outputs,
        kept=kept_numbers(kept) if kept else None,
    )


def convolve(x: Grid, filters: int, kernel: int, strides: int, same: bool = False) -> Convolution:
    """A convolution with a square kernel; pads evenly, or with `same` as TensorFlow's SAME."""
    output = Grid(-(-x.rows // strides), -(-x.columns // strides), filters)
    channels = x.channels * filters
    macs = output.rows * output.columns * kernel**2 * channels
    rows = _taps(x.rows, kernel, strides, same)
    return Convolution(
        output,
        parameters=kernel**2 * channels,
        macs=macs,
        padding_macs=macs - rows * _taps(x.columns, kernel, strides, same) * channels,
    )


def _taps(size: int, kernel: int, strides: int, same: bool) -> int:
    """Entries of the kernel that lie on the image, over all its positions along one side."""
    positions = -(-size // strides)
    before = max((positions - 1) * strides + kernel - size, 0) // 2 if same else kernel // 2
    starts = range(-before, positions * strides - before, strides)
    return sum(min(start + kernel, size) - max(start, 0) for start in starts)


def _halved(x: Grid) -> Grid:
    return Grid(-(-x.rows // 2), -(-x.columns // 2), x.channels)


def _padded(x: Grid, by: int) -> int:
    return (x.rows + 2 * by) * (x.columns + 2 * by) * x.channels
