"""Checks of arguments: the edges of what is allowed, and what the error says."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np
import pytest

from keras_vit.utils.checks import (
    as_pair,
    as_shares,
    check_choice,
    check_class_names,
    check_counts,
    check_kinds,
    check_numbers,
)


@pytest.mark.parametrize("count", [2, 10**9, np.int64(2), np.uint8(200)])
def test_counts(count):
    check_counts(2, depth=count)


@pytest.mark.parametrize("count", [1, -3, 2.0, "2", None, True, np.int64(1), np.float32(3), [2]])
def test_what_is_no_count(count):
    with pytest.raises(ValueError, match=r"`depth` must be an integer of at least 2\. Received: "):
        check_counts(2, width=7, depth=count)
    with pytest.raises(ValueError, match=r"`depth` must be a positive integer\. Received: depth=0"):
        check_counts(1, depth=0)


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("[0, 1)", [0, 0.5, np.float32(0.25), 0.999], [-1e-9, 1, 1.0, math.nan, math.inf]),
        ("(0, 1]", [1e-9, 1, np.int64(1)], [0, 0.0, 1.001]),
        ("(0, inf)", [1e-300, 10**9], [0, -1, math.inf, math.nan]),
        ("[0, 30]", [0, 30, 12.5], [-0.1, 30.1]),
    ],
)
def test_numbers(interval, inside, outside):
    for number in inside:
        check_numbers(interval, rate=number)
    for number in (*outside, "0.5", None, True, [0.5]):
        with pytest.raises(ValueError, match="`rate` must be a ") as error:
            check_numbers(interval, share=inside[0], rate=number)
        expected = "positive number" if interval == "(0, inf)" else f"number in {interval}"
        assert str(error.value).endswith(f"a {expected}. Received: rate={number!r}")


def test_choices():
    assert check_choice("resize", "crop", ("squash", "crop")) == "crop"
    assert check_choice("pooling", None, iter((None, "avg"))) is None
    for value in ("cut", None, ["crop"]):
        with pytest.raises(ValueError, match="`resize` must be one of squash, crop") as error:
            check_choice("resize", value, {"squash": 1, "crop": 2})
        assert str(error.value).endswith(f"Received: resize={value!r}")


def test_pairs():
    assert as_pair(224, "image_size") == (224, 224)
    assert as_pair([192, np.int32(256)], "image_size") == (192, 256)
    for size in (0, -1, 2.5, True, None, "224", (224,), (224, 0), (224, True), (1, 2, 3)):
        with pytest.raises(ValueError, match="`image_size` must be a positive integer or a pair"):
            as_pair(size, "image_size")


def test_shares():
    assert as_shares([0.05, 1], "crop_area") == (0.05, 1.0)
    for shares in ((0, 1), (0.6, 0.5), (0.5, 1.1), (0.5,), 0.5, None, ("a", 1), (math.nan, 1)):
        with pytest.raises(ValueError, match="`crop_area` must be a pair"):
            as_shares(shares, "crop_area")


def test_class_names():
    assert check_class_names(("cat", "dog"), 2) == ["cat", "dog"]
    for names in (["cat"], "no", ["a", "b", "c"]):
        with pytest.raises(ValueError, match="a name for each of the 2 outputs"):
            check_class_names(names, 2)


KINDS = {"n": int, "x": float, "s": str, "in": {"l": [int], "m": {str: Real}, "b": bool}}
FITS = {"n": 1, "x": 2, "s": "", "in": {"l": [], "m": {"a": math.inf}, "b": True, "more": None}}


def test_kinds():
    check_kinds("it", FITS, KINDS)
    check_kinds("it", FITS | {"n": 10**400, "x": -1.5, "in": FITS["in"] | {"l": [1, 2]}}, KINDS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"^it must be an object\. Received: \[\]"),
        ({}, "^it must have 'n'"),
        (FITS | {"n": True}, "^'n' in it must be an integer. Received: True"),
        (FITS | {"n": 1.0}, "^'n' in it must be an integer"),
        (FITS | {"x": math.nan}, "^'x' in it must be a finite number. Received: nan"),
        (FITS | {"x": math.inf}, "^'x' in it must be a finite number"),
        (FITS | {"x": "1"}, "^'x' in it must be a finite number"),
        (FITS | {"s": "x" * 10**6, "in": None}, "^'in' in it must be an object. Received: None"),
        (
            FITS | {"in": FITS["in"] | {"l": [1, "x" * 999]}},
            "^1 in 'l' in 'in' in it must be an int",
        ),
        (FITS | {"in": FITS["in"] | {"m": {"a": 1, "b": []}}}, "^'b' in 'm' in 'in' in it must be"),
        (FITS | {"in": FITS["in"] | {"b": 1}}, "^'b' in 'in' in it must be true or false"),
    ],
)
def test_what_is_of_another_kind(content, message):
    with pytest.raises(ValueError, match=message) as error:
        check_kinds("it", content, KINDS)
    assert len(str(error.value)) < 200
