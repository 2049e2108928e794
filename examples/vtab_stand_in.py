"""The protocol of VTAB-1k on photos of your own, which stand in for its tasks.

    python examples/vtab_stand_in.py cifar10/train runs/vtab-stand-in

CIFAR-10 is no task of VTAB, and what this prints is no VTAB score: the code is that of the 19
tasks, the numbers are not. The folder holds a folder of images for each class, 2,500 images at
least. The second task, for CIFAR-10, is to tell animals from vehicles.
"""

import argparse
import random
from pathlib import Path

import tensorflow as tf
import tensorflow_datasets as tfds

from keras_vit.experiments import vtab
from keras_vit.experiments.vtab import labels

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("photos", type=Path, help="class folders of images")
parser.add_argument("out", type=Path, help="folder of the results")
parser.add_argument("--weights", default="imagenet", help="of ViT_Ti16")
arguments = parser.parse_args()

# VTAB's data come from TFDS, so the photos are stored as a data set of TFDS first.
photos = [(path, path.parent.name) for path in sorted(arguments.photos.glob("*/*"))]
names = sorted({name for _, name in photos})
data_dir = arguments.out.with_name(f"{arguments.out.name}.tfds")
if not (data_dir / "stand_in" / "1.0.0").exists():
    random.Random(0).shuffle(photos)
    rows = [(i, {"image": str(path), "label": name}) for i, (path, name) in enumerate(photos)]
    image = tfds.features.Image(shape=(None, None, 3))
    label = tfds.features.ClassLabel(names=names)
    data_dir.mkdir(parents=True, exist_ok=True)
    tfds.dataset_builders.store_as_tfds_dataset(
        "stand_in", "1.0.0", tfds.features.FeaturesDict({"image": image, "label": label}),
        split_datasets={"train": rows[500:5_500], "test": rows[:500]}, data_dir=str(data_dir),
    )  # fmt: skip


def task(name: str, group: str, label: vtab.Label, classes: int) -> vtab.Task:
    return vtab.Task(
        f"stand-in-{name}", name, group, "stand_in:1.0.0", label, classes,
        {"train": 5_000, "test": 500}, ("train", 90), ("test", 0), True, True,
        "that of the photos", stand_in=True,
    )  # fmt: skip


tasks = [task("classes", "natural", labels.CLASS, len(names))]
vehicles = {"airplane", "automobile", "ship", "truck"}.intersection(names)
if vehicles:
    is_vehicle = tf.constant([int(name in vehicles) for name in names])
    label = vtab.Label(lambda row: is_vehicle[row["label"]], {"label": True}, ("animal", "vehicle"))
    tasks.append(task("vehicles", "specialised", label, 2))
settings = vtab.Settings("ViT_Ti16", arguments.weights, 64, 60, 32, sweep=(0.01,), save_every=20)
summary = vtab.run(settings, arguments.out, tasks=tasks, data_dir=data_dir)
print(vtab.report_page(summary))
