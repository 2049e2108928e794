"""Requests that TF Serving runs before it calls a model ready.

The first request to each signature is slow. TF Serving reads example requests from
`assets.extra/tf_serving_warmup_requests`, a TFRecord file of `PredictionLog` messages. Four
messages of a few fields each: they are encoded here, so that nothing but TensorFlow is needed.
The tests parse them with `tensorflow-serving-api`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

FOLDER = "assets.extra"
FILE = "tf_serving_warmup_requests"
# TF Serving refuses a model with more.
MAX_RECORDS = 1000


def write_warmup(
    folder: str | os.PathLike[str],
    model_name: str,
    requests: Iterable[tuple[str, Mapping[str, Any]]],
) -> None:
    """Writes the file into the folder of a SavedModel.

    Args:
        folder: The SavedModel.
        model_name: As clients will call it; TF Serving does not look at it here.
        requests: (signature, inputs), the inputs as `tf.make_tensor_proto` takes them.

    Raises:
        ValueError: If there are more than 1,000 of them.
    """
    records = [prediction_log(model_name, *request) for request in requests]
    if len(records) > MAX_RECORDS:
        raise ValueError(
            f"TF Serving takes at most {MAX_RECORDS} warm-up requests. Received: {len(records)}"
        )
    path = Path(folder, FOLDER, FILE)
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def prediction_log(model_name: str, signature: str, inputs: Mapping[str, Any]) -> bytes:
    """One `tensorflow.serving.PredictionLog`, encoded. The numbers are those of its fields."""
    spec = _field(1, model_name.encode()) + _field(3, signature.encode())  # ModelSpec
    request = _field(1, spec)  # PredictRequest
    for name, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        request += _field(2, _field(1, name.encode()) + _field(2, tensor))  # a map entry
    log = _field(1, request)  # PredictLog
    return _field(6, log)


def _field(number: int, value: bytes) -> bytes:
    """A field of bytes, a string or a message: key, length, value (protobuf wire type 2)."""
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    """Seven bits at a time, the lowest first; the top bit says that more follow."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
