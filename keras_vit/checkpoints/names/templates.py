"""Names with numbers in them: `block_{i}/mlp_norm/beta`, `stages.{b-1}.blocks.{u-1}.conv1`.

A field is `{i}`; `{u:02}` is written with two digits; `{b-1}` counts from zero what we count
from one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

_FIELD = re.compile(r"\{(\w)(-1)?(?::0(\d))?\}")


@functools.cache
def _pattern(template: str) -> tuple[re.Pattern[str], dict[str, int]]:
    """A pattern with a group for each field, and what to add to the number in it."""
    offsets: dict[str, int] = {}
    parts, end = [], 0
    for field in _FIELD.finditer(template):
        parts += [re.escape(template[end : field.start()]), rf"(?P<{field[1]}>\d{{1,9}})"]
        offsets[field[1]] = 1 if field[2] else 0
        end = field.end()
    return re.compile("".join(parts) + re.escape(template[end:]), re.ASCII), offsets


def numbers_in(template: str, name: str) -> dict[str, int] | None:
    """The numbers of a name that has the form of the template, else `None`."""
    pattern, offsets = _pattern(template)
    match = pattern.fullmatch(name)
    if match is None:
        return None
    return {field: int(number) + offsets[field] for field, number in match.groupdict().items()}


def fill(template: str, numbers: Mapping[str, int]) -> str:
    """The name for these numbers."""

    def number(field: re.Match[str]) -> str:
        return str(numbers[field[1]] - (1 if field[2] else 0)).zfill(int(field[3] or 1))

    return _FIELD.sub(number, template)
