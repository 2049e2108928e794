"""Images per second of the input pipeline, and how long a training step waits for it.

    .venv/bin/python -m benchmarks.speed.input --photos FOLDER_OF_CLASS_FOLDERS
    .venv/bin/python -m benchmarks.speed.input --quick

By turns, at 224 px, from the same JPEG files (../shared's photos where they are, else generated):

  decode          JPEG decode and a plain resize, nothing random
  crop, flip      ours with `augmentation="none"`
  light1 ...      ours with each row of AugReg
  Keras           `transform=keras.layers.RandAugment(num_ops=2)` in place of ours

Prints the median over the rounds of images/s, the ratio to plain decoding and to Keras by the
round, and for a small model the share of a training step's time that it waits for data. Exits
with 1 if ours with RandAugment is less than ten times as fast as with Keras's layer.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from benchmarks.common import turns
from benchmarks.common.command import bars, options, start, write
from benchmarks.common.photos import imagenet, noise
from keras_vit import ViT
from keras_vit.data import ImageData, from_folder
from keras_vit.data.augment.augmentation import AUGMENTATIONS

BATCH, SIZE = 16, 224


def photos(folder: Path) -> Path:
    """Two class folders of JPEG files of 500 x 375 pixels or so."""
    files = imagenet()
    for i in range(100):
        path = folder / "ab"[i % 2] / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        if files:
            path.write_bytes(files[i][1])
        else:
            noise(i).save(path)
    return folder


def decode_only(folder: Path) -> tf.data.Dataset:
    files = tf.data.Dataset.from_tensor_slices(sorted(map(str, folder.rglob("*.*")))).repeat()

    def read(path):
        image = tf.io.decode_jpeg(tf.io.read_file(path), 3)
        return tf.image.resize(image, (SIZE, SIZE)), 0

    return files.map(read, tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)


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
    add("--quick", action="store_true", help="three rows, few batches")
    args = parser.parse_args()
    rows = list(AUGMENTATIONS)
    if args.quick:
        rows, args.rounds, args.batches = ["none", "light2", "strong2"], 3, 15
    keras.utils.set_random_seed(0)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(args.photos) if args.photos else photos(Path(temporary))
        data = {
            ("crop, flip" if name == "none" else name): from_folder(
                folder, SIZE, BATCH, augmentation=name, progress=False
            )
            for name in rows
        }
        layer = keras.layers.RandAugment((0, 255), num_ops=2, factor=0.5)
        data["Keras"] = from_folder(folder, SIZE, BATCH, transform=layer, progress=False)
        datasets = {"decode": decode_only(folder)}
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
            name if name in ("decode", "Keras") else f"ours, {name}": statistics.median(values)
            for name, values in rates.items()
        }
        panel = (f"from JPEG files to batches of {SIZE} px", "images/s", shown)
        found = {"images_per_second": rates, "waits": waits}
        write(args, found, lambda: bars([panel]))
        augmented = [name for name in rates if name in AUGMENTATIONS]
        return int(min(ratio(name, "Keras") for name in augmented) < 10)


if __name__ == "__main__":
    start(main)
