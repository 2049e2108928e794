"""What a row of the tables is: a variable of ours and the array of a file that holds it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class Key:
    """One kind of variable.

    Attributes:
        variable: Our name of it; `{i}` and its like stand for a number (`templates.py`).
        array: The released name of it, or several names, `joined`, whose arrays are stacked.
        layout: How the array's shape differs from the variable's, a key of
            `layouts.LAYOUTS`.
        part: (index, count) where the array holds several variables along its first axis.
        zero_if_absent: Whether a file may lack all such arrays, which are then zero.
        read_only: Whether only older files have it, so that none is written.
    """

    variable: str
    array: str
    layout: str = "same"
    part: tuple[int, int] | None = None
    zero_if_absent: bool = False
    read_only: bool = False


_JOINT = " + "


def joined(arrays: Iterable[str]) -> str:
    """The name under which a table has several arrays that hold one variable together."""
    return _JOINT.join(arrays)


def members(array: str) -> list[str]:
    """The names of arrays that such a name joins; of any other, itself."""
    return array.split(_JOINT)


@dataclasses.dataclass(frozen=True)
class Family:
    """A kind of model.

    Attributes:
        name: For people.
        layer: Name of a layer that every model of the family has, and none of another.
    """

    name: str
    layer: str


VIT = Family("Vision Transformer", "patch_embed")
BIT = Family("BiT ResNet", "root_conv")
MIXER = Family("MLP-Mixer", "stem")
FAMILIES = (VIT, BIT, MIXER)
