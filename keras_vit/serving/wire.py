"""Counts the fields of a protobuf message before it is parsed.

An empty message takes two bytes, but protobuf's object for it is a hundred times as large. A
request of images has few fields, whatever its size.
"""

from __future__ import annotations

from typing import Any

from keras_vit.serving.limits import RequestError

MOST_FIELDS = 10_000
_MOST_DEPTH = 20
# Bytes after the tag, by its type. Type 2 (bytes, a string or a message) states its length.
_FIXED = {1: 8, 5: 4}


def check_fields(data: bytes, descriptor: Any) -> None:
    """Raises a `RequestError` if a message has too many fields, nested ones included.

    Args:
        data: The message as it was sent. The parser rejects bytes that are not a message.
        descriptor: Descriptor of the type of the message.
    """
    count = 0
    # Parts still to read: where they begin and end, their type and their depth.
    parts = [(0, len(data), descriptor, 0)]
    while parts:
        place, end, kind, depth = parts.pop()
        while place < end:
            tag, place = _varint(data, place)
            length = _FIXED.get(tag & 7, 0)
            if tag & 7 == 0:
                _, place = _varint(data, place)
            elif tag & 7 == 2:
                length, place = _varint(data, place)
            field = kind.fields_by_number.get(tag >> 3)
            if tag & 7 == 2 and field is not None and field.message_type is not None:
                parts.append((place, min(place + length, end), field.message_type, depth + 1))
            place += length
            count += 1
            if count > MOST_FIELDS or depth > _MOST_DEPTH:
                raise RequestError(
                    "RESOURCE_EXHAUSTED",
                    f"A request has at most {MOST_FIELDS} fields, {_MOST_DEPTH} inside each "
                    "other. Send numbers packed, or as tensor_content.",
                )


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """The number at a place, seven bits a byte, and the place after it."""
    number = shift = 0
    while place < len(data):
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80 or shift > 63:
            break
    return number, place
