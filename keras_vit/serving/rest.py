"""TF Serving's REST interface: status, metadata and prediction of one model.

    GET  /v1/models/NAME[/versions/N]
    GET  /v1/models/NAME[/versions/N]/metadata
    POST /v1/models/NAME[/versions/N]:predict

Errors are `{"error": "..."}` with a status of 400 or more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from google.protobuf import json_format as protobuf_json

from keras_vit.serving.http_server import Handler, HttpError, HttpServer, logger
from keras_vit.serving.json_format import read_inputs, read_request, write_response
from keras_vit.serving.limits import RequestError
from keras_vit.serving.model import ServedModel

_PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/([0-9]{1,18}))?(/metadata|:[a-z]+)?")

_STATUS = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 413,
    "CANCELLED": 499,  # nobody reads it
    "UNAVAILABLE": 503,
    "INTERNAL": 500,
}


class RestServer(HttpServer):
    """The REST interface of one model.

    Args:
        model: The model to serve. Closing the server does not close it.
        address: (host, port); port 0 takes a free one.
    """

    def __init__(self, model: ServedModel, address: tuple[str, int]):
        self.model = model
        super().__init__(address, _Handler, model.limits)


class _Handler(Handler):
    server: RestServer

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, method: Callable[[], None]) -> None:
        try:
            method()
        except RequestError as error:
            body = json.dumps({"error": str(error)}).encode()
            self.send_json(_STATUS[error.code], body)
        except (HttpError, OSError):
            raise
        except Exception:
            logger.exception("a request failed")
            self.send_error(500, "The server failed; its log says why.")

    def _get(self) -> None:
        if self.headers.get("Content-Length", "0") != "0":
            self.close_connection = True  # nobody reads that body
        action = self._target()
        model = self.server.model
        if action == "":
            status = {"error_code": "OK", "error_message": ""}
            state = {"version": str(model.version), "state": "AVAILABLE", "status": status}
            answer = {"model_version_status": [state]}
        elif action == "/metadata":
            spec = {"name": model.name, "signature_name": "", "version": str(model.version)}
            signatures = {
                name: protobuf_json.MessageToDict(definition, preserving_proto_field_name=True)
                for name, definition in model.signatures.items()
            }
            metadata = {"signature_def": {"signature_def": signatures}}
            answer = {"model_spec": spec, "metadata": metadata}
        else:
            raise HttpError(405, f"Use POST for {self.path[:200]}.")
        self.send_json(200, json.dumps(answer).encode())

    def _post(self) -> None:
        model, limits = self.server.model, self.server.limits
        with self.server.hold():
            body = self.body()
            # Checked after the body is read, so that the connection can be used again.
            if self._target() != ":predict":
                raise HttpError(405, f"Use GET for {self.path[:200]}.")
            with model.places.take(limits.timeout, self.is_there):
                signature, request = read_request(body)
                inputs = read_inputs(request, model.signature(signature), limits)
                answer = write_response(request, model.predict(signature, inputs))
            self.send_json(200, answer)

    def _target(self) -> str:
        """What the path asks of the model; raises for another model."""
        match = _PATH.fullmatch(self.path.partition("?")[0])
        if match is None:
            raise RequestError(
                "NOT_FOUND",
                f"There is no {self.path[:200]!r}; there is /v1/models/{self.server.model.name}.",
            )
        name, version, action = match.groups()
        self.server.model.check(name, None if version is None else int(version))
        return action or ""
