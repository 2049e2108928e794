"""How the shape of an array in a file differs from that of our variable. A table of pairs.

Each layout reads (the file's array to the variable's) and writes (back again, given the number
of attention heads where the file keeps them apart). Both only reshape or transpose, so values
come through bit for bit, but for the biases of two heads, of which we have the mean.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Layout:
    """A pair of functions.

    Attributes:
        read: The array of a file -> the array of the variable.
        write: The array of the variable and a number of heads -> the array of a file.
    """

    read: Callable[[Any], Any]
    write: Callable[[Any, int], Any]


def _squeezed(array: Any) -> Any:
    """A vector that may be stored with leading ones."""
    if any(n != 1 for n in array.shape[:-1]):
        raise ValueError(f"expected a vector, received the shape {array.shape}")
    return array.reshape(-1)


_SAME = Layout(lambda a: a, lambda a, heads: a)

LAYOUTS: dict[str, Layout] = {
    "same": _SAME,
    # Position embeddings, (1, rows, D): with a row of the class token; without; or either.
    "positions": _SAME,
    "patch_positions": _SAME,
    "any_positions": _SAME,
    "sincos2d": _SAME,  # positions that such files lack, as the code computes them
    # The same as (rows, D), with a row of the class token where there is one.
    "position_rows": Layout(lambda a: a[None], lambda a, heads: a[0]),
    # A class token as (D,).
    "vector": Layout(lambda a: a.reshape(1, 1, -1), lambda a, heads: a.reshape(-1)),
    # Google keeps the heads of the attention apart.
    "to_heads": Layout(
        lambda a: a.reshape(a.shape[0], a.shape[1] * a.shape[2]),
        lambda a, heads: a.reshape(a.shape[0], heads, -1),
    ),
    "heads": Layout(
        lambda a: a.reshape(a.shape[0] * a.shape[1]), lambda a, heads: a.reshape(heads, -1)
    ),
    "from_heads": Layout(
        lambda a: a.reshape(a.shape[0] * a.shape[1], a.shape[2]),
        lambda a, heads: a.reshape(heads, -1, a.shape[-1]),
    ),
    # A GroupNorm is stored with or without leading ones.
    "group_norm": Layout(_squeezed, lambda a, heads: a.reshape(1, 1, 1, -1)),
    "norm": Layout(_squeezed, lambda a, heads: a),
    # A dense layer as a 1x1 convolution.
    "one_by_one": Layout(lambda a: a.reshape(a.shape[2:]), lambda a, heads: a[None, None]),
    # PyTorch has the outputs first: (out, in) and (out, in, rows, columns).
    "transposed": Layout(lambda a: a.T, lambda a, heads: a.T),
    "out_in_rows_columns": Layout(
        lambda a: a.transpose(2, 3, 1, 0), lambda a, heads: a.transpose(3, 2, 0, 1)
    ),
    "out_in_1_1": Layout(
        lambda a: a.reshape(a.shape[:2]).T, lambda a, heads: a.T[:, :, None, None]
    ),
    # Two heads whose outputs are averaged, (2, out, in) and (2, out): one head on both inputs.
    "two_weights": Layout(
        lambda a: a.transpose(0, 2, 1).reshape(-1, a.shape[1]) / 2,
        lambda a, heads: 2 * a.reshape(2, -1, a.shape[1]).transpose(0, 2, 1),
    ),
    "two_biases": Layout(lambda a: a.mean(axis=0), lambda a, heads: np.stack([a, a])),
}

POSITIONS = ("positions", "patch_positions", "any_positions", "position_rows")


def shape_read(layout: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The variable's shape for an array's shape; `None` where the array cannot have that layout."""
    try:
        return LAYOUTS[layout].read(_stand_in(shape)).shape
    except (ValueError, IndexError):
        return None


def shape_written(layout: str, shape: tuple[int, ...], heads: int) -> tuple[int, ...]:
    """The array's shape for a variable's shape."""
    return LAYOUTS[layout].write(_stand_in(shape), heads).shape


def _stand_in(shape: tuple[int, ...]) -> np.ndarray:
    """An array of that shape which takes no memory."""
    return np.broadcast_to(np.float32(0), shape)
