"""Checks of arguments: the value, or an error that says what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def check_counts(least: int, **counts: Any) -> None:
    """Raises a `ValueError` for what is no integer, or less than `least`."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < least:
            raise ValueError(
                f"`{name}` must be an integer of at least {least}. Received: {name}={count!r}"
            )


def check_rates(**rates: Any) -> None:
    """Raises a `ValueError` for what is no number in [0, 1)."""
    for name, rate in rates.items():
        if not isinstance(rate, (int, float)) or not 0 <= rate < 1:
            raise ValueError(f"`{name}` must be a number in [0, 1). Received: {name}={rate!r}")


def as_pair(size: Any, name: str) -> tuple[int, int]:
    """`224` -> `(224, 224)`; `(192, 256)` stays (rows first, then columns)."""
    pair = (size, size) if isinstance(size, (int, np.integer)) else size
    if (
        not isinstance(pair, (tuple, list))
        or len(pair) != 2
        or not all(isinstance(n, (int, np.integer)) and n > 0 for n in pair)
    ):
        raise ValueError(
            f"`{name}` must be a positive integer or a pair (rows, columns) of positive "
            f"integers. Received: {name}={size!r}"
        )
    return int(pair[0]), int(pair[1])


def check_choice(argument: str, value: Any, choices: Iterable[Any]) -> Any:
    """The value, if it is one of the choices; else the error names those that look like it."""
    choices = tuple(choices)
    if value not in choices:
        raise ValueError(
            f"`{argument}` must be one of {', '.join(map(str, choices))}."
            f"{did_you_mean(value, choices)} Received: {argument}={value!r}"
        )
    return value


def did_you_mean(value: Any, choices: Iterable[Any]) -> str:
    """A sentence with the choices that look like a misspelt value, to put into a message.

    Args:
        value: What was received.
        choices: What is possible.

    Returns:
        `" Did you mean ViT_B16?"`, with more names if they are as near; empty if nothing is near.
    """
    by_lower_case = {str(choice).lower(): str(choice) for choice in choices}
    wrong = str(value).lower()
    near = difflib.get_close_matches(wrong, by_lower_case, n=3)
    likeness = [difflib.SequenceMatcher(None, name, wrong).ratio() for name in near]
    best = [by_lower_case[name] for name, x in zip(near, likeness, strict=True) if x == likeness[0]]
    return f" Did you mean {' or '.join(best)}?" if best else ""


def check_class_names(names: Sequence[str], classes: int) -> list[str]:
    """The names as a list.

    Raises:
        ValueError: If there is not one for each class.
    """
    if isinstance(names, str) or len(names) != classes:
        raise ValueError(
            f"`class_names` must be a list of a name for each of the {classes} outputs of the "
            f"model. Received: {len(names)} names"
        )
    return [str(name) for name in names]


def check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")
