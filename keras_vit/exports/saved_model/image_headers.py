"""Reads the first bytes of an image file inside a TensorFlow graph.

TensorFlow's decoders ignore the EXIF orientation, and they raise where a server must go on: so
the kind, the size and the orientation are read from the bytes here, with operations that cannot
fail on any input. Numbers are int64; what lies behind the end of a file reads as zeros.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

# Rows of the switches below; `UNKNOWN` comes first.
UNKNOWN, JPEG, PNG, GIF, BMP, WEBP = range(6)

# What each kind begins with: where and what.
_MAGIC = (
    (JPEG, 0, b"\xff\xd8\xff"),
    (PNG, 0, b"\x89PNG\r\n\x1a\n"),
    (GIF, 0, b"GIF8"),
    (BMP, 0, b"BM"),
    (WEBP, 8, b"WEBP"),
)

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
        data: Scalar string, not empty.
    """

    def __init__(self, data: Any):
        self._bytes = tf.io.decode_raw(data, tf.uint8)
        self.size = tf.size(self._bytes, out_type=tf.int64)

    def read(self, start: Any, width: int, little: Any = False) -> Any:
        """Integers of `width` bytes at `start`, an int64 of any shape, in either byte order."""
        places = tf.cast(start, tf.int64)[..., None] + tf.range(width, dtype=tf.int64)
        inside = (places >= 0) & (places < self.size)
        values = tf.gather(self._bytes, tf.clip_by_value(places, 0, self.size - 1))
        values = tf.where(inside, tf.cast(values, tf.int64), 0)
        shifts = tf.constant([256**i for i in range(width)], tf.int64)
        return tf.reduce_sum(values * tf.where(little, shifts, shifts[::-1]), axis=-1)


def pixels_of(data: Any, kind: Any) -> Any:
    """Rows times columns that the header promises, int64; zero for an unknown kind.

    Raises (in the graph): `InvalidArgumentError` for a JPEG without a size.
    """
    numbers = Numbers(data)

    def at(rows: int, columns: int, width: int, little: bool) -> Any:
        return lambda: numbers.read(rows, width, little) * numbers.read(columns, width, little)

    def bmp() -> Any:
        sides = tf.stack([numbers.read(18, 4, True), numbers.read(22, 4, True)])
        # Signed: a BMP that is stored from the top has a negative height.
        return tf.reduce_prod(tf.where(sides >= 2**31, 2**32 - sides, sides))

    def webp() -> Any:
        extended = (numbers.read(24, 3, True) + 1) * (numbers.read(27, 3, True) + 1)
        lossy = (numbers.read(26, 2, True) % 2**14) * (numbers.read(28, 2, True) % 2**14)
        bits = numbers.read(21, 4, True)
        lossless = (bits % 2**14 + 1) * (bits // 2**14 % 2**14 + 1)
        chunk = tf.strings.substr(data, 12, 4)
        return tf.where(chunk == b"VP8X", extended, tf.where(chunk == b"VP8L", lossless, lossy))

    return tf.switch_case(
        kind,
        {
            UNKNOWN: lambda: tf.constant(0, tf.int64),
            JPEG: lambda: tf.reduce_prod(tf.image.extract_jpeg_shape(data, tf.int64)[:2]),
            PNG: at(16, 20, 4, False),
            GIF: at(6, 8, 2, True),
            BMP: bmp,
            WEBP: webp,
        },
    )


def may_be_turned(data: Any, kind: Any) -> Any:
    """Whether it is worth to look for an orientation, which takes as long as the decoding.

    Most JPEGs of the web have no EXIF data; those that do have them at the very beginning.
    """
    head = tf.strings.substr(data, 0, _EXIF_BEFORE)
    found = tf.strings.regex_full_match(head, r"(?s)\C*Exif\C*")  # \C is any byte
    return tf.where(kind == JPEG, found, (kind == PNG) | (kind == WEBP))


def orientation_of(data: Any, kind: Any) -> Any:
    """EXIF orientation of a JPEG, PNG or WebP: int64, 1 (upright) to 8; 1 where there is none."""
    numbers = Numbers(data)
    nowhere = tf.constant(-1, tf.int64)

    # Each of these: where the chunk at `start` has the EXIF data or -1, and the next chunk or -1.
    def jpeg_segment(start: Any) -> Any:
        marker = numbers.read(start, 2)
        exif = (marker == 0xFFE1) & (numbers.read(start + 4, 4) == _ascii("Exif"))
        # The picture itself begins with the marker FFDA.
        on = (marker >= 0xFFC0) & (marker != 0xFFDA) & (numbers.read(start + 2, 2) >= 2)
        next_start = start + 2 + numbers.read(start + 2, 2)
        return tf.where(exif, start + 10, nowhere), tf.where(on, next_start, nowhere)

    def png_chunk(start: Any) -> Any:
        name = numbers.read(start + 4, 4)
        next_start = tf.where(name == _ascii("IEND"), nowhere, start + 12 + numbers.read(start, 4))
        return tf.where(name == _ascii("eXIf"), start + 8, nowhere), next_start

    def webp_chunk(start: Any) -> Any:
        size = numbers.read(start + 4, 4, True)
        # Some programs repeat what a JPEG has in front of the data.
        prefix = tf.where(numbers.read(start + 8, 4) == _ascii("Exif"), 6, 0)
        exif = numbers.read(start, 4) == _ascii("EXIF")
        data_start = start + 8 + tf.cast(prefix, tf.int64)
        return tf.where(exif, data_start, nowhere), start + 8 + size + size % 2

    def search(chunk: Any, start: int) -> Any:
        def body(start: Any, _: Any) -> Any:
            found, next_start = chunk(start)
            return next_start, found

        _, found = tf.while_loop(
            lambda start, found: (found < 0) & (start >= 0) & (start < numbers.size),
            body,
            (tf.constant(start, tf.int64), nowhere),
            maximum_iterations=_MAX_CHUNKS,
        )
        return found

    found = tf.switch_case(
        kind,
        {
            UNKNOWN: lambda: nowhere,
            JPEG: lambda: search(jpeg_segment, 2),
            PNG: lambda: search(png_chunk, 8),
            GIF: lambda: nowhere,
            BMP: lambda: nowhere,
            WEBP: lambda: search(webp_chunk, 12),
        },
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
