"""Checks of arguments: the value is right, or an error says what was expected."""

from __future__ import annotations

import difflib
import math
import operator
import reprlib
from collections.abc import Collection, Iterable, Sequence
from numbers import Integral, Real
from typing import Any


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def check_counts(least: int, **counts: Any) -> None:
    """Checks integers, of Python or NumPy.

    Args:
        least: The smallest that is allowed.
        **counts: The value of each argument, by its name.

    Raises:
        ValueError: If one is not an integer, or is below `least`.
    """
    kind = "a positive integer" if least == 1 else f"an integer of at least {least}"
    for name, count in counts.items():
        if not _is_count(count, least):
            raise ValueError(f"`{name}` must be {kind}. Received: {name}={count!r}")


def check_numbers(interval: str, **numbers: Any) -> None:
    """Checks real numbers.

    Args:
        interval: As in mathematics: `"[0, 1)"` includes 0 but not 1; `"(0, inf)"` means positive
            and finite.
        **numbers: The value of each argument, by its name.

    Raises:
        ValueError: If one is not a number, or lies outside the interval.
    """
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = operator.gt if interval[0] == "(" else operator.ge
    below = operator.lt if interval[-1] == ")" else operator.le
    kind = "a positive number" if interval == "(0, inf)" else f"a number in {interval}"
    for name, number in numbers.items():
        is_number = isinstance(number, Real) and not isinstance(number, bool)
        if not is_number or not (above(number, low) and below(number, high)):
            raise ValueError(f"`{name}` must be {kind}. Received: {name}={number!r}")


def check_choice(argument: str, value: Any, choices: Iterable[Any], hint: str = "") -> Any:
    """The value, if it is one of the choices.

    Args:
        argument: The name of the argument.
        value: What was received.
        choices: The values that are allowed.
        hint: A sentence that says why others are not allowed.

    Raises:
        ValueError: If it is not among the choices; the error names those that are similar.
    """
    choices = list(choices)
    if value not in choices:
        raise ValueError(
            f"`{argument}` must be one of {', '.join(map(str, choices))}."
            f"{hint and f' {hint}'}{did_you_mean(value, choices)} Received: {argument}={value!r}"
        )
    return value


def as_pair(size: Any, name: str) -> tuple[int, int]:
    """`224` -> `(224, 224)`; `(192, 256)` stays (rows first, then columns).

    Raises:
        ValueError: If it is neither a positive integer nor two of them.
    """
    pair = (size, size) if isinstance(size, Integral) else size
    if (
        not isinstance(pair, (tuple, list))
        or len(pair) != 2
        or not all(_is_count(side, 1) for side in pair)
    ):
        raise ValueError(
            f"`{name}` must be a positive integer or a pair (rows, columns) of positive "
            f"integers. Received: {name}={size!r}"
        )
    return int(pair[0]), int(pair[1])


def as_shares(shares: Any, name: str) -> tuple[float, float]:
    """The least and the largest share of an image's area.

    Raises:
        ValueError: If they are not two numbers with 0 < least <= largest <= 1.
    """
    try:
        least, largest = (float(share) for share in shares)
    except (TypeError, ValueError):
        least, largest = 0.0, 0.0
    if not 0 < least <= largest <= 1:
        raise ValueError(
            f"`{name}` must be a pair (least, largest) of shares of the image's area, with "
            f"0 < least <= largest <= 1. Received: {name}={shares!r}"
        )
    return least, largest


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
        ValueError: If there is not exactly one for each class.
    """
    if isinstance(names, str) or len(names) != classes:
        raise ValueError(
            f"`class_names` must be a list of a name for each of the {classes} outputs of the "
            f"model. Received: {len(names)} names"
        )
    return [str(name) for name in names]


# What people call the kinds of values in JSON.
_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a finite number",
    Real: "a number",
}


def check_kinds(where: str, content: Any, kinds: Any) -> None:
    """Checks what was read from a JSON file.

        check_kinds("summary.json", content, {"steps": int, "data": {"resize": str}})

    Args:
        where: What the content is called in a message.
        content: What was read.
        kinds: `float` for a finite number, `Real` for any, `int`, `str`, `bool`, `list`, `dict`; a
            dictionary for an object with at least these entries; `{str: kind}` and `[kind]` for an
            object and a list that hold nothing else.

    Raises:
        ValueError: If something is missing or of another kind.
    """
    kind: Any = type(kinds) if isinstance(kinds, (dict, list)) else kinds
    is_number = kind in (int, float)
    fits = isinstance(content, Real if kind is float else kind)
    # In JSON there is NaN; in Python a bool is an int.
    if not fits or (is_number and (isinstance(content, bool) or not abs(content) < math.inf)):
        raise ValueError(f"{where} must be {_KINDS[kind]}. Received: {reprlib.repr(content)}")
    inside: dict[Any, Any] = {}
    if isinstance(kinds, list):
        inside = dict.fromkeys(range(len(content)), kinds[0])
    elif isinstance(kinds, dict):
        inside = dict.fromkeys(content, kinds[str]) if str in kinds else kinds
        missing = [key for key in inside if key not in content]
        if missing:
            raise ValueError(f"{where} must have {missing[0]!r}. Received: {reprlib.repr(content)}")
    for key, of_key in inside.items():
        check_kinds(f"{key!r} in {where}", content[key], of_key)


def differences(wanted: dict[str, Any], found: dict[str, Any], free: Collection[str] = ()) -> str:
    """In what the settings of two runs differ, to put into a message; empty if in nothing.

    Args:
        wanted: Those of this run.
        found: Those of the run that was there before.
        free: Names of settings that may differ.
    """
    here, there = _flat(wanted), _flat(found)
    return "; ".join(
        f"{name}: {there.get(name)!r} there, {here.get(name)!r} here"
        for name in sorted(here.keys() | there.keys())
        if here.get(name) != there.get(name) and name.rpartition(".")[2] not in free
    )


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Without dictionaries inside: `settings.batch_size`."""
    flat = {}
    for key, value in content.items():
        inside = isinstance(value, dict) and value
        flat |= _flat(value, f"{prefix}{key}.") if inside else {f"{prefix}{key}": value}
    return flat
