"""The development server's gRPC, by TensorFlow Serving's own client package."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.model_server import BLUE, RED, b64, post

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports are made from TensorFlow's backend"
)


@pytest.fixture(scope="module")
def grpc_apis(server):
    import grpc
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

    class Apis:
        error = grpc.RpcError
        channel = grpc.insecure_channel(
            f"127.0.0.1:{server.grpc_port}", [("grpc.max_send_message_length", -1)]
        )
        predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        metadata_pb2, status_pb2 = get_model_metadata_pb2, get_model_status_pb2

        @staticmethod
        def request(signature="", name="flowers", version=None, outputs=(), **inputs):
            request = predict_pb2.PredictRequest()
            request.model_spec.name = name
            request.model_spec.signature_name = signature
            if version is not None:
                request.model_spec.version.value = version
            request.output_filter.extend(outputs)
            for key, value in inputs.items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
            return request

        def predict(self, *arguments, **options):
            request = self.request(*arguments, **options)
            response = self.predictions.Predict(request, timeout=20)
            return {key: tf.make_ndarray(value) for key, value in response.outputs.items()}

        def refused(self, request):
            with pytest.raises(self.error) as caught:
                self.predictions.Predict(request, timeout=20)
            return caught.value.code().name, caught.value.details()

    with Apis.channel:
        yield Apis()


def test_grpc_predicts(grpc_apis, server, session):
    for inputs, signature in (
        ({"image_bytes": [RED, b"no image", BLUE]}, "serving_default"),
        ({"pixels": np.full((2, 32, 48, 3), 99, "uint8")}, "predict_pixels"),
    ):
        expected = session.run(inputs, signature)
        found = grpc_apis.predict(signature, version=7, **inputs)
        assert set(found) == set(expected)
        np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-5)
        np.testing.assert_array_equal(found["labels"], expected["labels"])
    assert set(grpc_apis.predict(outputs=["scores"], image_bytes=[RED])) == {"scores"}


def test_grpc_metadata_and_status(grpc_apis, server):
    request = grpc_apis.metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "flowers"
    response = grpc_apis.predictions.GetModelMetadata(request, timeout=20)
    signatures = grpc_apis.metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) == {"serving_default", "predict_pixels", "features"}
    request = grpc_apis.status_pb2.GetModelStatusRequest()
    request.model_spec.name = "flowers"
    (state,) = grpc_apis.models.GetModelStatus(request, timeout=20).model_version_status
    assert state.version == 7
    assert state.state == grpc_apis.status_pb2.ModelVersionStatus.AVAILABLE


def test_grpc_refuses(grpc_apis, server):
    request, refused = grpc_apis.request, grpc_apis.refused
    assert refused(request(name="trees", image_bytes=[RED]))[0] == "NOT_FOUND"
    assert refused(request(version=8, image_bytes=[RED]))[0] == "NOT_FOUND"
    wrong = [
        (request("nine", image_bytes=[RED]), "no signature"),
        (request(picture=[RED]), "Received: ['picture']"),
        (request(), "takes ['image_bytes']"),
        (request(image_bytes=[[RED]]), "shape"),
        (request(image_bytes=RED), "shape"),
        (request(image_bytes=[1.5]), "must be string"),
        (request("features", pixels=np.zeros((1, 2, 3, 4), "uint8")), "shape"),
        (request("features", pixels=np.zeros((1, 32, 48, 3), "float32")), "must be uint8"),
        (request(outputs=["logits"], image_bytes=[RED]), "Asked for: ['logits']"),
    ]
    huge = request("features", pixels=np.zeros((1, 1, 1, 1), "uint8"))
    huge.inputs["pixels"].tensor_shape.dim[0].size = 10**12
    negative = request("features", pixels=np.zeros((1, 1, 1, 1), "uint8"))
    negative.inputs["pixels"].tensor_shape.dim[0].size = -1
    truncated = request("features", pixels=np.zeros((1, 32, 48, 3), "uint8"))
    truncated.inputs["pixels"].tensor_content = b"\0\0"
    nonsense = request(image_bytes=[RED])
    nonsense.inputs["image_bytes"].dtype = 77
    wrong += [(huge, "larger"), (negative, "not known"), (truncated, "not valid"), (nonsense, "")]
    for message, text in wrong:
        code, details = refused(message)
        assert code == "INVALID_ARGUMENT"
        assert text in details
    code, _ = refused(request(image_bytes=[b"a" * 300_000]))
    assert code == "RESOURCE_EXHAUSTED"


def test_grpc_does_not_take_other_bytes(grpc_apis, server):
    method = grpc_apis.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc_apis.error):
        method(b"\xff\xff\xff nonsense", timeout=20)
    with socket.create_connection(("127.0.0.1", server.grpc_port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert grpc_apis.predict(image_bytes=[RED])["status"] == [b"ok"]


def test_both_at_a_time(grpc_apis, server, session):
    expected = session.run({"image_bytes": [RED]})["scores"][0]

    def one(i):
        if i % 2:
            return grpc_apis.predict(image_bytes=[RED])["scores"][0]
        return post(server, {"instances": [b64(RED)]})[1]["predictions"][0]["scores"]

    with ThreadPoolExecutor(8) as pool:
        for scores in pool.map(one, range(40)):
            np.testing.assert_allclose(scores, expected, atol=1e-5)
