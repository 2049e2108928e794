"""Requests that the development server must refuse, one row each, and what it must say.

`KINDS` are all of them: a test sends each, and the soak test mixes them into good requests.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from support.model_server import HEAD, RED, b64, call, picture, pixels, post, raw

# Few bytes, and more pixels than the server of the tests takes.
VAST = picture((0, 0, 0), (400, 300), "png")
ZERO = np.zeros(1, "uint8")


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of malformed request.

    Attributes:
        name: What is wrong.
        status: Of HTTP or of gRPC, that must come back.
        message: A pattern that must be in the answer.
        send: Sends it with (server, gRPC client); gives the status and the answer as a text.
    """

    name: str
    status: int | str
    message: str
    send: Callable[[Any, Any], tuple[int | str, str]]

    def check(self, server: Any, client: Any) -> str | None:
        """`None`, or what is wrong with the answer."""
        status, text = self.send(server, client)
        if status == self.status and re.search(self.message, text):
            return None
        return f"{self.name}: {status} {text[:200]!r}, not {self.status} {self.message!r}"


def _body(name: str, status: int, message: str, body: Any) -> Kind:
    def send(server: Any, _: Any) -> tuple[int, str]:
        status, answer = post(server, body)
        return status, json.dumps(answer)

    return Kind(name, status, message, send)


def _path(path: str, method: str, status: int) -> Kind:
    body = b'{"instances": ["a"]}' if method == "POST" else None

    def send(server: Any, _: Any) -> tuple[int, str]:
        status, answer = call(server, path, body)
        return status, answer["error"]

    return Kind(f"{method} {path}", status, ".", send)


def _raw(name: str, status: int, message: str, *parts: bytes, **options: Any) -> Kind:
    def send(server: Any, _: Any) -> tuple[int, str]:
        head, _, body = raw(server, *parts, **options).partition(b"\r\n\r\n")
        found = re.match(rb"HTTP/1.1 (\d+) ", head)
        return int(found[1]) if found else 0, body.decode()

    return Kind(name, status, message, send)


def _grpc(name: str, status: str, message: str, make: Callable[[Any], Any], **options) -> Kind:
    def send(_: Any, client: Any) -> tuple[str, str]:
        request = make(client)
        data = request if isinstance(request, bytes) else request.SerializeToString()
        code, answer = client.send(data, **options)
        return code, str(answer)

    return Kind(f"gRPC: {name}", status, message, send)


def _of_dtype(client: Any, dtype: int) -> Any:
    request = client.request(image_bytes=[RED])
    request.inputs["image_bytes"].dtype = dtype
    return request


def _with_content(client: Any, content: bytes) -> Any:
    request = client.request("features", pixels=np.zeros((1, 32, 48, 3), "uint8"))
    request.inputs["pixels"].tensor_content = content
    return request


def _with_values(client: Any, *values: int) -> Any:
    request = _with_content(client, b"")
    request.inputs["pixels"].int_val.extend(values)
    return request


def _nested() -> bytes:
    """A tensor in a variant in a tensor, forty times."""
    data = b""
    for _ in range(40):
        data = _field(15, _field(3, data))
    return _field(2, _field(2, data))


def _field(number: int, value: bytes) -> bytes:
    """A field of bytes or a message: its number, its length in two bytes, its value."""
    length = len(value)
    return bytes([number << 3 | 2, length & 0x7F | 0x80, length >> 7]) + value


def _of_unknown_rank(client: Any) -> Any:
    request = client.request(image_bytes=[RED])
    request.inputs["image_bytes"].tensor_shape.unknown_rank = True
    return request


