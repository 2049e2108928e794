"""Many requests from many clients, some of them malformed: is every one answered as it must be?"""

from __future__ import annotations

import dataclasses
import http.client
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from support.malformed import KINDS
from support.model_server import BLUE, RED, GrpcClient, b64

CLIENTS = 8
# One of so many is malformed.
EVERY = 50
PATH = "/v1/models/flowers:predict"
BODIES = [json.dumps({"instances": [b64(image)]}) for image in (RED, BLUE)]


@dataclasses.dataclass
class Soak:
    """What became of the requests.

    Attributes:
        answers: How many were answered as they must be.
        kinds: How many kinds of malformed requests were among them.
        wrong: What is wrong with the others.
        seconds: How long it took.
    """

    answers: int = 0
    kinds: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0


def soak(server, expected, requests, kinds=KINDS, seed=0):
    """Sends them from 8 clients at a time, by REST and by gRPC in turn.

    Args:
        server: Has `rest_port` and `grpc_port`.
        expected: The scores of `RED` and of `BLUE`.
        requests: How many.
        kinds: Of malformed requests.
        seed: Of the order of the malformed kinds.
    """
    kinds = random.Random(seed).sample(kinds, len(kinds))

    def client(first):
        """The requests first, first + 8, ...: a list of `None`, or of what was wrong."""
        grpc = GrpcClient(server.grpc_port)
        rest = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
        found = []
        for i in range(first, requests, CLIENTS):
            if i % EVERY == 0:
                rest.close()  # some take until the server ends connections that say nothing
                found.append(kinds[i // EVERY % len(kinds)].check(server, grpc))
                continue
            image = i // CLIENTS % 2
            try:
                if i % 3:
                    rest.request("POST", PATH, BODIES[image])
                    answer = json.loads(rest.getresponse().read())
                    assert "predictions" in answer, answer
                    scores = answer["predictions"][0]["scores"]
                else:
                    files = [(RED, BLUE)[image]]
                    scores = grpc.predict(image_bytes=files)["scores"][0]
            except Exception as error:  # a lost request is what is looked for
                found.append(f"request {i}: {type(error).__name__}: {error}")
                rest.close()
                continue
            same = np.allclose(scores, expected[image], atol=1e-4)
            found.append(None if same else f"request {i}: {scores}")
        rest.close()
        grpc.channel.close()
        return found

    start = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        found = [each for part in pool.map(client, range(CLIENTS)) for each in part]
    wrong = [each for each in found if each is not None]
    tried = min(len(kinds), -(-requests // EVERY))
    return Soak(len(found) - len(wrong), tried, wrong, time.monotonic() - start)
