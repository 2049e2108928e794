"""Images per second of the input pipeline, and how long a training step waits for it.

    .venv/bin/python -m benchmarks.speed.input --photos FOLDER_OF_CLASS_FOLDERS
    .venv/bin/python -m benchmarks.speed.input --quick
    .venv/bin/python -m benchmarks.speed.input --loaders --enlarge 12

By turns, at 224 px, from the same JPEG files (../shared's photos where they are, else generated):

  decode          JPEG decode and a plain resize, nothing random
  fast decode     TensorFlow's fast, inexact decoding of the whole photo, then crop and flip
  crop, flip      ours with `augmentation="none"`
  light1 ...      ours with each row of AugReg
  Keras           `transform=keras.layers.RandAugment(num_ops=2)` in place of ours

First the loaders of timm and torchvision (`make bench-peers`) and ours (crop and flip), each in a
process of its own with as many workers. `--loaders` runs nothing else. `--enlarge 12` makes photos
of 4000 x 3000 pixels or so.

Prints the median over the rounds of images/s, the ratio to plain decoding and to Keras by the
round, and for a small model the share of a training step's time that it waits for data.

Exits with 1 if ours with RandAugment is less than ten times as fast as with Keras's layer, if exact
decoding costs more than 5 % of the images/s of the fast, or if another loader is faster than ours.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from PIL import Image

from benchmarks.common import side_by_side, turns
from benchmarks.common.command import bars, options, start, write
from benchmarks.common.photos import imagenet, noise
from benchmarks.common.side_by_side import Contestant, Goal, judged, race
from keras_vit import ViT
from keras_vit.data import ImageData, from_folder
from keras_vit.data.augment.augmentation import AUGMENTATIONS
from keras_vit.data.random_crop import RandomCrop

BATCH, SIZE = 16, 224
OURS, PLAIN = "ours", "crop, flip"
LOADERS = (  # name, module, options
    (OURS, "loaders", {"library": "ours"}),
    ("timm", "loaders", {"library": "timm"}),
    ("torchvision, Pillow", "loaders", {"library": "pillow"}),
    ("torchvision, tensors", "loaders", {"library": "tensors"}),
)


def photos(folder: Path, enlarge: float) -> Path:
    """Two class folders of JPEG files: ImageNet's photos of 341 x 256 pixels or so, or noise."""
    files = imagenet()
    for i in range(100 if enlarge <= 4 else 20):
        path = folder / "ab"[i % 2] / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        if files and enlarge == 1:
            path.write_bytes(files[i][1])
            continue
        image = Image.open(io.BytesIO(files[i][1])).convert("RGB") if files else noise(i)
        size = (round(image.width * enlarge), round(image.height * enlarge))
        image.resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
    return folder


def decode_only(folder: Path) -> tf.data.Dataset:
    files = tf.data.Dataset.from_tensor_slices(sorted(map(str, folder.rglob("*.*")))).repeat()

    def read(path):
        image = tf.io.decode_jpeg(tf.io.read_file(path), 3)
        return tf.image.resize(image, (SIZE, SIZE)), 0

    return files.map(read, tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)


def fast_decode(folder: Path) -> tf.data.Dataset:
    files = tf.data.Dataset.from_tensor_slices(sorted(map(str, folder.rglob("*.*")))).repeat()

    def read(path, number):
        crop = RandomCrop(tf.stack([tf.constant(0, tf.int64), number]), (SIZE, SIZE))
        return crop.finish(crop.cut(tf.io.decode_jpeg(tf.io.read_file(path), 3))), 0

    numbered = tf.data.Dataset.zip(files, tf.data.Dataset.counter())
    return numbered.map(read, tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)


def loaders(folder: Path, rounds: int, batches: int, workers: int) -> tuple[dict, bool]:
    """Ours beside the others.

    Returns:
        Images/s of each round, by name, and whether ours is the fastest.
    """
    task = {"photos": str(folder.resolve()), "size": SIZE, "batch": BATCH, "batches": batches,
            "workers": workers}  # fmt: skip
    results = race([Contestant(*row) for row in LOADERS], task, rounds, repeats=1)
    print(f"\n{'loaders':32} {'images/s':>9} {'/ ours':>7} {'spread':>11}")
    for name, timing in results.items():
        middle, least, most = side_by_side.ratio(results, name, OURS)
        images = batches * BATCH / timing.median
        print(f"{name:32} {images:9.0f} {middle:7.2f} {least:5.2f}-{most:5.2f}")
    others = tuple(name for name in results if name != OURS)
    reached = judged(results, [Goal((OURS,), others, 1.0)])
    for goal in reached:
        print(
            f"ours is {goal['ratio']:.2f} times as fast as {goal['theirs']}, goal 1.00: "
            f"{'reached' if goal['reached'] else 'missed'}"
        )
    rates = {
        name: [batches * BATCH / seconds for seconds in timing.rounds]
        for name, timing in results.items()
    }
    return rates, all(goal["reached"] for goal in reached)


