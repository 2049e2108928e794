"""Runs both interfaces in one process."""

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
        name: As clients call it. Default: the name of the folder.
        rest_port: Of REST; 0 takes a free one. TF Serving's is 8501.
        grpc_port: Of gRPC; 0 takes a free one, `None` serves no gRPC, which then needs no
            package. TF Serving's is 8500.
        host: Address to listen at; the loopback interface, if you have no reason.
        limits: Of a request.

    Attributes:
        model: The `ServedModel`.
        rest_port, grpc_port: Those that were taken.

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
        """Until Ctrl-C, or until `stop` is called, from a signal handler for example."""
        while self._thread.is_alive() and not self._stopped:
            self._thread.join(0.2)

    def stop(self) -> None:
        """Ends `wait`."""
        self._stopped = True

    def close(self) -> None:
        """Takes no more requests, answers those in flight for `limits.grace` seconds, and ends."""
        ended = None if self._grpc is None else self._grpc.stop(self.model.limits.grace)
        self._rest.drain()
        if ended is not None:
            ended.wait()
        self.model.close()

    def __enter__(self) -> ModelServer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
