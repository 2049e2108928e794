#!/usr/bin/env python
"""The protocol of VTAB-1k on photos of your own, which stand in for its tasks.

    python benchmarks/vtab_stand_in.py cifar10/train runs/vtab-stand-in

CIFAR-10 is no task of VTAB, and what this prints is no VTAB score: the code is that of the 19
tasks, the numbers are not. The folder holds a folder of images for each class, 1,300 images at
least. They are stored as a data set of TFDS; the first task is to tell the classes apart, the
second, for CIFAR-10, to tell animals from vehicles.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it logs as errors what is none

from keras_vit.cli.run_command import run_command
from keras_vit.experiments import vtab
from keras_vit.experiments.vtab import labels

VEHICLES = ("airplane", "automobile", "ship", "truck")


def store(folder: Path, data_dir: Path, tests: int) -> tuple[str, ...]:
    """Stores the photos as the TFDS data set `stand_in`; returns the names of the classes."""
    import tensorflow_datasets as tfds

    photos = [(path, path.parent.name) for path in sorted(folder.glob("*/*"))]
    names = tuple(sorted({name for _, name in photos}))
    if not (data_dir / "stand_in" / "1.0.0").exists():
        random.Random(0).shuffle(photos)
        examples = [
            (number, {"image": str(path), "label": name})
            for number, (path, name) in enumerate(photos)
        ]
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=names),
        }
        tfds.dataset_builders.store_as_tfds_dataset(
            name="stand_in",
            version="1.0.0",
            features=tfds.features.FeaturesDict(features),
            split_datasets={"train": examples[tests : tests + 5_000], "test": examples[:tests]},
            data_dir=str(data_dir),
        )
    return names


def tasks(names: tuple[str, ...], tests: int) -> list[vtab.Task]:
    """Rows like those of `vtab.TASKS`."""
    vehicles = [names.index(name) for name in VEHICLES if name in names]

    def is_vehicle(example):
        import tensorflow as tf

        return tf.reduce_any(example["label"] == tf.constant(vehicles, tf.int64))

    def row(name, title, group, label, classes):
        return vtab.Task(
            name, title, group, "stand_in:1.0.0", label, classes,
            {"train": 5_000, "test": tests}, ("train", 90), ("test", 0), True, True,
            "that of the photos", stand_in=True,
        )  # fmt: skip

    found = [row("stand-in-classes", "classes", "natural", labels.CLASS, len(names))]
    if vehicles:
        label = vtab.Label(is_vehicle, {"label": True}, ("animal", "vehicle"))
        found.append(row("stand-in-vehicles", "vehicle?", "specialised", label, 2))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path, help="a folder with a folder for each class")
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="ViT_Ti16")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--tests", type=int, default=500, help="images to test on")
    args = parser.parse_args()
    data_dir = args.out.with_name(f"{args.out.name}.tfds")
    data_dir.mkdir(parents=True, exist_ok=True)
    names = store(args.photos, data_dir, args.tests)
    settings = vtab.Settings(
        args.model,
        args.weights,
        args.image_size,
        args.steps,
        args.batch_size,
        sweep=(args.lr,),
        save_every=20,
    )
    summary = vtab.run(settings, args.out, tasks=tasks(names, args.tests), data_dir=data_dir)
    print(vtab.report_page(summary))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
