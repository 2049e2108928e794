"""Runs the REST and the gRPC interface in one process."""

from __future__ import annotations

import os
import threading
from typing import Any

from keras_vit.serving.grpc_service import start_grpc
from keras_vit.serving.limits import Limits
from keras_vit.serving.model import ServedModel
from keras_vit.serving.rest import RestServer


class ModelServer:
    """Serves a SavedModel until it is closed: `with ModelServer("models/vit") as server:`.

    Args:
        folder: As in `ServedModel`.
        name: The name that clients use. Default: the name of the folder.
        rest_port: Port of REST; 0 takes a free one. TF Serving uses 8501.
        grpc_port: Port of gRPC; 0 takes a free one. `None` serves only REST, and needs no package
            for gRPC. TF Serving uses 8500.
        host: Address to listen at. Keep the loopback interface unless you have a reason.
        limits: Limits of a request.

    Attributes:
        model: The `ServedModel`.
        rest_port, grpc_port: The ports in use.

    Raises:
        ValueError: If there is no SavedModel in the folder.
        ImportError: If the packages for gRPC are not installed.
        OSError: If a port is taken.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        name: str | None = None,
        *,
        rest_port: int = 8501,
        grpc_port: int | None = 8500,
        host: str = "127.0.0.1",
        limits: Limits | None = None,
    ):
        self._grpc: Any = None
        self._stopped = False
        self.grpc_port: int | None = None
        self.model = ServedModel(folder, name, limits)
        try:
            self._rest = RestServer(self.model, (host, rest_port))
            try:
                if grpc_port is not None:
                    self._grpc, self.grpc_port = start_grpc(self.model, host, grpc_port)
            except BaseException:
                self._rest.server_close()
                raise
        except BaseException:
            self.model.close()
            raise
        self.rest_port: int = self._rest.server_address[1]
        self._thread = threading.Thread(target=self._rest.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Waits until Ctrl-C, or until `stop` is called, from a signal handler for example."""
        while self._thread.is_alive() and not self._stopped:
            self._thread.join(0.2)

    def stop(self) -> None:
        """Ends `wait`."""
        self._stopped = True

    def close(self) -> None:
        """Takes no new requests, answers open ones for at most `limits.grace` seconds, and ends."""
        ended = None if self._grpc is None else self._grpc.stop(self.model.limits.grace)
        self._rest.drain()
        if ended is not None:
            ended.wait()
        self.model.close()

    def __enter__(self) -> ModelServer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
