#!/usr/bin/env python
"""Trains a Vision Transformer from random weights, by the papers' recipes.

    python tools/train.py --data imagenet_tfrecords --model ViT_B16 --out runs/b16
    python tools/train.py --data imagenet2012 --model ViT_S16 --recipe augreg --augmentation light2
    python tools/train.py --data photos --strategy cpu --devices 2 --dry-run

`imagenet_tfrecords` is a folder that `keras_vit.data.write_records` has made, `imagenet2012` the
name of a TensorFlow data set, `photos` a folder with one folder of images per class. Without
--data a small model learns handwritten digits. The recipes are for many images: a pretrained
model learns a few thousand better with tools/finetune.py. --dry-run prints steps, FLOPs and
memory first.

A run that ended before its time, whatever ended it, goes on with the same command. Exit codes:
0 done, 2 an error that is printed, 75 asked to end (SIGTERM) and saved, 130 Ctrl-C.
"""

from __future__ import annotations

import functools
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it logs as errors what is none

from keras_vit.cli import training
from keras_vit.cli.run_command import run_command
from keras_vit.runs import settings_for


def main() -> int:
    return training.main(
        __doc__,
        functools.partial(settings_for, pretrain=True),
        model="ViT_S16",
        weights="none (default), or what to start from: imagenet21k, a file",
        recipe="the default for digits; else it is vit-pretrain",
        steps="the recipe's epochs",
        batch_size="256",
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
