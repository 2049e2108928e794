"""The development server: what one client may cost the others, and how it ends."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.model_server import (
    HEAD,
    LIMITS,
    RED,
    GrpcClient,
    b64,
    call,
    connect,
    post,
    process_of,
    received,
)

from keras_vit.cli.main import main
from keras_vit.serving import Limits, ModelServer
from keras_vit.serving.limits import RequestError
from keras_vit.serving.places import Places

GOOD = {"instances": [b64(RED)]}


class Blocked:
    """A server whose model does not answer before `go`.

    Attributes:
        server: The `ModelServer`.
        grpc: A client of it.
        runs: Counts the requests that have begun to run.
    """

    def __init__(self, folder, **limits):
        limits = dataclasses.replace(LIMITS, timeout=20.0, **limits)
        self.server = ModelServer(folder, rest_port=0, grpc_port=0, limits=limits)
        self.grpc = GrpcClient(self.server.grpc_port)
        self.go = threading.Event()
        self.runs = threading.Semaphore(0)
        predict = self.server.model.predict

        def blocked(*arguments):
            self.runs.release()
            assert self.go.wait(60)
            return predict(*arguments)

        self.server.model.predict = blocked
        self.pool = ThreadPoolExecutor(8)

    def rest(self):
        return self.pool.submit(post, self.server, GOOD)

    def call(self):
        """A gRPC call that is not waited for."""
        return self.grpc.predictions.Predict.future(self.grpc.request(image_bytes=[RED]))

    def close(self):
        self.go.set()
        self.pool.shutdown()
        self.grpc.channel.close()


@pytest.fixture
def blocked(folder):
    pytest.importorskip("tensorflow_serving.apis")
    made = []

    def make(**limits):
        made.append(Blocked(folder, **limits))
        return made[-1]

    yield make
    for each in made:
        each.close()
        each.server.close()


def until(condition):
    """Waits for what comes soon."""
    for _ in range(400):
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_cancelled_calls_free_their_place(blocked):
    it = blocked(running=1, held=2)
    first = it.call()
    it.runs.acquire()
    for _ in range(5):  # each takes the second place in memory, waits, and gives it back
        second = it.call()
        assert until(lambda: _is_full(it))
        second.cancel()
        assert until(lambda: not _is_full(it))
    # A client of REST that waits and closes its connection.
    for _ in range(3):
        with connect(it.server) as connection:
            body = b'{"instances": ["a"]}'
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            time.sleep(0.2)
    assert until(lambda: it.server._rest._places._value == 2)
    it.go.set()
    assert first.result(20).outputs["status"].string_val == [b"ok"]
    assert it.rest().result(20)[0] == 200
    assert it.runs._value == 1  # what was cancelled did not run


def _is_full(it):
    """Whether a call that asks for another model is refused for want of a place in memory."""
    request = it.grpc.api.status.GetModelStatusRequest()
    request.model_spec.name = "flowers"
    status, _ = it.grpc.send(request.SerializeToString(), "ModelService/GetModelStatus")
    return status == "RESOURCE_EXHAUSTED"


def test_more_than_it_holds(blocked):
    it = blocked(running=1, held=1)
    first, second = it.rest(), it.call()
    it.runs.acquire()
    assert until(lambda: _is_full(it))
    assert until(lambda: it.server._rest._places._value == 0)
    status, answer = post(it.server, GOOD)
    assert status == 503
    assert "busy" in answer["error"]
    it.go.set()
    assert first.result(20)[0] == 200
    assert second.result(20)


def test_more_connections_than_it_has(folder):
    limits = dataclasses.replace(LIMITS, connections=2, timeout=20.0)
    with ModelServer(folder, rest_port=0, grpc_port=0, limits=limits) as server:
        with connect(server), connect(server):
            assert until(lambda: len(server._rest._in_flight) == 2)
            with connect(server) as third:
                third.sendall(b"GET /v1/models/flowers HTTP/1.1\r\n\r\n")
                answer = received(third)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"2 connections" in answer
        assert until(lambda: call(server, "/v1/models/flowers")[0] == 200)
        clients = [GrpcClient(server.grpc_port) for _ in range(3)]
        found = []
        for client in clients:
            try:
                client.predict(image_bytes=[RED])
                found.append("OK")
            except client.error as error:
                found.append(error.code().name)
        assert found == ["OK", "OK", "UNAVAILABLE"]
        for client in clients:
            client.channel.close()


def test_a_grpc_message_that_does_not_come(server, grpc):
    silent = threading.Event()

    def messages():
        silent.wait(20)
        yield from ()

    method = "/tensorflow.serving.PredictionService/Predict"
    with pytest.raises(grpc.error) as caught:
        grpc.channel.stream_unary(method)(messages(), timeout=20)
    silent.set()
    assert caught.value.code().name == "DEADLINE_EXCEEDED"
    assert "did not arrive" in caught.value.details()


def test_it_answers_what_is_in_flight(blocked):
    it = blocked(running=2)
    running = [it.rest(), it.rest()]
    for _ in running:
        it.runs.acquire()
    waiting = [it.rest(), it.rest()]
    calls = [it.call(), it.call()]
    assert until(lambda: len(it.server.model.places._waiting) == 4)
    with connect(it.server) as idle, connect(it.server) as arriving:
        arriving.sendall(b"GET /v1/models/flowers HTTP/1.1\r\n")
        closing = it.pool.submit(it.server.close)
        assert until(lambda: it.server._rest.ends)
        assert idle.recv(1) == b""
        with pytest.raises(OSError):
            connect(it.server)
        arriving.sendall(b"\r\n")
        answer = received(arriving)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"Connection: close" in answer
        it.go.set()
        assert [each.result(20)[0] for each in running + waiting] == [200] * 4
        for each in calls:
            assert each.result(20).outputs["status"].string_val == [b"ok"]
        closing.result(20)


def test_the_grace_ends(blocked):
    it = blocked(running=1, grace=0.5)
    call_, answer = it.call(), it.rest()
    it.runs.acquire()
    start = time.monotonic()
    it.pool.submit(it.server.close).result(20)
    assert time.monotonic() - start < 10
    assert call_.exception(20) is not None
    it.go.set()
    answer.exception(20)


def test_places_in_turn():
    places, order = Places(1), []
    go = threading.Event()

    def hold(i):
        with places.take(20, lambda: True):
            order.append(i)
            go.wait(20)

    threads = []
    for i in range(4):
        threads.append(threading.Thread(target=hold, args=(i,)))
        threads[-1].start()
        assert until(lambda i=i: len(order) + len(places._waiting) == i + 1)
    with pytest.raises(RequestError, match="gone"), places.take(20, lambda: False):
        pass
    with pytest.raises(RequestError, match="busy"), places.take(0.01, lambda: True):
        pass
    go.set()
    for thread in threads:
        thread.join(20)
    assert order == [0, 1, 2, 3]
    with places.take(0, lambda: False):  # free: nobody is asked
        pass


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"images": 0}, "`images` must be a positive integer"),
        ({"held": 1.5}, "`held` must be a positive integer"),
        ({"timeout": 0.0}, "`timeout` must be a positive number"),
        ({"grace": float("inf")}, "`grace` must be a positive number"),
    ],
)
def test_limits_are_checked(limits, message):
    with pytest.raises(ValueError, match=message):
        Limits(**limits)


def test_the_command_has_the_limits(folder, monkeypatch, capsys):
    servers = []
    monkeypatch.setattr(ModelServer, "wait", lambda self: servers.append(self))
    ports = ["--rest-port", "0", "--no-grpc"]
    assert main(["serve", str(folder), *ports, "--images", "3", "--timeout", "2.5"]) == 0
    assert servers[0].model.limits == Limits(images=3, timeout=2.5)

    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(ModelServer, "wait", interrupted)
    assert main(["serve", str(folder), *ports]) == 130
    assert main(["serve", str(folder), "--images", "0"]) == 2
    assert "`images` must be a positive integer" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(Limits):
        assert f"--{field.name.replace('_', '-')} " in shown
        assert f"(default: {field.default})" in shown


def test_sigterm_to_the_command(folder):
    """A request is half there when the signal comes."""
    with process_of(folder, "--no-grpc") as (process, server):
        assert call(server, "/v1/models/flowers")[0] == 200
        with connect(server) as connection:
            body = b'{"instances": ["a"]}'
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:5])
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            connection.sendall(body[5:])
            answer = received(connection)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"not a JPEG" in answer
        process.wait(60)
