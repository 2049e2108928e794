"""The development server's gRPC, by TensorFlow Serving's own client package."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from support.model_server import BLUE, RED, b64, post


def test_grpc_predicts(grpc, server, session):
    for inputs, signature in (
        ({"image_bytes": [RED, b"no image", BLUE]}, "serving_default"),
        ({"pixels": np.full((2, 32, 48, 3), 99, "uint8")}, "predict_pixels"),
    ):
        expected = session.run(inputs, signature)
        found = grpc.predict(signature, version=7, **inputs)
        assert set(found) == set(expected)
        np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-5)
        np.testing.assert_array_equal(found["labels"], expected["labels"])
    assert set(grpc.predict(outputs=["scores"], image_bytes=[RED])) == {"scores"}


def test_grpc_metadata_and_status(grpc, server):
    request = grpc.api.metadata.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "flowers"
    response = grpc.predictions.GetModelMetadata(request, timeout=20)
    signatures = grpc.api.metadata.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) == {"serving_default", "predict_pixels", "features"}
    request = grpc.api.status.GetModelStatusRequest()
    request.model_spec.name = "flowers"
    (state,) = grpc.models.GetModelStatus(request, timeout=20).model_version_status
    assert state.version == 7
    assert state.state == grpc.api.status.ModelVersionStatus.AVAILABLE


def test_a_value_stands_for_all_of_a_tensor(grpc, session):
    """Few bytes that promise more, within the limits, are TensorFlow's way to write a constant."""
    request = grpc.with_shape("features", "pixels", np.array([7], "uint8"), 2, 32, 48, 3)
    found = grpc.predictions.Predict(request, timeout=20).outputs["features"]
    expected = session.run({"pixels": np.full((2, 32, 48, 3), 7, "uint8")}, "features")
    np.testing.assert_allclose(tf.make_ndarray(found), expected["features"], atol=1e-5)


def test_a_small_message_that_unpacks_to_a_large_one(grpc, server):
    data = grpc.request(image_bytes=[b"\0" * 50_000_000]).SerializeToString()
    status, _ = grpc.send(data, compression=grpc.grpc.Compression.Gzip)
    assert status not in ("OK", "DEADLINE_EXCEEDED")


def test_grpc_does_not_take_other_bytes(grpc, server):
    method = grpc.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc.error):
        method(b"\xff\xff\xff nonsense", timeout=20)
    with socket.create_connection(("127.0.0.1", server.grpc_port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert grpc.predict(image_bytes=[RED])["status"] == [b"ok"]


def test_both_at_a_time(grpc, server, session):
    expected = session.run({"image_bytes": [RED]})["scores"][0]

    def one(i):
        if i % 2:
            return grpc.predict(image_bytes=[RED])["scores"][0]
        return post(server, {"instances": [b64(RED)]})[1]["predictions"][0]["scores"]

    with ThreadPoolExecutor(8) as pool:
        for scores in pool.map(one, range(40)):
            np.testing.assert_allclose(scores, expected, atol=1e-5)
