"""Clients of the development server, which `tests/serving/conftest.py` starts."""

from __future__ import annotations

import base64
import io
import json
import socket
import time
import urllib.error
import urllib.request

from PIL import Image

from keras_vit.serving import Limits

LIMITS = Limits(body_bytes=200_000, timeout=1.0, running=2, held=16)


def jpeg(colour):
    file = io.BytesIO()
    Image.new("RGB", (50, 40), colour).save(file, "jpeg")
    return file.getvalue()


RED, BLUE = jpeg((250, 10, 10)), jpeg((10, 10, 250))


HEAD = b"POST /v1/models/flowers:predict HTTP/1.1\r\nHost: a\r\n"


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


def call(server, path, body=None):
    """Status and parsed answer."""
    url = f"http://127.0.0.1:{server.rest_port}{path}"
    try:
        with urllib.request.urlopen(url, body, timeout=20) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def post(server, request, path="/v1/models/flowers:predict"):
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return call(server, path, body)


def raw(server, *parts, pause=0.0):
    """Sends bytes as they are; returns all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=20) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
        except ConnectionError:
            pass
        answer = b""
        try:
            while chunk := connection.recv(65536):
                answer += chunk
        except ConnectionError:
            pass
    return answer
