"""Serves an exported model over REST and gRPC, for development.

keras-vit serve models/vit
curl -s localhost:8501/v1/models/vit:predict -d '{"instances": [{"b64": "'$(base64 -w0 a.jpg)'"}]}'

FOLDER is a SavedModel, or holds versions of one: models/vit/1, models/vit/2.
The interfaces are those of TF Serving. The server is for this machine only,
not for production. Ctrl-C ends it.
"""

from __future__ import annotations

from typing import Any

from keras_vit.cli.arguments import Parser
from keras_vit.serving import ModelServer
from keras_vit.utils.text import say


def add_arguments(parser: Parser) -> None:
    parser.positional("FOLDER", "a SavedModel, or a folder with versions of one")
    parser.add("--name", "model", "as clients call it", "NAME", default="(the folder's)")
    parser.add("--rest-port", "output", "of REST", "PORT", int, default=8501)
    parser.add("--grpc-port", "output", "of gRPC", "PORT", int, default=8500)
    parser.add("--no-grpc", "output", "REST alone, which needs no further package")


def run(given: dict[str, Any]) -> int:
    grpc_port = None if "no_grpc" in given else given["grpc_port"]
    with ModelServer(
        given["folder"], given.get("name"), rest_port=given["rest_port"], grpc_port=grpc_port
    ) as server:
        model = server.model
        say(f"REST: http://127.0.0.1:{server.rest_port}/v1/models/{model.name}:predict")
        if server.grpc_port is not None:
            say(f"gRPC: 127.0.0.1:{server.grpc_port}, model {model.name!r}")
        say("A development server, on this machine only. Ctrl-C ends it.")
        server.wait()
    return 0
