"""A development server: an exported SavedModel with the interfaces of TF Serving. Not for
production.

python examples/serve.py models/vit
curl -s localhost:8501/v1/models/vit:predict -d '{"instances": [{"b64": "'$(base64 -w0 a.jpg)'"}]}'
"""

from __future__ import annotations

import argparse
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it logs as errors what is none

from keras_vit.cli.run_command import run_command
from keras_vit.serving import ModelServer


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("folder", help="a SavedModel, or a folder with versions of one: models/vit/1, .../2")
    add("--name", help="as clients call it (default: the name of the folder)")
    add("--rest-port", type=int, default=8501)
    add("--grpc-port", type=int, default=8500)
    add("--no-grpc", action="store_true", help="REST alone, which needs no further package")
    args = parser.parse_args()

    grpc_port = None if args.no_grpc else args.grpc_port
    with ModelServer(
        args.folder, args.name, rest_port=args.rest_port, grpc_port=grpc_port
    ) as server:
        model = server.model
        print(f"REST: http://127.0.0.1:{server.rest_port}/v1/models/{model.name}:predict")
        if server.grpc_port is not None:
            print(f"gRPC: 127.0.0.1:{server.grpc_port}, model {model.name!r}")
        print("A development server, on this machine only. Ctrl-C ends it.", flush=True)
        server.wait()
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
