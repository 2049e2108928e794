"""A small HTTP server on this machine that can misbehave, for the tests of downloads."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


class Loopback:
    """A server in a thread of its own. A class of it sets `_handler`, and calls `__init__` last.

    Attributes:
        root: Its address.
    """

    def __init__(self) -> None:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()
        self.root = f"http://127.0.0.1:{self._http.server_address[1]}"

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        raise NotImplementedError


class LocalServer(Loopback):
    """Serves `files` (path -> bytes), with ranges and validators, as a file server does.

    Attributes:
        files: What it has, by its path without the leading slash.
        requests: The path and `Range` header of every request so far.
        cut: For the next answers, the number of bytes of the body after which the connection
            is closed; `None` for all of them. Answers beyond the list are complete.
        statuses: For the next answers, statuses in place of the file; `None` for the file.
        ranges: Whether it answers a `Range` with the range alone.
        etag: The validator it sends; `None` for none.
        length: Whether it announces the length of the body.
        stall: For the next answers, the number of bytes of the body after which nothing comes
            until `go` is set; `None` for no stop.
    """

    def __init__(self, files: dict[str, bytes]):
        self.files = files
        self.requests: list[tuple[str, str | None]] = []
        self.cut: list[int | None] = []
        self.statuses: list[int | None] = []
        self.ranges = True
        self.etag: str | None = '"one"'
        self.length = True
        self.stall: list[int | None] = []
        self.go = threading.Event()
        super().__init__()

    def close(self) -> None:
        self.go.set()
        super().close()

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append((self.path, self.headers.get("Range")))
                status = server.statuses.pop(0) if server.statuses else None
                cut = server.cut.pop(0) if server.cut else None
                stall = server.stall.pop(0) if server.stall else None
                body = server.files.get(unquote(self.path.lstrip("/")))
                if body is None or status is not None:
                    self.send_error(status or 404)
                    return
                start = self._start(len(body))
                if start is None:
                    self.send_error(416)
                    return
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
                if server.length:
                    self.send_header("Content-Length", str(len(body) - start))
                if server.etag is not None:
                    self.send_header("ETag", server.etag)
                self.end_headers()
                rest = body[start:][:cut]
                try:
                    if stall is not None:
                        self.wfile.write(rest[:stall])
                        server.go.wait(60)
                        rest = rest[stall:]
                    self.wfile.write(rest)
                except OSError:  # the client went away
                    pass

            def _start(self, size: int) -> int | None:
                match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
                condition = self.headers.get("If-Range")
                if not server.ranges or match is None or condition not in (None, server.etag):
                    return 0
                return int(match[1]) if int(match[1]) < size else None

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
