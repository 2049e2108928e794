"""What more data are worth to a ViT and to a BiT of the same compute, on a scale of hours.

    python examples/data_scaling.py cifar10 --out runs/data_scaling

`cifar10` is a folder of class folders. Both models see images of 64 pixels, start from random
weights and take 23 million multiply-accumulates for an image. The same command goes on where a run
was ended; see `keras_vit.experiments.data_scaling`.
"""

import argparse

import numpy as np

from keras_vit import data
from keras_vit.experiments import data_scaling
from keras_vit.models import BiTConfig, ViTConfig

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", help="class folders of images")
parser.add_argument("--out", default="runs/data_scaling", help="folder of the table and picture")
parser.add_argument("--counts", nargs="+", type=int, default=[1_000, 3_000, 10_000, 45_000])
parser.add_argument(
    "--teraflops", nargs="+", type=float, default=[6, 24], help="1e12 operations of a training"
)
arguments = parser.parse_args()

experiment = data_scaling.Experiment(
    families={
        "ViT": ViTConfig(patch_size=8, width=64, depth=4, num_heads=2, mlp_dim=256),
        "BiT": BiTConfig(block_sizes=(1, 1, 1), width_factor=0.5),
    },
    counts=arguments.counts,
    teraflops=arguments.teraflops,
    learning_rates=[0.000_25, 0.001, 0.004, 0.016],
)


def arrays(batches):
    images, labels = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(images).round().astype("uint8"), np.concatenate(labels)


# A tenth is held out: 5,000 of CIFAR-10's 50,000 training images.
found = data.from_folder(arguments.folder, image_size=32, batch_size=500, validation_share=0.1)
rows = data_scaling.run(
    experiment,
    arrays(found.train_as_validation),
    arrays(found.validation),
    found.class_names,
    arguments.out,
)
for row in data_scaling.chosen_rows(rows):
    print(
        f"{row.family}  {row.images:6,} images  {1e6 * row.exaflops:6.2f} x 1e12 operations  "
        f"{100 * row.accuracy:.1f} %"
    )