def rate(iterator, batches: int) -> float:
    """Images per second."""

    def take() -> None:
        for _ in range(batches):
            next(iterator)

    return batches * BATCH / turns.seconds(take)


def waiting(data: ImageData, steps: int) -> float:
    """Share of a step's time, in [0, 1], spent on waiting for the next batch."""
    model: Any = ViT(
        SIZE, patch_size=32, width=64, depth=2, num_heads=2, mlp_dim=128,
        classes=len(data.class_names), include_preprocessing=True,
    )  # fmt: skip
    loss = keras.losses.CategoricalCrossentropy if data.one_hot else None
    loss = loss or keras.losses.SparseCategoricalCrossentropy
    model.compile("sgd", loss(from_logits=True), jit_compile=False)
    iterator = iter(data.training())
    model.train_on_batch(*next(iterator))
    waited = total = 0.0
    for _ in range(steps):
        began = time.perf_counter()
        batch = next(iterator)
        waited += time.perf_counter() - began
        model.train_on_batch(*batch)
        total += time.perf_counter() - began
    return waited / total


def main() -> int:
    parser = options(__doc__)
    add = parser.add_argument
    add("--photos", help="a folder of class folders of JPEG files")
    add("--rounds", type=int, default=5)
    add("--batches", type=int, default=20, help=f"of {BATCH} images of each, in a round")
    add("--enlarge", type=float, default=1, help="times the rows and columns of our photos")
    add("--loaders", action="store_true", help="only the loaders of all libraries")
    add("--workers", type=int, default=2, help="processes or threads of a loader")
    add("--quick", action="store_true", help="three rows, few batches")
    args = parser.parse_args()
    rows = list(AUGMENTATIONS)
    if args.quick:
        rows, args.rounds, args.batches = ["none", "light2", "strong2"], 3, 15
    keras.utils.set_random_seed(0)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(args.photos) if args.photos else photos(Path(temporary), args.enlarge)
        beside, fastest = loaders(folder, args.rounds, args.batches, args.workers)
        if args.loaders:
            medians = {name: statistics.median(values) for name, values in beside.items()}
            panel = (f"from JPEG files to batches of {SIZE} px", "images/s", medians)
            write(args, {"loaders": beside}, lambda: bars([panel]))
            return int(not fastest)
        data = {
            (PLAIN if name == "none" else name): from_folder(
                folder, SIZE, BATCH, augmentation=name, progress=False
            )
            for name in rows
        }
        layer = keras.layers.RandAugment((0, 255), num_ops=2, factor=0.5)
        data["Keras"] = from_folder(folder, SIZE, BATCH, transform=layer, progress=False)
        datasets = {"decode": decode_only(folder), "fast decode": fast_decode(folder)}
        datasets |= {name: of.training() for name, of in data.items()}
        rates: dict[str, list[float]] = {name: [] for name in datasets}
        for number in range(args.rounds + 1):
            for name, dataset in datasets.items():
                # A new iterator: an old one would have batches ready, and go on in the background.
                iterator = iter(dataset)
                next(iterator)
                # Keras's layer is slow: two batches say enough.
                images = rate(iterator, 2 if name == "Keras" else args.batches)
                del iterator
                if number:  # the first round warms up
                    rates[name].append(images)

        def ratio(name: str, to: str) -> float:
            return turns.ratio(rates[name], rates[to])[0]

        print(f"{'':12} {'images/s':>9} {'/ decode':>9} {'/ Keras':>9} {'waits':>7}")
        waits: dict[str, float] = {}
        for name in rates:
            if name in data and (name != "Keras" or not args.quick):
                waits[name] = waiting(data[name], 4 if name == "Keras" else args.batches)
            share = f"{waits[name]:.0%}" if name in waits else ""
            print(
                f"{name:12} {statistics.median(rates[name]):9.0f} {ratio(name, 'decode'):9.2f} "
                f"{ratio(name, 'Keras'):9.1f} {share:>7}"
            )
        shown = {
            f"ours, {name}" if name in AUGMENTATIONS or name == PLAIN else name: statistics.median(
                values
            )
            for name, values in rates.items()
        }
        panel = (f"from JPEG files to batches of {SIZE} px", "images/s", shown)
        found = {"images_per_second": rates, "waits": waits, "loaders": beside}
        write(args, found, lambda: bars([panel]))
        augmented = [name for name in rates if name in AUGMENTATIONS]
        exact = ratio(PLAIN, "fast decode")
        print(
            f"exact decoding has {exact:.2f} times the images/s of the fast, goal 0.95: "
            f"{'reached' if exact >= 0.95 else 'missed'}"
        )
        quick = min(ratio(name, "Keras") for name in augmented) >= 10
        return int(not (fastest and quick and exact >= 0.95))


if __name__ == "__main__":
    start(main)
