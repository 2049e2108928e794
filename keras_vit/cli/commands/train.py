"""Trains a model from random weights, by the papers' recipes.

keras-vit train --data imagenet_tfrecords --model ViT_B16 --out runs/b16
keras-vit train --data imagenet2012 --model ViT_S16 --recipe augreg --augmentation light2
keras-vit train --data photos --strategy cpu --devices 2 --dry-run

`imagenet_tfrecords` is a folder that `keras_vit.data.write_records` has made,
`imagenet2012` the name of a TensorFlow data set, `photos` a folder with one
folder of images per class. Without --data a small model learns handwritten
digits. The recipes are for many images. With a few thousand, use `finetune`
and a pretrained model. --dry-run prints steps, FLOPs and memory, and trains
nothing.
"""

from __future__ import annotations

from typing import Any

from keras_vit.cli import training
from keras_vit.cli.arguments import Parser


def add_arguments(parser: Parser) -> None:
    training.add_arguments(
        parser,
        model="(ViT_S16; digits small)",
        weights="(none, from scratch)",
        recipe="(vit-pretrain; digits none, a short one)",
        batch_size="(256; digits 64)",
        steps="(the recipe's epochs; digits 900)",
    )


def run(given: dict[str, Any]) -> int:
    return training.run_training(given, pretrain=True)
