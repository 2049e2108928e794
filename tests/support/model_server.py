"""Clients of the development server, which `tests/serving/conftest.py` starts."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from types import SimpleNamespace

import numpy as np
from PIL import Image
from support.paths import ROOT

from keras_vit.serving import Limits

LIMITS = Limits(
    images=8, pixels=100_000, body_bytes=200_000, connections=24, timeout=1.0, running=2, held=16
)


def picture(colour, size=(50, 40), kind="jpeg"):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


RED, BLUE = picture((250, 10, 10)), picture((10, 10, 250))


HEAD = b"POST /v1/models/flowers:predict HTTP/1.1\r\nHost: a\r\n"


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


def call(server, path, body=None):
    """Status and parsed answer."""
    url = f"http://127.0.0.1:{server.rest_port}{path}"
    try:
        with urllib.request.urlopen(url, body, timeout=20) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def post(server, request, path="/v1/models/flowers:predict"):
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return call(server, path, body)


def connect(server):
    return socket.create_connection(("127.0.0.1", server.rest_port), timeout=20)


def received(connection):
    """All that comes until the server closes."""
    answer = b""
    try:
        while chunk := connection.recv(65536):
            answer += chunk
    except ConnectionError:
        pass
    return answer


def raw(server, *parts, pause=0.0, ends=False):
    """Sends bytes as they are; returns all that comes back. `ends`: the client says no more."""
    with connect(server) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass
        return received(connection)


@contextlib.contextmanager
def process_of(folder, *flags):
    """The command in a process of its own: the process, and what has its ports.

    At the end it gets SIGTERM, and must end well.
    """
    script = ROOT / "examples" / "serve.py"
    process = subprocess.Popen(
        [sys.executable, script, folder, "--rest-port=0", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    watchdog = threading.Timer(1200, process.kill)
    watchdog.start()
    try:
        shown = ""
        while "development" not in shown:
            line = process.stdout.readline()
            assert line, process.communicate()
            shown += line
        assert "/v1/models/flowers:predict" in shown
        ports = [int(port) for port in re.findall(r"127.0.0.1:(\d+)", shown)]
        yield process, SimpleNamespace(rest_port=ports[0], grpc_port=ports[-1])
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "Traceback" not in errors
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


class GrpcClient:
    """A client by TensorFlow Serving's own package.

    Attributes:
        api: The messages of requests, by name.
        error: What a call raises that is not answered.
        channel: To the server.
        predictions, models: The stubs of both services.
    """

    def __init__(self, port):
        import grpc
        from tensorflow_serving.apis import (
            get_model_metadata_pb2,
            get_model_status_pb2,
            model_service_pb2_grpc,
            predict_pb2,
            prediction_service_pb2_grpc,
        )

        self.error = grpc.RpcError
        self.grpc = grpc
        self.api = SimpleNamespace(
            predict=predict_pb2, metadata=get_model_metadata_pb2, status=get_model_status_pb2
        )
        self.channel = grpc.insecure_channel(
            f"127.0.0.1:{port}",
            [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)],
        )
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def request(self, signature="", name="flowers", version=None, outputs=(), **inputs):
        import tensorflow as tf

        request = self.api.predict.PredictRequest()
        request.model_spec.name = name
        request.model_spec.signature_name = signature
        if version is not None:
            request.model_spec.version.value = version
        request.output_filter.extend(outputs)
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        return request

    def predict(self, *arguments, **options):
        import tensorflow as tf

        response = self.predictions.Predict(self.request(*arguments, **options), timeout=20)
        return {key: tf.make_ndarray(value) for key, value in response.outputs.items()}

    def send(self, data, method="PredictionService/Predict", **options):
        """The status, and the answer or the sentence that says why there is none."""
        call = self.channel.unary_unary(f"/tensorflow.serving.{method}")
        try:
            answer = call(data, timeout=20, **options)
        except self.error as error:
            return error.code().name, error.details()
        return "OK", answer

    def with_shape(self, signature, name, value, *sides):
        """A request whose shape is not that of its values."""
        request = self.request(signature, **{name: value})
        dims = request.inputs[name].tensor_shape
        del dims.dim[:]
        for side in sides:
            dims.dim.add(size=side)
        return request


def pixels(corner=0, rows=32, columns=48):
    """An image as nested lists, with something else in a corner."""
    image = np.zeros((1, rows, columns, 3), int).tolist()
    image[0][0][0][0] = corner
    return image
