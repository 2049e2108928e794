"""TF Serving's REST interface: status, metadata and prediction of one model.

    GET  /v1/models/NAME[/versions/N]
    GET  /v1/models/NAME[/versions/N]/metadata
    POST /v1/models/NAME[/versions/N]:predict

Errors are `{"error": "..."}` with a status of 400 or more.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format as protobuf_json

from keras_vit.serving.json_format import read_inputs, read_request, write_response
from keras_vit.serving.model import Limits, RequestError, ServedModel

_logger = logging.getLogger(__name__)
_PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/([0-9]{1,18}))?(/metadata|:[a-z]+)?")

_STATUS = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 413,
    "UNAVAILABLE": 503,
    "INTERNAL": 500,
}

_CHUNK = 2**16


class RestServer(ThreadingHTTPServer):
    """A thread per connection.

    Args:
        model: What to serve; it is not closed with the server.
        address: (host, port); port 0 takes a free one.
        limits: Of a request.
    """

    daemon_threads = True
    # Some clients open many connections at a time; the default is 5.
    request_queue_size = 128

    def __init__(self, model: ServedModel, address: tuple[str, int], limits: Limits):
        self.model = model
        self.limits = limits
        self.places = threading.Semaphore(limits.held)
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that goes away is no error of ours, and nothing to print a traceback for.
        _logger.info("connection of %s ended", client_address, exc_info=True)


class _HttpError(Exception):
    """An answer before or instead of one of the model; the connection is closed with it."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: RestServer
    protocol_version = "HTTP/1.1"
    server_version = "keras_vit-development"
    # The answer is two small writes; without this the second one waits for the client.
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.limits.timeout)

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, method: Any) -> None:
        try:
            self._send(200, method())
        except RequestError as error:
            self._send_error(_STATUS[error.code], str(error))
        except _HttpError as error:
            self.close_connection = True
            self._send_error(error.status, str(error))
            self._linger()
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception:
            _logger.exception("a request failed")
            self._send_error(500, "The server failed; its log says why.")

    def _get(self) -> bytes:
        if self.headers.get("Content-Length", "0") != "0":
            self.close_connection = True  # nobody reads that body
        action = self._target()
        model = self.server.model
        if action == "":
            status = {"error_code": "OK", "error_message": ""}
            state = {"version": str(model.version), "state": "AVAILABLE", "status": status}
            return json.dumps({"model_version_status": [state]}).encode()
        if action == "/metadata":
            spec = {"name": model.name, "signature_name": "", "version": str(model.version)}
            signatures = {
                name: protobuf_json.MessageToDict(definition, preserving_proto_field_name=True)
                for name, definition in model.signatures.items()
            }
            metadata = {"signature_def": {"signature_def": signatures}}
            return json.dumps({"model_spec": spec, "metadata": metadata}).encode()
        raise _HttpError(405, f"Use POST for {self.path[:200]}.")

    def _post(self) -> bytes:
        length = self._length()
        if not self.server.places.acquire(blocking=False):
            raise _HttpError(503, "The server is busy. Try again later.")
        try:
            body = self._body(length)
            # Behind the body, so that the connection can be used again.
            if self._target() != ":predict":
                raise _HttpError(405, f"Use GET for {self.path[:200]}.")
            signature, request = read_request(body)
            inputs = read_inputs(request, self.server.model.signature(signature))
            return write_response(request, self.server.model.predict(signature, inputs))
        finally:
            self.server.places.release()

    def _target(self) -> str:
        """What is asked of the model; raises for another model."""
        match = _PATH.fullmatch(self.path.partition("?")[0])
        if match is None:
            raise RequestError(
                "NOT_FOUND",
                f"There is no {self.path[:200]!r}; there is /v1/models/{self.server.model.name}.",
            )
        name, version, action = match.groups()
        self.server.model.check(name, None if version is None else int(version))
        return action or ""

    def _length(self) -> int:
        text = self.headers.get("Content-Length")
        if text is None or "Transfer-Encoding" in self.headers:
            raise _HttpError(411, "The request must have a Content-Length, and no other encoding.")
        if not re.fullmatch("[0-9]{1,18}", text):
            raise _HttpError(400, f"The Content-Length must be a number. Received: {text[:40]!r}")
        length, most = int(text), self.server.limits.body_bytes
        if length > most:
            raise _HttpError(413, f"A request has at most {most} bytes. Received: {length}")
        return length

    def _body(self, length: int) -> bytes:
        """Exactly `length` bytes; a client that sends them one by one does not get forever."""
        deadline = time.monotonic() + self.server.limits.timeout
        body = bytearray()
        try:
            while len(body) < length:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self.connection.settimeout(left)
                chunk = self.rfile.read1(min(_CHUNK, length - len(body)))
                if not chunk:
                    raise _HttpError(
                        400, f"The body ended after {len(body)} of {length} bytes."
                    )  # fmt: skip
                body += chunk
        except TimeoutError:
            raise _HttpError(
                408, f"The body did not arrive in time: {len(body)} of {length} bytes."
            ) from None
        finally:
            self.connection.settimeout(self.server.limits.timeout)
        return bytes(body)

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _send_error(self, status: int, message: str) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            self._send(status, json.dumps({"error": message}).encode())

    def _linger(self) -> None:
        """Takes in some of what the client still sends.

        Closing while it is on its way would make the client's system discard our answer.
        """
        deadline = time.monotonic() + 1
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(0.2)
            while time.monotonic() < deadline and self.rfile.read1(_CHUNK):
                pass

    def send_error(self, code: int, message: Any = None, explain: Any = None) -> None:
        # Of http.server itself, for a request line or headers that are none, or another method.
        self.close_connection = True
        self.request_version = self.protocol_version  # else it takes nonsense for HTTP/0.9
        self._send_error(code, message or "The request is not valid HTTP.")

    def log_message(self, format: str, *args: Any) -> None:
        _logger.info(format, *args)
