"""Converts the JSON of TF Serving's REST interface to arrays and back.

    {"instances": [{"b64": "..."}, ...]}                         -> {"predictions": [...]}
    {"inputs": {"image_bytes": [{"b64": "..."}]}}                -> {"outputs": {...}}
    {"signature_name": "predict_pixels", "instances": [[[[0, 0, 0], ...], ...], ...]}

Bytes are `{"b64": base64}`, text is a string. A request may leave out the name of a single input.
An answer always leaves out the name of a single output.
"""

from __future__ import annotations

import base64
import itertools
import json
import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vit.serving.inputs import check_shape
from keras_vit.serving.limits import Limits, RequestError

DEFAULT_SIGNATURE = "serving_default"


def read_request(body: bytes) -> tuple[str, dict[str, Any]]:
    """The name of the signature, and the rest of the request, which `read_inputs` takes.

    Raises:
        RequestError: If the body is not such JSON.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:  # also if it is not UTF-8
        raise _invalid(f"The body is no valid JSON: {error}") from error
    if not isinstance(request, dict):
        raise _invalid(f"The body must be a JSON object. Received: {_shorten(request)}")
    signature = request.pop("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(signature, str):
        raise _invalid(f"`signature_name` must be a string. Received: {_shorten(signature)}")
    if len(request) != 1 or next(iter(request)) not in ("instances", "inputs"):
        raise _invalid(
            'The body must have either "instances" or "inputs", and at most "signature_name" '
            f"besides. Received: {sorted(request)}"
        )
    return signature, request


def read_inputs(request: dict[str, Any], definition: Any, limits: Limits) -> dict[str, np.ndarray]:
    """The arrays that the signature takes.

    Args:
        request: From `read_request`.
        definition: The `SignatureDef`.
        limits: Limits of a request.

    Raises:
        RequestError: If the inputs do not fit the signature or the limits.
    """
    names = list(definition.inputs)
    if "inputs" in request:
        values = request["inputs"]
        if not _is_named(values):
            values = _name(values, names)
    else:
        instances = request["instances"]
        if not isinstance(instances, list) or not instances:
            raise _invalid('"instances" must be a list, not empty.')
        if all(_is_named(instance) for instance in instances):
            keys = set(instances[0])
            if any(set(instance) != keys for instance in instances):
                raise _invalid('All of the "instances" must have the same names.')
            values = {key: [instance[key] for instance in instances] for key in keys}
        else:
            values = _name(instances, names)
    if set(values) != set(names):
        raise _invalid(f"The signature takes {sorted(names)}. Received: {sorted(values)}")
    return {name: _array(name, values[name], definition.inputs[name], limits) for name in names}


def write_response(request: dict[str, Any], outputs: Mapping[str, np.ndarray]) -> bytes:
    """The answer in the format of the request: by rows for "instances", else by names."""
    values = {name: _json(name, value.tolist()) for name, value in outputs.items()}
    only = next(iter(values.values())) if len(values) == 1 else None
    if "inputs" in request:
        response = {"outputs": values if only is None else only}
    elif only is not None:
        response = {"predictions": only}
    else:
        rows = zip(*values.values(), strict=True)
        response = {"predictions": [dict(zip(values, row, strict=True)) for row in rows]}
    return json.dumps(response).encode()


def _is_named(value: Any) -> bool:
    """Whether it is an object with names, not `{"b64": ...}`."""
    return isinstance(value, dict) and set(value) != {"b64"}


def _name(values: Any, names: list[str]) -> dict[str, Any]:
    if len(names) != 1:
        raise _invalid(f"The signature takes {sorted(names)}: give the names.")
    return {names[0]: values}


def _array(name: str, values: Any, info: Any, limits: Limits) -> np.ndarray:
    sides, first = [], values
    while isinstance(first, list):
        sides.append(len(first))
        first = first[0] if first else None
    check_shape(name, sides, info, limits)
    wanted = tf.dtypes.as_dtype(info.dtype)
    try:
        flat = _flatten(values, sides)
        if wanted == tf.string:
            array = np.empty(len(flat), object)
            array[:] = [_bytes(item) for item in flat]
        else:
            array = _numbers(flat, wanted)
        return array.reshape(sides)
    except (ValueError, TypeError, OverflowError) as error:
        raise _invalid(f"The input {name!r} is not valid: {error}") from error


def _flatten(values: Any, sides: list[int]) -> list[Any]:
    """Makes one list of nested lists of these lengths."""
    flat = [values]
    for side in sides:
        if any(not isinstance(item, list) or len(item) != side for item in flat):
            raise ValueError("lists of unequal lengths")
        flat = list(itertools.chain.from_iterable(flat))
    return flat


def _numbers(flat: list[Any], wanted: Any) -> np.ndarray:
    dtype = np.dtype(wanted.as_numpy_dtype)
    kinds = {"u": {int}, "i": {int}, "f": {int, float}, "b": {bool}}.get(dtype.kind, set())
    if not set(map(type, flat)) <= kinds:
        raise ValueError(f"expected numbers of {wanted.name}")
    if dtype.kind in "iu" and flat:
        ends = np.iinfo(dtype)
        if min(flat) < ends.min or max(flat) > ends.max:
            raise ValueError(f"numbers out of the range of {wanted.name}")
    return np.array(flat, dtype)


def _bytes(value: Any) -> bytes:
    """A string or `{"b64": ...}`."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and isinstance(value.get("b64"), str):
        return base64.b64decode("".join(value["b64"].split()), validate=True)
    raise ValueError(f'expected a string or {{"b64": "..."}}, received {_shorten(value)}')


def _json(name: str, value: Any) -> Any:
    """Numbers stay; bytes in nested lists become text, or `{"b64": ...}`."""
    if isinstance(value, list):
        return [_json(name, item) for item in value]
    if not isinstance(value, bytes):
        return value
    if name.endswith("_bytes"):  # the convention of TF Serving
        return {"b64": base64.b64encode(value).decode()}
    return value.decode("utf-8", "replace")


def _shorten(value: Any) -> str:
    return reprlib.repr(value)  # plain `repr` of nested lists may need too much recursion


def _invalid(message: str) -> RequestError:
    return RequestError("INVALID_ARGUMENT", message)
