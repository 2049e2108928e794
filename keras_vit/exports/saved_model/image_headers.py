"""Reads the first bytes of an image file inside a TensorFlow graph.

TensorFlow's decoders ignore the EXIF orientation, and they raise where a server must go on: so
the kind, the size and the orientation are read from the bytes here, with operations that cannot
fail on any input. Numbers are int64; what lies behind the end of a file reads as zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

# Rows of the tables below; `UNKNOWN` comes first. The kinds of WebP come last.
UNKNOWN, JPEG, PNG, GIF, BMP, WEBP, WEBP_EXTENDED, WEBP_LOSSLESS = range(8)

# What each kind begins with: where and what.
_MAGIC = (
    (JPEG, 0, b"\xff\xd8\xff"),
    (PNG, 0, b"\x89PNG\r\n\x1a\n"),
    (GIF, 0, b"GIF8"),
    (BMP, 0, b"BM"),
    (WEBP, 8, b"WEBP"),
    (WEBP_EXTENDED, 8, b"WEBPVP8X"),
    (WEBP_LOSSLESS, 8, b"WEBPVP8L"),
)

# Where each kind has its two sides. A side is `number // divisor % modulus + added`, and the
# number is the 4 bytes at a place. A JPEG is read otherwise.
_SIDES = {
    UNKNOWN: ((0, 1, 1, 0), (0, 1, 1, 0)),  # (place, divisor, modulus, added)
    JPEG: ((0, 1, 1, 0), (0, 1, 1, 0)),
    PNG: ((16, 1, 2**32, 0), (20, 1, 2**32, 0)),
    GIF: ((6, 1, 2**16, 0), (8, 1, 2**16, 0)),
    BMP: ((18, 1, 2**32, 0), (22, 1, 2**32, 0)),
    WEBP: ((26, 1, 2**14, 0), (28, 1, 2**14, 0)),
    WEBP_EXTENDED: ((24, 1, 2**24, 1), (27, 1, 2**24, 1)),
    WEBP_LOSSLESS: ((21, 1, 2**14, 1), (21, 2**14, 2**14, 1)),
}
_SIDES_BEFORE = 32

# Metadata stands near the beginning of a file. A file of thousands of tiny chunks would
# otherwise keep the server busy.
_MAX_CHUNKS = 64
_MAX_TAGS = 256
_EXIF_BEFORE = 2**18
_ORIENTATION_TAG = 0x0112


def kind_of(data: Any) -> Any:
    """The kind of an image file: a scalar string to an int32 of the constants above."""
    # Longer than any of them, since `substr` raises behind the end.
    head = tf.strings.join([tf.strings.substr(data, 0, 16), bytes(16)])
    kind = tf.constant(UNKNOWN)
    for number, start, magic in _MAGIC:
        kind = tf.where(tf.strings.substr(head, start, len(magic)) == magic, number, kind)
    return kind


class Numbers:
    """The bytes of a file as unsigned integers.

    Args:
        data: Scalar string.
    """

    def __init__(self, data: Any):
        self.size = tf.cast(tf.strings.length(data), tf.int64)
        # Places behind the end are read as the one that follows it.
        self._bytes = tf.io.decode_raw(tf.strings.join([data, bytes(1)]), tf.uint8)

    def read(self, start: Any, width: int, little: Any = False) -> Any:
        """Integers of `width` bytes at `start`, int64 of any shape from 0, in either byte order."""
        places = tf.expand_dims(tf.cast(start, tf.int64), -1) + np.arange(width)
        places = tf.minimum(places, self.size)
        values = tf.cast(tf.gather(self._bytes, places), tf.int64)
        worth = 256 ** np.arange(width)
        return tf.reduce_sum(values * tf.where(little, worth, worth[::-1]), axis=-1)


def pixels_of(data: Any, kind: Any) -> Any:
    """Rows times columns that the header promises, int64; zero for an unknown kind.

    Raises (in the graph): `InvalidArgumentError` for a JPEG without a size.
    """
    sides = tf.gather(tf.constant(list(_SIDES.values()), tf.int64), kind)
    place, divisor, modulus, added = tf.unstack(sides, axis=1)
    head = Numbers(tf.strings.substr(data, 0, _SIDES_BEFORE))
    number = head.read(place, 4, kind != PNG)
    # A BMP that is stored from the top has a negative height.
    number = tf.where((kind == BMP) & (number >= 2**31), 2**32 - number, number)
    sides = number // divisor % modulus + added
    return tf.cond(
        kind == JPEG,
        lambda: tf.reduce_prod(tf.image.extract_jpeg_shape(data, tf.int64)[:2]),
        lambda: tf.reduce_prod(sides),
    )


def may_be_turned(data: Any, kind: Any) -> Any:
    """Whether it is worth to look for an orientation, which takes as long as the decoding.

    Most JPEGs of the web have no EXIF data; those that do have them at the very beginning.
    """
    head = tf.strings.substr(data, 0, _EXIF_BEFORE)
    found = tf.strings.regex_full_match(head, r"(?s)\C*Exif\C*")  # \C is any byte
    return tf.where(kind == JPEG, found, (kind == PNG) | (kind >= WEBP))


def orientation_of(data: Any, kind: Any) -> Any:
    """EXIF orientation of a JPEG, PNG or WebP: int64, 1 (upright) to 8; 1 where there is none."""
    numbers = Numbers(data)

    row = tf.where(kind == JPEG, 0, tf.where(kind == PNG, 1, 2))  # of the lists below

    def chunk(start: Any) -> tuple[Any, Any]:
        """Where the next chunk is, and the EXIF data of the one at `start`; -1 for nowhere."""
        first, second, third = tf.unstack(numbers.read(start + np.array([0, 4, 8]), 4))
        marker, jpeg_size = first // 2**16, first % 2**16
        webp_size = numbers.read(start + 4, 4, True)
        # Some programs repeat what a JPEG has in front of the data.
        prefix = tf.where(third == _ascii("Exif"), np.int64(6), np.int64(0))
        is_exif = [
            (marker == 0xFFE1) & (second == _ascii("Exif")),
            second == _ascii("eXIf"),
            first == _ascii("EXIF"),
        ]
        exif_start = [start + 10, start + 8, start + 8 + prefix]
        goes_on = [
            # The picture itself begins with the marker FFDA.
            (marker >= 0xFFC0) & (marker != 0xFFDA) & (jpeg_size >= 2),
            second != _ascii("IEND"),
            True,
        ]
        next_start = [
            start + 2 + jpeg_size,
            start + 12 + first,
            start + 8 + webp_size + webp_size % 2,
        ]
        on, exif = tf.unstack(
            tf.where([goes_on, is_exif], [next_start, exif_start], np.int64(-1))[:, row]
        )
        return on, exif

    _, found = tf.while_loop(
        lambda start, found: (found < 0) & (start >= 0) & (start < numbers.size),
        lambda start, _: chunk(start),
        (tf.constant([2, 8, 12], tf.int64)[row], tf.constant(-1, tf.int64)),
        maximum_iterations=_MAX_CHUNKS,
    )
    return tf.cond(
        found >= 0, lambda: _orientation_tag(numbers, found), lambda: tf.constant(1, tf.int64)
    )


def _orientation_tag(numbers: Numbers, start: Any) -> Any:
    """The orientation in the first directory of the TIFF structure at `start`."""
    little = numbers.read(start, 2) == _ascii("II")
    directory = start + numbers.read(start + 4, 4, little)
    count = tf.minimum(numbers.read(directory, 2, little), _MAX_TAGS)
    tags = directory + 2 + 12 * tf.range(count)  # where each of the tags is
    hit = numbers.read(tags, 2, little) == _ORIENTATION_TAG
    value = tf.reduce_max(tf.where(hit, numbers.read(tags + 8, 2, little), 0))
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _ascii(text: str) -> int:
    return int.from_bytes(text.encode(), "big")
