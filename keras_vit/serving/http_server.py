"""An HTTP server that slow clients cannot block; it answers open requests before it ends."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from keras_vit.serving.limits import Limits

logger = logging.getLogger(__name__)

# http.server refuses a request line of more than 64 KiB; the headers get as much.
_HEAD_BYTES = 2**17
_CHUNK = 2**16
# When the server ends, a client that has just connected gets this long to begin its request.
_LAST_SECONDS = 0.5


class HttpError(Exception):
    """An error answer to a request; the connection is closed after it."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class HttpServer(ThreadingHTTPServer):
    """A thread for each connection.

    Args:
        address: (host, port); port 0 takes a free one.
        handler: A `Handler`.
        limits: Limits of a request.
    """

    daemon_threads = True
    # Some clients open many connections at a time; the default is 5.
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[Handler], limits: Limits):
        self.limits = limits
        self.ends = False
        self._places = threading.Semaphore(limits.held)
        self._changed = threading.Condition()
        self._in_flight: dict[Any, bool] = {}  # open connection -> has it a request
        super().__init__(address, handler)

    @contextlib.contextmanager
    def hold(self):
        """Counts a request that is in memory; raises an `HttpError` if there are too many."""
        if not self._places.acquire(blocking=False):
            raise HttpError(503, "The server is busy. Try again later.")
        try:
            yield
        finally:
            self._places.release()

    def set_in_flight(self, connection: Any, whether: bool) -> None:
        with self._changed:
            self._in_flight[connection] = whether
            self._changed.notify_all()

    def drain(self) -> None:
        """Takes no new connections; answers open requests for at most `grace` seconds."""
        if self.ends:
            return
        deadline = time.monotonic() + self.limits.grace
        self.shutdown()
        self.timeout = 0
        for _ in range(self.request_queue_size):  # clients that have connected already
            self.handle_request()
        self.ends = True
        self.server_close()
        with self._changed:
            self._changed.wait_for(lambda: all(self._in_flight.values()), _LAST_SECONDS)
            for connection, in_flight in self._in_flight.items():
                if not in_flight:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RD)
            left = max(deadline - time.monotonic(), 0)
            self._changed.wait_for(lambda: not self._in_flight, left)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            full = len(self._in_flight) >= self.limits.connections
            if not full:
                self._in_flight[request] = False
        if full:
            self._refuse(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._in_flight.pop(request, None)
            self._changed.notify_all()

    def _refuse(self, connection: Any) -> None:
        """Answers that the server is full, without a thread and without reading the request."""
        message = f"The server has {self.limits.connections} connections. Try again later."
        body = json.dumps({"error": message}).encode()
        head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        with contextlib.suppress(OSError):
            connection.settimeout(0.1)
            connection.sendall(head.encode() + body)
            linger(connection, 0.1)
        self.shutdown_request(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that goes away is not our error, so no traceback is printed.
        logger.info("connection of %s ended", client_address, exc_info=True)


def linger(connection: Any, seconds: float) -> None:
    """Reads some of what the client still sends.

    Closing before that would make the client's system discard our answer.
    """
    deadline = time.monotonic() + seconds
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(min(seconds, 0.2))
        while time.monotonic() < deadline and connection.recv(_CHUNK):
            pass


class _LateError(Exception):
    """The client took too long."""


class _Reader(io.RawIOBase):
    """Reads what a client sends; the deadline is for all of it, not for each byte."""

    def __init__(self, connection: Any):
        self._connection = connection
        self.allow(0, 0)

    def allow(self, seconds: float, size: int) -> None:
        self._deadline = time.monotonic() + seconds
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        seconds = self._deadline - time.monotonic()
        if self._left <= 0:
            raise HttpError(431, f"The headers have more than {_HEAD_BYTES} bytes.")
        if seconds <= 0:
            raise _LateError
        self._connection.settimeout(seconds)
        try:
            count = self._connection.recv_into(buffer)
        except TimeoutError:
            raise _LateError from None
        self._left -= count
        return count


class Handler(BaseHTTPRequestHandler):
    """The requests of one connection. A subclass defines `do_GET` and `do_POST`."""

    server: HttpServer
    protocol_version = "HTTP/1.1"
    server_version = "keras_vit-development"
    requestline = ""
    # The answer is two small writes; without this the second one waits for the client.
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._reader = _Reader(self.connection)
        self.rfile = self._buffer = io.BufferedReader(self._reader)

    def handle_one_request(self) -> None:
        timeout = self.server.limits.timeout
        self.close_connection = True
        self._reader.allow(timeout, _HEAD_BYTES)
        try:
            if not self._buffer.peek(1):
                return
        except (_LateError, OSError):
            return
        self.server.set_in_flight(self.connection, True)
        self._reader.allow(timeout, _HEAD_BYTES)
        try:
            super().handle_one_request()
        except _LateError:
            self.send_error(408, "The headers did not arrive in time.")
        except HttpError as error:
            self.send_error(error.status, str(error))
        except OSError:
            self.close_connection = True
        self.server.set_in_flight(self.connection, False)
        if self.server.ends:
            self.close_connection = True

    def body(self) -> bytes:
        """The body of the request; raises an `HttpError` if it is late, incomplete or too large."""
        length = self._length()
        self._reader.allow(self.server.limits.timeout, length + io.DEFAULT_BUFFER_SIZE)
        body = bytearray()
        try:
            while len(body) < length:
                chunk = self.rfile.read1(min(_CHUNK, length - len(body)))
                if not chunk:
                    raise HttpError(400, f"The body ended after {len(body)} of {length} bytes.")
                body += chunk
        except _LateError:
            raise HttpError(
                408, f"The body did not arrive in time: {len(body)} of {length} bytes."
            ) from None
        return bytes(body)

    def _length(self) -> int:
        text = self.headers.get("Content-Length")
        if text is None or "Transfer-Encoding" in self.headers:
            raise HttpError(411, "The request must have a Content-Length, and no other encoding.")
        if not re.fullmatch("[0-9]{1,18}", text):
            raise HttpError(400, f"The Content-Length must be a number. Received: {text[:40]!r}")
        length, most = int(text), self.server.limits.body_bytes
        if length > most:
            raise HttpError(
                413,
                f"A request has at most {most} bytes. Received: {length}. Send several requests, "
                "or start the server with a higher --body-bytes.",
            )
        return length

    def send_json(self, status: int, body: bytes) -> None:
        if self.server.ends:
            self.close_connection = True
        self.connection.settimeout(self.server.limits.timeout)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def is_there(self) -> bool:
        """Whether the client still waits; one that has closed its side does not."""
        try:
            self.connection.settimeout(0)
            return bool(self.connection.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def send_error(self, code: int, message: Any = None, explain: Any = None) -> None:
        """Answers with an error and ends the connection; http.server calls it for bad HTTP."""
        self.close_connection = True
        self.request_version = self.protocol_version  # else bad HTTP counts as HTTP/0.9
        body = json.dumps({"error": message or "The request is not valid HTTP."}).encode()
        with contextlib.suppress(OSError):
            self.send_json(code, body)
            linger(self.connection, 1)

    def log_message(self, format: str, *args: Any) -> None:
        logger.info("%s", (format % args).encode("unicode_escape").decode())
