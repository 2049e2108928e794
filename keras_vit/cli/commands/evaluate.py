"""Says how often a model is right: top-1, top-5, class by class.

keras-vit evaluate photos/test --model runs/photos
keras-vit evaluate imagenet/val --model ViT_B16 --resize crop --out evaluation
keras-vit evaluate imagenet_v2 --model ViT_S16 --batch-size 64

DATA is a folder with a folder for each class, ImageNet's validation images in
any of their usual layouts, TFRecords of keras_vit, the name of a TensorFlow
data set, or digits.
"""

from __future__ import annotations

from typing import Any

from keras_vit.cli.arguments import AS_THE_RUN, Parser
from keras_vit.cli.output import show
from keras_vit.evaluate.run import run as evaluate_run
from keras_vit.utils.text import say


def add_arguments(parser: Parser) -> None:
    parser.positional("DATA", "a folder, TFRecords, a TensorFlow data set, or digits")
    parser.shared("--model", "--weights", model="ViT_Ti16", weights="(imagenet)")
    parser.add("--class-names", "model", "a name for each output of the model, a line each", "FILE")
    parser.shared("--resize", "--interpolation", **AS_THE_RUN)
    parser.add("--centre", "data", "share of the short side that a crop keeps", "SHARE", float,
               default="(.875)")  # fmt: skip
    parser.add(
        "--split", "data", "of a TensorFlow data set", "NAME", default="(validation or test)"
    )
    parser.add("--truth", "data", "the classes of a flat folder's images", "FILE")
    parser.add("--restrict", "data", "choose among the classes of the data only")
    parser.shared("--on-error", on_error="(raise)")
    parser.shared("--batch-size", batch_size="(32)")
    parser.shared("--strategy", "--devices", "--xla", strategy="(auto, what there is)",
                  devices="(all)", xla="(auto, on GPUs)")  # fmt: skip
    parser.shared("--out", "--overwrite", out="(none)")


def run(given: dict[str, Any]) -> int:
    report = evaluate_run(**given)
    show(report.page())
    if "out" in given:
        say(f"wrote {given['out']}")
    return 0
