"""Fine-tunes a pretrained model on your images, or learns digits.

keras-vit finetune
keras-vit finetune --data photos --out runs/photos

The first command needs no download: in about a minute on two cores a small
model reads 99 % of digits that it has not seen. `photos` is a folder with one
folder of images per class, or with `train` and `test` folders of such. The
second command fine-tunes a pretrained ViT-Ti/16 on it.
"""

from __future__ import annotations

from typing import Any

from keras_vit.cli import training
from keras_vit.cli.arguments import Parser


def add_arguments(parser: Parser) -> None:
    training.add_arguments(
        parser,
        model="(ViT_Ti16; digits small)",
        weights="(imagenet; none: from scratch)",
        recipe="(none, a short one)",
        batch_size="(32; digits 64)",
        steps="(four passes, at least 100; digits 900)",
    )
    parser.add(
        "--freeze",
        "training",
        "what is not trained: all (but the head), embeddings, or N: these and the first N blocks",
        "PART",
        _part,
        default="(nothing)",
    )


def _part(text: str) -> str | int:
    """`all` -> `"all"`; `6` -> 6."""
    return int(text) if text.isdecimal() else text


def run(given: dict[str, Any]) -> int:
    return training.run_training(given)
