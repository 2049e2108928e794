"""TFLite's metadata, by which Android's libraries know what an image must be.

Written by the schema `metadata_schema.fbs` of TensorFlow Lite (version 1.5), whose Python code
comes only with packages that have ended: the numbers are its fields' positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_vit.exports.classifier import PixelClassifier
from keras_vit.models.input_range import InputRange

LABELS = "labels.txt"
_IMAGE_PROPERTIES, _NORMALIZATION_OPTIONS = 2, 1  # of the unions
_RGB, _GRAYSCALE = 1, 2
_TENSOR_AXIS_LABELS = 2


def metadata(classifier: PixelClassifier, taken: InputRange, outputs: Sequence[str]) -> bytes:
    """The flatbuffer `ModelMetadata` of a model with one input.

    Args:
        classifier: The model.
        taken: What the file takes as black and white.
        outputs: Names of the outputs, in the order of the file.
    """
    import flatbuffers

    builder: Any = flatbuffers.Builder(1024)

    def table(*fields: tuple[int, str, Any]) -> int:
        """A table of (position, kind, value)."""
        builder.StartObject(max(position for position, _, _ in fields) + 1)
        for position, kind, value in fields:
            add = {
                "offset": builder.PrependUOffsetTRelativeSlot,
                "byte": builder.PrependUint8Slot,
                "uint": builder.PrependUint32Slot,
            }[kind]
            add(position, value, 0)
        return builder.EndObject()

    def offsets(*items: int) -> int:
        builder.StartVector(4, len(items), 4)
        for item in reversed(items):
            builder.PrependUOffsetTRelative(item)
        return builder.EndVector()

    def floats(*values: float) -> int:
        builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            builder.PrependFloat32(value)
        return builder.EndVector()

    text = builder.CreateString
    rows, columns = classifier.image_size

    size = table((0, "uint", columns), (1, "uint", rows))  # ImageSize: width, height
    colours = _RGB if classifier.channels == 3 else _GRAYSCALE
    image = table((0, "byte", colours), (1, "offset", size))  # ImageProperties
    content = table((0, "byte", _IMAGE_PROPERTIES), (1, "offset", image))
    options = table((0, "offset", floats(taken.mean)), (1, "offset", floats(taken.std)))
    unit = table((0, "byte", _NORMALIZATION_OPTIONS), (1, "offset", options))
    stats = table((0, "offset", floats(taken.high)), (1, "offset", floats(taken.low)))
    image_tensor = table(
        (0, "offset", text("image")),
        (1, "offset", text(f"Image of {rows} rows and {columns} columns, in {taken}.")),
        (3, "offset", content),
        (4, "offset", offsets(unit)),
        (5, "offset", stats),
    )
    named: list[tuple[int, str, Any]] = []
    if classifier.class_names:
        labels = table(
            (0, "offset", text(LABELS)),
            (1, "offset", text("Names of the classes, one a line.")),
            (2, "byte", _TENSOR_AXIS_LABELS),
        )
        named = [(6, "offset", offsets(labels))]
    output_tensors = [table((0, "offset", text(name)), *named) for name in outputs]
    graph = table((2, "offset", offsets(image_tensor)), (3, "offset", offsets(*output_tensors)))
    builder.Finish(
        table(
            (0, "offset", text(classifier.model.name)),
            (2, "offset", text("1")),
            (3, "offset", offsets(graph)),
            (5, "offset", text("keras_vit")),
            (7, "offset", text("1.0.0")),
        ),
        b"M001",
    )
    return bytes(builder.Output())
