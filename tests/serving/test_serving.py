"""The development server's REST: nothing that a client sends brings it down."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from support.model_server import BLUE, HEAD, RED, b64, call, post, raw
from support.paths import ROOT

from keras_vit.serving import Limits, ModelServer, RequestError, ServedModel
from keras_vit.serving.json_format import read_inputs, read_request, write_response

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports are made from TensorFlow's backend"
)


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


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (b"", "no valid JSON"),
        (b"{", "no valid JSON"),
        (b"\xff\xfe", "no valid JSON"),
        (b"[" * 100_000, "no valid JSON"),
        ([1], "must be a JSON object"),
        ({}, '"instances" or "inputs"'),
        ({"instances": [1], "inputs": [1]}, '"instances" or "inputs"'),
        ({"instances": []}, "not empty"),
        ({"instances": 3}, "must be a list"),
        ({"instances": [3]}, "expected a string"),
        ({"instances": [{"b64": "%%%"}]}, "'image_bytes' is not valid"),
        ({"instances": [{"b64": 3}]}, "expected a string"),
        ({"instances": [["a"], ["b"]]}, "shape"),
        ({"instances": [["a"], "b"]}, "."),
        ({"instances": "abc"}, "must be a list"),
        ({"inputs": "abc"}, "shape"),
        ({"instances": [{"picture": "a"}]}, r"takes \['image_bytes'\]. Received: \['picture'\]"),
        ({"instances": [{"image_bytes": "a"}, {"a": "a"}]}, "same names"),
        ({"inputs": {"image_bytes": ["a"], "x": [1]}}, "Received"),
        ({"signature_name": "nine", "instances": ["a"]}, "no signature 'nine'"),
        ({"signature_name": 9, "instances": ["a"]}, "must be a string"),
        ({"signature_name": "features", "instances": [[[[1, 2, 3]]]]}, "shape"),
        ({"signature_name": "features", "instances": [[1], [2, 3]]}, "'pixels' is not valid"),
        ({"signature_name": "features", "instances": [[[[1, 2, 256]]]]}, "range of uint8"),
        ({"signature_name": "features", "instances": [[[[1, 2, 0.5]]]]}, "numbers of uint8"),
        ({"signature_name": "features", "instances": [[[[1, 2, 10**30]]]]}, "numbers of uint8"),
        ({"signature_name": "features", "instances": ["a"]}, "numbers of uint8"),
    ],
)
def test_rest_refuses(server, request_, message):
    status, answer = post(server, request_)
    assert status == 400
    assert re.search(message, answer["error"]), answer["error"]


@pytest.mark.parametrize(
    ("path", "method", "expected"),
    [
        ("/v1/models/trees:predict", "POST", 404),
        ("/v1/models/flowers/versions/8:predict", "POST", 404),
        ("/v1/models/flowers/versions/x:predict", "POST", 404),
        ("/v1/models/flowers:classify", "POST", 405),
        ("/", "GET", 404),
        ("/v1/models/trees", "GET", 404),
        ("/../../etc/passwd", "GET", 404),
        ("/v1/models/flowers:predict", "GET", 405),
    ],
)
def test_rest_paths(server, path, method, expected):
    body = b'{"instances": ["a"]}' if method == "POST" else None
    status, answer = call(server, path, body)
    assert status == expected
    assert answer["error"]


def test_oversized_bodies(server):
    # Announced and not sent, and sent in full.
    announced = raw(server, HEAD + b"Content-Length: 99999999999\r\n\r\n")
    assert announced.startswith(b"HTTP/1.1 413 ")
    assert b"at most 200000 bytes" in announced
    status, answer = post(server, {"instances": ["a" * 300_000]})
    assert status == 413
    assert "at most 200000 bytes" in answer["error"]


def test_truncated_bodies(server):
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=20) as connection:
        connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answer:
            assert b"ended after 1 of 100 bytes" in answer.read()
    start = time.monotonic()
    answer = raw(server, HEAD + b"Content-Length: 100\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 408 ")
    # Byte by byte: the whole request has a deadline, not each of its bytes.
    parts = [HEAD, b"Content-Length: 100\r\n\r\n", *[b" "] * 30]
    assert b" 408 " in raw(server, *parts, pause=0.1)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (HEAD + b"\r\n", 411),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n0\r\n\r\n", 411),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (HEAD + b"Content-Length: many\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # a client that wants TLS
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"DELETE /v1/models/flowers HTTP/1.1\r\n\r\n", 501),
    ],
)
def test_requests_that_are_none(server, request_, status):
    answer = raw(server, request_)
    assert b" %d " % status in answer.splitlines()[0]
    assert b'{"error": ' in answer


def test_a_connection_is_used_again(server):
    body = json.dumps({"instances": [b64(RED)]}).encode()
    request = HEAD + b"Content-Length: %d\r\n" % len(body)
    bad = HEAD + b"Content-Length: 2\r\n\r\n{}"
    last = request + b"Connection: close\r\n\r\n" + body
    answer = raw(server, request + b"\r\n" + body, bad, last)
    assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"200", b"400", b"200"]


def test_clients_that_go_away(server):
    for parts in ([b""], [b"GET"], [HEAD + b"Content-Length: 100\r\n\r\n"]):
        with socket.create_connection(("127.0.0.1", server.rest_port), timeout=20) as connection:
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


def test_more_than_it_holds(folder):
    limits = Limits(timeout=2.0, held=1)
    with ModelServer(folder, rest_port=0, grpc_port=None, limits=limits) as server:
        with socket.create_connection(("127.0.0.1", server.rest_port), timeout=20) as slow:
            slow.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
            time.sleep(0.3)
            status, answer = post(server, {"instances": [b64(RED)]})
            assert status == 503
            assert "busy" in answer["error"]
        assert server.grpc_port is None
        for _ in range(100):  # until the server has seen that the connection is gone
            status, _ = post(server, {"instances": [b64(RED)]})
            if status != 503:
                break
            time.sleep(0.1)
        assert status == 200


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
    assert read_inputs(request, definition)["image_bytes"].tolist() == [b"text", b"\x00\xff"]
    files = {"image_bytes": np.array([b"\x00\xff"], object)}
    assert json.loads(write_response(request, files)) == {"predictions": [{"b64": "AP8="}]}
    with pytest.raises(RequestError, match="give the names"):
        read_inputs({"inputs": [1]}, type("Two", (), {"inputs": {"a": 1, "b": 2}}))


def test_example(folder):
    script = ROOT / "examples" / "serve.py"
    command = [sys.executable, script, folder, "--rest-port", "0", "--no-grpc"]
    environment = {**os.environ, "PYTHONPATH": str(script.parents[1])}
    # In the background of a shell Ctrl-C is ignored, and what is started there ignores it too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    signal.signal(signal.SIGINT, before)
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.search(r"http://127.0.0.1:(\d+)/v1/models/flowers:predict", line)
        assert match, process.communicate()
        status, _ = call(type("Server", (), {"rest_port": int(match[1])}), "/v1/models/flowers")
        assert status == 200
        assert "development" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Traceback" not in errors
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()
