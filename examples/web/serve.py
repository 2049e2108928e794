#!/usr/bin/env python
"""A development server for the web page, on this machine only. Not for production.

python examples/web/serve.py --port 8000

What it adds to `python -m http.server`: the two headers without which a browser gives a page no
threads (`crossOriginIsolated`), and no caching, so that a model made anew is the one that runs.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(SimpleHTTPRequestHandler):
    # Not every system's table of types knows them, and browsers insist.
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()


class QuietHandler(Handler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def make_server(folder: Path, port: int, log: bool = True) -> ThreadingHTTPServer:
    """A server of the files in `folder`; port 0 takes a free one."""
    handler = functools.partial(Handler if log else QuietHandler, directory=str(folder))
    return ThreadingHTTPServer(("127.0.0.1", port), handler)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=8000)
    with make_server(Path(__file__).parent, parser.parse_args().port) as server:
        print(f"http://localhost:{server.server_port} (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
