"""Requests per second of an exported SavedModel beside plain ways to serve the same model.

    .venv/bin/python -m benchmarks.speed.serving --model ViT_S16
    .venv/bin/python -m benchmarks.speed.serving --quick

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

import base64
import http.client
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

import keras_vit
from benchmarks.common import turns
from benchmarks.common.command import options, start
from benchmarks.common.photos import noise
from keras_vit.exports.saved_model.export import export_saved_model
from keras_vit.exports.saved_model.session import SessionModel
from keras_vit.serving import ModelServer

NAME = "model"
Scores = Callable[[np.ndarray], np.ndarray]


def photo() -> bytes:
    """A JPEG."""
    file = io.BytesIO()
    noise().save(file, "jpeg")
    return file.getvalue()


def pixels(files, size: tuple[int, int]) -> np.ndarray:
    """What a server without decoding in the graph does: float32 [B, rows, columns, 3]."""
    rows, columns = size
    images = [
        Image.open(io.BytesIO(file))
        .convert("RGB")
        .resize((columns, rows), Image.Resampling.BILINEAR)
        for file in files
    ]
    return keras_vit.preprocess_input(np.stack([np.asarray(each, "float32") for each in images]))


def decoding(scores: Scores, size: tuple[int, int]):
    """`ServedModel.predict` with decoding by Pillow before and the best five after."""

    def predict(signature, inputs, outputs=()):
        found = scores(pixels(inputs["image_bytes"], size))
        ids = np.argsort(-found, axis=1)[:, :5]
        return {"class_ids": ids, "scores": np.take_along_axis(found, ids, axis=1)}

    return predict


def serve(folder: Path, scores: Scores | None = None, size=(0, 0)) -> ModelServer:
    server = ModelServer(folder, NAME, rest_port=0, grpc_port=None)
    if scores is not None:
        server.model.predict = decoding(scores, size)
    return server


def load(server: ModelServer, body: bytes, requests: int, clients: int) -> list[float]:
    """Seconds that each request took."""

    def client(_) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", server.rest_port)

        def ask() -> None:
            connection.request("POST", f"/v1/models/{NAME}:predict", body)
            response = connection.getresponse()
            answer = json.loads(response.read())
            assert response.status == 200, answer

        found = [turns.seconds(ask) for _ in range(requests // clients)]
        connection.close()
        return found

    with ThreadPoolExecutor(clients) as pool:
        return [second for seconds in pool.map(client, range(clients)) for second in seconds]


def main() -> int:
    parser = options(__doc__, results=False)
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
    size = model.input_shape[1:3]
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
        ratio, least, most = turns.ratio(
            [found[0] for found in rounds], [found[0] for found in baseline]
        )
        ratios[name] = ratio
        print(f"  {name:16} {rate * photos:9.1f} {p50 * 1e3:8.1f} {p99 * 1e3:8.1f}   "
              f"{ratio:.2f}x ({least:.2f}-{most:.2f})")  # fmt: skip
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
    start(main)
