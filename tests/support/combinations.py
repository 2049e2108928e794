"""Which combinations of parameters run in `make test`; the others are marked slow."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest


def crossed(*axes: Sequence[Any]) -> list[Any]:
    """Every combination. One with each value of each axis runs always, the others are slow."""
    longest = max(len(axis) for axis in axes)
    always = {tuple(n % len(axis) for axis in axes) for n in range(longest)}
    places = itertools.product(*(range(len(axis)) for axis in axes))
    return [
        pytest.param(
            *(axis[i] for axis, i in zip(axes, place, strict=True)),
            marks=() if place in always else pytest.mark.slow,
        )
        for place in places
    ]


def slow(*values: Any) -> Any:
    """Parameters of a test that `make test` leaves to `make test-slow`."""
    return pytest.param(*values, marks=pytest.mark.slow)
