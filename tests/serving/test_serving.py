"""The development server's REST: nothing that a client sends brings it down."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.malformed import KINDS
from support.model_server import BLUE, HEAD, LIMITS, RED, b64, call, connect, post, raw

from keras_vit.serving import ModelServer, RequestError, ServedModel
from keras_vit.serving.json_format import read_inputs, read_request, write_response


def test_rest_by_rows(server, session):
    expected = session.run({"image_bytes": [RED, BLUE]})
    status, answer = post(server, {"instances": [b64(RED), {"image_bytes": b64(BLUE)}][:1]})
    assert status == 200
    (row,) = answer["predictions"]
    assert row["status"] == "ok"
    assert row["labels"] == [label.decode() for label in expected["labels"][0]]
    np.testing.assert_allclose(row["scores"], expected["scores"][0], atol=1e-5)
    named = [{"image_bytes": b64(RED)}, {"image_bytes": b64(BLUE)}]
    _, answer = post(server, {"signature_name": "serving_default", "instances": named})
    assert [row["class_ids"] for row in answer["predictions"]] == expected["class_ids"].tolist()


def test_rest_by_names(server, session):
    expected = session.run({"image_bytes": [RED, BLUE]})
    for inputs in ([b64(RED), b64(BLUE)], {"image_bytes": [b64(RED), b64(BLUE)]}):
        status, answer = post(server, {"inputs": inputs})
        assert status == 200
        assert set(answer["outputs"]) == {"class_ids", "labels", "scores", "status"}
        np.testing.assert_allclose(answer["outputs"]["scores"], expected["scores"], atol=1e-5)


def test_rest_pixels(server, session):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), "uint8")
    expected = session.run({"pixels": pixels}, "features")["features"]
    request = {"signature_name": "features", "instances": pixels.tolist()}
    _, answer = post(server, request, "/v1/models/flowers/versions/7:predict")
    np.testing.assert_allclose(answer["predictions"], expected, atol=1e-5)
    _, answer = post(server, {"signature_name": "features", "inputs": pixels.tolist()})
    np.testing.assert_allclose(answer["outputs"], expected, atol=1e-5)


def test_rest_status_and_metadata(server):
    status, answer = call(server, "/v1/models/flowers")
    assert status == 200
    assert answer["model_version_status"][0]["version"] == "7"
    assert answer["model_version_status"][0]["state"] == "AVAILABLE"
    status, answer = call(server, "/v1/models/flowers/versions/7/metadata")
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["inputs"]["image_bytes"]["dtype"] == "DT_STRING"


def test_a_bad_image_is_told_by_its_status(server):
    status, answer = post(server, {"instances": [b64(RED), b64(b"no image"), b64(RED[:300])]})
    assert status == 200
    statuses = [row["status"] for row in answer["predictions"]]
    assert statuses[0] == "ok"
    assert "not a JPEG" in statuses[1]
    assert "damaged" in statuses[2]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_refuses(server, grpc, kind):
    assert kind.check(server, grpc) is None


def test_a_deadline_for_all_bytes(server):
    """Not for each: a client that sends them one by one does not get forever."""
    start = time.monotonic()
    late = (
        [HEAD, b"Content-Length: 100\r\n\r\n", *[b" "] * 30],
        [HEAD, *[b"a: b\r\n"] * 30],
        [],  # nothing at all
    )
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda parts: raw(server, *parts, pause=0.1), late))
    assert [b" 408 " in answer for answer in answers] == [True, True, False]
    assert answers[2] == b""
    assert time.monotonic() - start < 15


def test_a_connection_is_used_again(server):
    body = json.dumps({"instances": [b64(RED)]}).encode()
    request = HEAD + b"Content-Length: %d\r\n" % len(body)
    bad = HEAD + b"Content-Length: 2\r\n\r\n{}"
    last = request + b"Connection: close\r\n\r\n" + body
    answer = raw(server, request + b"\r\n" + body, bad, last)
    assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"200", b"400", b"200"]


def test_clients_that_go_away(server):
    for parts in ([b""], [b"GET"], [HEAD + b"Content-Length: 100\r\n\r\n"]):
        with connect(server) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(b"".join(parts))


def test_many_at_a_time(server, session):
    expected = session.run({"image_bytes": [RED, BLUE]})["class_ids"].tolist()

    def one(i):
        if i % 4 == 3:
            return post(server, b"{")[0] == 400
        _, answer = post(server, {"instances": [b64((RED, BLUE)[i % 2])]})
        return answer["predictions"][0]["class_ids"] == expected[i % 2]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(64)))


def test_without_the_packages(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(ImportError, match=r"keras-vit-applications\[serving\]"):
        ModelServer(folder, rest_port=0, grpc_port=0)
    with ModelServer(folder, rest_port=0, grpc_port=None) as server:
        assert post(server, {"instances": [b64(RED)]})[0] == 200


def test_a_port_that_is_taken(folder, server):
    with pytest.raises(OSError, match="in use"):
        ModelServer(folder, rest_port=server.rest_port, grpc_port=None)
    with pytest.raises(OSError, match="Cannot listen"):
        ModelServer(folder, rest_port=0, grpc_port=server.grpc_port)


def test_which_folder(folder, tmp_path):
    for name in ("1", "10", "9", "notes", "11"):
        (tmp_path / "m" / name).mkdir(parents=True)
    for name in ("1", "10", "9"):
        os.symlink(folder / "7" / "saved_model.pb", tmp_path / "m" / name / "saved_model.pb")
        os.symlink(folder / "7" / "variables", tmp_path / "m" / name / "variables")
    for path, name, version in (
        (tmp_path / "m", "m", 10),
        (tmp_path / "m" / "9", "m", 9),
        (folder, "flowers", 7),
    ):
        model = ServedModel(path)
        assert (model.name, model.version) == (name, version)
        model.close()
    with pytest.raises(ValueError, match="Expected a SavedModel"):
        ServedModel(tmp_path / "m" / "notes")
    with pytest.raises(ValueError, match="Expected a SavedModel"):
        ServedModel(tmp_path / "none")


def test_json_of_bytes_and_of_one_output(session):
    definition = session.signatures["serving_default"]
    _, request = read_request(b'{"instances": ["text", {"b64": "AP8=\\n"}]}')
    assert read_inputs(request, definition, LIMITS)["image_bytes"].tolist() == [
        b"text",
        b"\x00\xff",
    ]
    files = {"image_bytes": np.array([b"\x00\xff"], object)}
    assert json.loads(write_response(request, files)) == {"predictions": [{"b64": "AP8="}]}
    with pytest.raises(RequestError, match="give the names"):
        read_inputs({"inputs": [1]}, type("Two", (), {"inputs": {"a": 1, "b": 2}}), LIMITS)
