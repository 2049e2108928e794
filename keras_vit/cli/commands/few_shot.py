"""Says what features are worth: few-shot, linear probe, neighbours.

keras-vit few-shot flowers/ --model ViT_Ti16 --out runs/few_shot
keras-vit few-shot flowers/ --model runs/flowers --shots 1 5 10 25 --seeds 3 --out b

The folder holds `train` and `test` folders of class folders, or only class
folders; then a fifth of the images is held out to test on. The command writes
few_shot.json, few_shot.csv and few_shot.png.
"""

from __future__ import annotations

from typing import Any

from keras_vit.cli.arguments import Parser
from keras_vit.cli.output import show
from keras_vit.evaluate.few_shot import L2, SEEDS, SHOTS
from keras_vit.evaluate.few_shot_report import write_report
from keras_vit.utils.text import say


def add_arguments(parser: Parser) -> None:
    parser.positional("DATA", "a folder, TFRecords, a TensorFlow data set, or digits")
    parser.shared("--model", "--weights", model="ViT_Ti16", weights="(imagenet)")
    parser.shared("--on-error", on_error="(raise)")
    shots = " ".join(map(str, SHOTS))
    parser.add("--shots", "training", "images of each class", "N", int, nargs="+",
               default=f"({shots})")  # fmt: skip
    parser.add("--seeds", "training", "draws of each", "N", int, default=f"({SEEDS})")
    parser.add("--l2", "training", "regularisation of few-shot", "X", float, default=f"({L2:g})")
    parser.shared("--batch-size", batch_size="(32)")
    parser.shared("--out", "--overwrite", out="few_shot")


def run(given: dict[str, Any]) -> int:
    model, data, out = (given.pop(name) for name in ("model", "data", "out"))
    show(write_report(model, data, out, **given).page())
    say(f"wrote few_shot.json, few_shot.csv and few_shot.png in {out}")
    return 0