BODIES = [
    _body("no bytes", 400, "no valid JSON", b""),
    _body("half an object", 400, "no valid JSON", b"{"),
    _body("no text", 400, "no valid JSON", b"\xff\xfe"),
    _body("deep lists", 400, "no valid JSON", b"[" * 100_000),
    _body("deep enough to be read", 400, "JSON", b"[" * 900 + b"]" * 900),
    _body("a long number", 400, "no valid JSON", b"[" + b"1" * 5000 + b"]"),
    _body("a list", 400, "must be a JSON object", [1]),
    _body("no instances", 400, "instances.* or .*inputs", {}),
    _body("instances and inputs", 400, "instances.* or", {"instances": [1], "inputs": [1]}),
    _body("no instance", 400, "not empty", {"instances": []}),
    _body("instances that are a number", 400, "must be a list", {"instances": 3}),
    _body("instances that are text", 400, "must be a list", {"instances": "abc"}),
    _body("a number for an image", 400, "expected a string", {"instances": [3]}),
    _body("no base64", 400, "'image_bytes' is not valid", {"instances": [{"b64": "%%%"}]}),
    _body("a number as base64", 400, "expected a string", {"instances": [{"b64": 3}]}),
    _body("half a character", 400, "is not valid", {"instances": ["\ud800"]}),
    _body("images in lists", 400, "shape", {"instances": [["a"], ["b"]]}),
    _body("lists and text", 400, "shape", {"instances": [["a"], "b"]}),
    _body("text and lists", 400, "expected a string", {"instances": ["b", ["a"]]}),
    _body("a scalar", 400, "shape", {"inputs": "abc"}),
    _body("an unknown input", 400, r"Received: \['picture'\]", {"instances": [{"picture": "a"}]}),
    _body("two names", 400, "same names", {"instances": [{"image_bytes": "a"}, {"a": "a"}]}),
    _body("one input more", 400, "Received", {"inputs": {"image_bytes": ["a"], "x": [1]}}),
    _body("no such signature", 400, "nine", {"signature_name": "nine", "instances": ["a"]}),
    _body("a long name", 400, r"no signature 'a{500}", {"signature_name": "a" * 9999, "inputs": 1}),
    _body("a number as name", 400, "a string", {"signature_name": 9, "instances": ["a"]}),
    *(
        _body(f"pixels: {name}", 400, message, {"signature_name": "features", "instances": images})
        for name, message, images in (
            ("too few", r"shape \[any, 32, 48, 3\]", [[[[1, 2, 3]]]]),
            ("unequal lists", "shape", [[1], [2, 3]]),
            ("a column less", "unequal lengths", [*pixels(), [*pixels()[0][:-1], [[0, 0, 0]]]]),
            ("out of range", "range of uint8", pixels(256)),
            ("negative", "range of uint8", pixels(-1)),
            ("vast", "range of uint8", pixels(10**30)),
            ("a fraction", "numbers of uint8", pixels(0.5)),
            ("a truth", "numbers of uint8", pixels(True)),
            ("a name", "numbers of uint8", pixels("a" * 50_000)),  # NumPy would repeat its length
            ("text", "shape", ["a"]),
        )
    ),
    _body("6,000 empty images", 413, "at most 8 images", {"instances": [""] * 6000}),
    _body("9 images by name", 413, "at most 8 images", {"inputs": [""] * 9}),
    _body("a vast image", 413, "at most 100000 pixels", {"instances": [b64(VAST)]}),
    _body("more bytes", 413, "at most 200000 bytes", {"instances": ["a" * 300_000]}),
]

PATHS = [
    _path("/v1/models/trees:predict", "POST", 404),
    _path("/v1/models/flowers/versions/8:predict", "POST", 404),
    _path("/v1/models/flowers/versions/x:predict", "POST", 404),
    _path("/v1/models/flowers:classify", "POST", 405),
    _path("/", "GET", 404),
    _path("/v1/models/trees", "GET", 404),
    _path("/../../etc/passwd", "GET", 404),
    _path("/v1/models/flowers:predict", "GET", 405),
]

_CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n0\r\n\r\n"
RAW = [
    _raw(
        "more bytes announced", 413, "200000 bytes", HEAD + b"Content-Length: 99999999999\r\n\r\n"
    ),
    _raw("a body that ends", 400, "1 of 100", HEAD + b"Content-Length: 100\r\n\r\n{", ends=True),
    _raw("a body that stops", 408, "1 of 100", HEAD + b"Content-Length: 100\r\n\r\n{"),
    _raw("headers that stop", 408, "headers", HEAD),
    _raw("no length", 411, "Content-Length", HEAD + b"\r\n"),
    _raw("chunks", 411, "Content-Length", HEAD + _CHUNKS),
    _raw("a negative length", 400, "a number", HEAD + b"Content-Length: -1\r\n\r\n"),
    _raw("a length in words", 400, "a number", HEAD + b"Content-Length: many\r\n\r\n"),
    _raw("nonsense", 400, "error", b"nonsense\r\n\r\n"),
    _raw("TLS", 400, "error", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    _raw("a long path", 414, "error", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n"),
    _raw("many headers", 431, "error", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n"),
    _raw("long headers", 431, "131072 bytes", b"GET / HTTP/1.1\r\n", *[b"a: %060000d\r\n" % 1] * 3),
    _raw("another method", 501, "error", b"DELETE /v1/models/flowers HTTP/1.1\r\n\r\n"),
]

_INVALID, _MUCH = "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"
GRPC = [
    _grpc("another model", "NOT_FOUND", "trees", lambda c: c.request("", "trees")),
    _grpc("another version", "NOT_FOUND", "version 8", lambda c: c.request(version=8)),
    _grpc("no message", _INVALID, "no valid PredictRequest", lambda c: b"\xff\xff\xff nonsense"),
    _grpc("no such signature", _INVALID, "nine", lambda c: c.request("nine", image_bytes=[RED])),
    _grpc("an unknown input", _INVALID, "'picture'", lambda c: c.request(picture=[RED])),
    _grpc("no input", _INVALID, "takes", lambda c: c.request()),
    _grpc("a matrix", _INVALID, "shape", lambda c: c.request(image_bytes=[[RED]])),
    _grpc("a scalar", _INVALID, "shape", lambda c: c.request(image_bytes=RED)),
    _grpc("numbers", _INVALID, "be string.*DT_FLOAT", lambda c: c.request(image_bytes=[1.5])),
    _grpc("no such type", _INVALID, "must be string.*77", lambda c: _of_dtype(c, 77)),
    _grpc("no type", _INVALID, "must be string", lambda c: _of_dtype(c, 0)),
    _grpc("no rank", _INVALID, "known", _of_unknown_rank),
    _grpc(
        "pixels of another size",
        _INVALID,
        "shape",
        lambda c: c.request("features", pixels=np.zeros((1, 2, 3, 4), "uint8")),
    ),
    _grpc(
        "float pixels",
        _INVALID,
        "must be uint8",
        lambda c: c.request("features", pixels=np.zeros((1, 32, 48, 3), "float32")),
    ),
    *(
        _grpc(name, status, message, lambda c, rows=rows: c.with_shape(*rows))
        for name, status, message, rows in (
            ("10^9 images", _MUCH, "8 images", ("", "image_bytes", [b""], 10**9)),
            ("10^9 pixels", _MUCH, "8 images", ("features", "pixels", ZERO, 10**9, 32, 48, 3)),
            ("a negative side", _INVALID, "known", ("features", "pixels", ZERO, -1, 32, 48, 3)),
            ("more images than names", _INVALID, "valid", ("", "image_bytes", [b"a", b"b"], 1)),
        )
    ),
    _grpc("bytes too few", _INVALID, "not valid", lambda c: _with_content(c, b"\0\0")),
    _grpc("bytes too many", _INVALID, "not valid", lambda c: _with_content(c, b"\0" * 5000)),
    _grpc("pixels of 300", _INVALID, "not valid", lambda c: _with_values(c, 300)),
    _grpc("9 images", _MUCH, "8 images", lambda c: c.request(image_bytes=[b""] * 9)),
    _grpc("a vast image", _MUCH, "100000 pixels", lambda c: c.request(image_bytes=[VAST])),
    _grpc(
        "no such output",
        _INVALID,
        "logits",
        lambda c: c.request(outputs=["logits"], image_bytes=[RED]),
    ),
    _grpc(
        "thousands of empty inputs",
        _MUCH,
        "at most 10000 fields",
        lambda c: c.request(image_bytes=[RED]).SerializeToString() + b"\x12\0" * 20_000,
    ),
    _grpc(
        "messages in messages",
        _MUCH,
        "20 inside each other",
        lambda c: _nested(),
    ),
    _grpc("more bytes", _MUCH, "larger", lambda c: c.request(image_bytes=[b"a" * 300_000])),
    _grpc(
        "a long name",
        _MUCH,
        "65536",
        lambda c: b"a" * 70_000,
        method="ModelService/GetModelStatus",
    ),
    _grpc("no such method", "UNIMPLEMENTED", "", lambda c: b"", method="ModelService/Reload"),
]

KINDS = BODIES + PATHS + RAW + GRPC
