"""Compares an input with the signature and the limits before it takes memory.

A few bytes can become a large array: a shape of 10^9 with a single value, thousands of empty
image files, each of which becomes an image of zeros, or a small file of a huge image.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf
from PIL import Image

from keras_vit.serving.limits import Limits, RequestError

# Bytes that a string takes in memory, however short it is.
_STRING_BYTES = 64
# The formats that the graph of an export decodes.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")


def check_shape(name: str, sides: Sequence[int], info: Any, limits: Limits) -> None:
    """Raises a `RequestError` unless an array of this shape fits the signature and the limits.

    Args:
        name: Name of the input.
        sides: The shape of the array, or the shape that the request states.
        info: The `TensorInfo` of the signature.
        limits: Limits of a request.
    """
    wanted = [side.size for side in info.tensor_shape.dim]  # -1 is any
    known = not info.tensor_shape.unknown_rank
    fits = all(want in (-1, side) for want, side in zip(wanted, sides, strict=False))
    if known and not (fits and len(sides) == len(wanted)):
        expected = ", ".join("any" if want == -1 else str(want) for want in wanted)
        raise RequestError(
            "INVALID_ARGUMENT",
            f"The input {name!r} must have the shape [{expected}]. Received: {list(sides)}",
        )
    if any(side < 0 for side in sides):
        raise RequestError(
            "INVALID_ARGUMENT",
            f"The shape of the input {name!r} must be known. Received: {list(sides)}",
        )
    if sides and sides[0] > limits.images:
        raise _too_much(f"{limits.images} images", f"{sides[0]} in {name!r}", "images")
    dtype = tf.dtypes.as_dtype(info.dtype)
    size = math.prod(sides) * (_STRING_BYTES if dtype == tf.string else dtype.size)
    if size > limits.body_bytes:
        raise _too_much(f"{limits.body_bytes} bytes", f"{size} for {name!r}", "body_bytes")


def check_pixels(files: Iterable[Any], limits: Limits) -> None:
    """Raises a `RequestError` if image files hold too many pixels, however small the files are.

    Args:
        files: The strings of an input, bytes or text. The model checks those that are not images.
        limits: Limits of a request.
    """
    pixels = sum(_pixels_of(file) for file in files if isinstance(file, bytes))
    if pixels > limits.pixels:
        raise _too_much(f"{limits.pixels} pixels in its image files", str(pixels), "pixels")


def _pixels_of(file: bytes) -> int:
    """Rows times columns from the header of an image file; 0 if it cannot be read."""
    try:
        with Image.open(io.BytesIO(file), formats=_FORMATS) as image:
            return image.width * image.height
    except Exception:  # the model says what is wrong with the file, and decodes no huge one
        return 0


def _too_much(most: str, received: str, limit: str) -> RequestError:
    return RequestError(
        "RESOURCE_EXHAUSTED",
        f"A request has at most {most}. Received: {received}. Send several requests, or start the "
        f"server with a higher --{limit.replace('_', '-')}.",
    )
