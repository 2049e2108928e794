"""Requests per second of an exported SavedModel beside plain ways to serve the same model.

    .venv/bin/python benchmarks/serving.py --model ViT_S16
    .venv/bin/python benchmarks/serving.py --quick

Over REST, with the same server, clients and photos (JPEG, 500x375), by turns:

  ours            `export_saved_model`: image bytes in, the best five classes out
  ours, XLA       the same with `xla=True`
  Keras's export  `model.export`, which takes pixels: the client's bytes are decoded and resized by
                  Pillow in the server before
  Keras predict   `model.predict` in place of a SavedModel, decoded by Pillow as well

Prints the median over the rounds of requests/s, p50 and p99 (milliseconds), and the ratio to
Keras's export, by the round. Exits with 1 if ours is slower than that.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import io
import json
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image

import keras_vit
from keras_vit.exports.saved_model.export import export_saved_model
from keras_vit.exports.saved_model.session import SessionModel
from keras_vit.serving import ModelServer

NAME = "model"


def photo() -> bytes:
    """A JPEG with the detail of a photo: noise, smoothed."""
    noise = np.random.default_rng(0).integers(0, 256, (94, 125, 3), "uint8")
    file = io.BytesIO()
    Image.fromarray(noise).resize((500, 375), Image.Resampling.BICUBIC).save(file, "jpeg")
    return file.getvalue()


def pixels(files, size: tuple[int, int]) -> np.ndarray:
    """What a server without decoding in the graph does: float32 [B, rows, columns, 3]."""
    images = [
        Image.open(io.BytesIO(file)).convert("RGB").resize(size[::-1], Image.Resampling.BILINEAR)
        for file in files
    ]
    return keras_vit.preprocess_input(np.stack(images).astype("float32"))


class Decoding:
    """The session of a server, with decoding by Pillow before and the best five after."""

    def __init__(self, session, scores, size):
        self._session, self._scores, self._size = session, scores, size

    def run(self, inputs, signature, outputs=()):
        scores = self._scores(pixels(inputs["image_bytes"], self._size))
        ids = np.argsort(-scores, axis=1)[:, :5]
        return {"class_ids": ids, "scores": np.take_along_axis(scores, ids, axis=1)}

    def close(self):
        self._session.close()


def serve(folder: Path, scores=None, size=(0, 0)) -> ModelServer:
    server = ModelServer(folder, NAME, rest_port=0, grpc_port=None)
    if scores is not None:
        server.model._session = Decoding(server.model._session, scores, size)
    return server


def load(server: ModelServer, body: bytes, requests: int, clients: int) -> list[float]:
    """Seconds that each request took."""

    def client(_) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", server.rest_port)
        seconds = []
        for _ in range(requests // clients):
            start = time.perf_counter()
            connection.request("POST", f"/v1/models/{NAME}:predict", body)
            response = connection.getresponse()
            answer = json.loads(response.read())
            assert response.status == 200, answer
            seconds.append(time.perf_counter() - start)
        connection.close()
        return seconds

    with ThreadPoolExecutor(clients) as pool:
        return [second for seconds in pool.map(client, range(clients)) for second in seconds]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", default="ViT_S16", choices=sorted(keras_vit.VARIANTS))
    add("--clients", type=int, default=2)
    add("--batch", type=int, default=1, help="photos in a request")
    add("--requests", type=int, default=40, help="of each, in a round")
    add("--rounds", type=int, default=5)
    add("--quick", action="store_true", help="ViT-Ti/16, few requests")
    args = parser.parse_args()
    if args.quick:
        args.model, args.requests, args.rounds = "ViT_Ti16", 20, 3

    # With a softmax; random weights are as fast as trained ones.
    model = getattr(keras_vit, args.model)(weights=None, classifier_activation="softmax")
    size = tuple(model.input_shape[1:3])
    body = json.dumps({"instances": [{"b64": base64.b64encode(photo()).decode()}] * args.batch})

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = export_saved_model(model, folder / "1")
        xla = export_saved_model(model, folder / "2", xla=True)
        theirs = folder / "3"
        model.export(theirs, verbose=False)
        sizes = {path.name: folder_size(path) / 2**20 for path in (ours, theirs)}
        print(f"{args.model} {size[0]}x{size[1]}: ours {sizes['1']:.0f} MiB, Keras's export "
              f"{sizes['3']:.0f} MiB on disk")  # fmt: skip
        plain = scores_of(SessionModel(theirs))
        servers = {
            "ours": serve(ours),
            "ours, XLA": serve(xla),
            "Keras's export": serve(ours, plain, size),
            "Keras predict": serve(ours, lambda x: model.predict(x, verbose=0), size),
        }
        found = measure(servers, body.encode(), args)
        for server in servers.values():
            server.close()

    photos = args.batch
    baseline = found["Keras's export"]
    print(f"{args.clients} clients, {photos} photos a request, median of {args.rounds} rounds of "
          f"{args.requests} requests")  # fmt: skip
    print(f"  {'':16} {'photos/s':>9} {'p50 ms':>8} {'p99 ms':>8}   to Keras's export")
    ratios = {}
    for name, rounds in found.items():
        rate, p50, p99 = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratio = sorted(a[0] / b[0] for a, b in zip(rounds, baseline, strict=True))
        ratios[name] = statistics.median(ratio)
        print(f"  {name:16} {rate * photos:9.1f} {p50 * 1e3:8.1f} {p99 * 1e3:8.1f}   "
              f"{ratios[name]:.2f}x ({ratio[0]:.2f}-{ratio[-1]:.2f})")  # fmt: skip
    reached = ratios["ours"] >= 1
    print(f"{'reached' if reached else 'MISSED'}: ours at least as fast as Keras's export")
    return 0 if reached else 1


def folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def scores_of(session: SessionModel):
    """Pixels to scores by Keras's export."""
    signature = session.signatures["serving_default"]
    (taken,), (given,) = signature.inputs, signature.outputs
    return lambda x: session.run({taken: x})[given]


def measure(servers, body: bytes, args) -> dict[str, list[tuple[float, float, float]]]:
    """Requests/s, p50 and p99 in seconds of each server in each round."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in servers}
    for server in servers.values():  # tracing and compiling
        load(server, body, 2 * args.clients, args.clients)
    for round_number in range(args.rounds):
        # In another order each time: what runs second finds the processor warm.
        names = list(servers)
        names = names[round_number % len(names) :] + names[: round_number % len(names)]
        for name in names:
            start = time.perf_counter()
            seconds = load(servers[name], body, args.requests, args.clients)
            rate = len(seconds) / (time.perf_counter() - start)
            found[name].append((rate, *np.quantile(seconds, (0.5, 0.99))))
    return found


if __name__ == "__main__":
    sys.exit(main())
