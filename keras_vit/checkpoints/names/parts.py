"""Rows that the tables of PyTorch's libraries share: a dense layer, a norm, fused projections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from keras_vit.checkpoints.names.keys import Key

CONV = "out_in_rows_columns"


def weight_and_bias(
    variable: str, array: str, layout: str = "transposed", **options: Any
) -> Iterator[Key]:
    """A dense layer, or a convolution."""
    yield Key(f"{variable}/kernel", f"{array}.weight", layout, **options)
    yield Key(f"{variable}/bias", f"{array}.bias", "same", **options)


def norm(variable: str, array: str) -> Iterator[Key]:
    """A layer norm, or a group norm."""
    yield Key(f"{variable}/gamma", f"{array}.weight")
    yield Key(f"{variable}/beta", f"{array}.bias")


def fused(
    variable: str,
    array: str,
    names: Sequence[str] = ("query", "key", "value"),
    between: str = ".",
) -> Iterator[Key]:
    """Projections below each other in one array; some models have no bias."""
    for number, name in enumerate(names):
        part = (number, len(names))
        yield Key(f"{variable}/{name}/kernel", f"{array}{between}weight", "transposed", part)
        yield Key(
            f"{variable}/{name}/bias", f"{array}{between}bias", "same", part, zero_if_absent=True
        )
