#!/usr/bin/env python
"""Trains a Vision Transformer on your images, or on handwritten digits.

    python tools/finetune.py
    python tools/finetune.py --data photos --out runs/photos

The first command needs no download: in about a minute on two cores a small model reads 98 % of
digits that it has not seen. `photos` is a folder with one folder of images per class, or with
`train` and `test` folders of such; a pretrained ViT-Ti/16 is fine-tuned on it.

A run that ended before its time, whatever ended it, goes on with the same command. Exit codes:
0 done, 2 an error that is printed, 75 asked to end (SIGTERM) and saved, 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it logs as errors what is none

from keras_vit.cli import training
from keras_vit.cli.run_command import run_command
from keras_vit.runs import settings_for


def main() -> int:
    return training.main(
        __doc__,
        settings_for,
        model="ViT_Ti16",
        weights="imagenet (default for photos), imagenet21k, a file; none: from scratch",
        recipe="the default",
        steps="four passes, at least 100",
        batch_size="32",
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
