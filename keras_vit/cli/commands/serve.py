"""Serves an exported model over REST and gRPC, for development.

keras-vit serve models/vit
curl -s localhost:8501/v1/models/vit:predict -d '{"instances": [{"b64": "'$(base64 -w0 a.jpg)'"}]}'

FOLDER is a SavedModel, or holds versions of one: models/vit/1, models/vit/2.
The interfaces are those of TF Serving. The server is for this machine only,
not for production. Ctrl-C or SIGTERM ends it: it takes no new requests, and
first answers the open ones.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
from collections.abc import Iterator
from typing import Any

from keras_vit.cli.arguments import Parser
from keras_vit.serving import Limits, ModelServer
from keras_vit.utils.text import say

# The fields of `Limits`, and what the help says of each.
_LIMITS = {
    "images": ("most images in a request", "N"),
    "pixels": ("most pixels in all image files of a request together", "N"),
    "body_bytes": ("largest request", "BYTES"),
    "connections": ("open connections, of REST and of gRPC; more are refused", "N"),
    "timeout": (
        "for headers to arrive, for a body, to wait, and for an idle connection",
        "SECONDS",
    ),
    "grace": ("that requests get to end when the server ends", "SECONDS"),
    "running": ("requests that run at a time", "N"),
    "held": ("requests in memory, those that arrive or wait too; more are refused", "N"),
}


def add_arguments(parser: Parser) -> None:
    parser.positional("FOLDER", "a SavedModel, or a folder with versions of one")
    parser.add("--name", "model", "as clients call it", "NAME", default="(the folder's)")
    parser.add("--rest-port", "output", "of REST", "PORT", int, default=8501)
    parser.add("--grpc-port", "output", "of gRPC", "PORT", int, default=8500)
    parser.add("--no-grpc", "output", "REST alone, which needs no further package")
    defaults = dataclasses.asdict(Limits())
    for name, (text, metavar) in _LIMITS.items():
        flag, default = f"--{name.replace('_', '-')}", defaults[name]
        parser.add(flag, "limits", text, metavar, type(default), default=default)


def run(given: dict[str, Any]) -> int:
    grpc_port = None if "no_grpc" in given else given["grpc_port"]
    with ModelServer(
        given["folder"],
        given.get("name"),
        rest_port=given["rest_port"],
        grpc_port=grpc_port,
        limits=Limits(**{name: given[name] for name in _LIMITS}),
    ) as server:
        model = server.model
        say(f"REST: http://127.0.0.1:{server.rest_port}/v1/models/{model.name}:predict")
        if server.grpc_port is not None:
            say(f"gRPC: 127.0.0.1:{server.grpc_port}, model {model.name!r}")
        say("A development server, on this machine only. Ctrl-C ends it.")
        with _stopped_by_sigterm(server):
            server.wait()
    return 0


@contextlib.contextmanager
def _stopped_by_sigterm(server: ModelServer) -> Iterator[None]:
    """SIGTERM stops the server; a second one, while it answers open requests, ends it at once."""
    before = signal.signal(signal.SIGTERM, lambda *_: server.stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
