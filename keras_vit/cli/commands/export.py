"""Writes a model as files to deploy, and measures each.

keras-vit export ViT_Ti16 --format savedmodel,tflite,onnx --out exported --check photos/
keras-vit export runs/photos --format tflite --quantize int8,int4 --calibrate photos/train
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_vit.cli.arguments import Parser
from keras_vit.cli.output import show
from keras_vit.exports import FORMATS
from keras_vit.exports.deploy import deploy, deployment
from keras_vit.exports.report import table
from keras_vit.exports.tflite.quantize import QUANTIZATIONS
from keras_vit.predict import load_classifier
from keras_vit.utils.text import say


def add_arguments(parser: Parser) -> None:
    parser.positional("MODEL", "a model's name, a run folder, a .keras or a checkpoint")
    parser.shared("--weights", weights="(imagenet)")
    parser.add("--calibrate", "data", "photos for int8 and int4, not those of --check", "FOLDER")
    parser.add("--check", "data", "photos, or a folder for each class, to measure with", "FOLDER")
    parser.add("--format", "output", "what to write, with commas between", "FORMAT", names,
               default=",".join(FORMATS))  # fmt: skip
    parser.add("--quantize", "output", f"TFLite also as {', '.join(QUANTIZATIONS)}", "KIND", names)
    parser.shared("--out", out="exported")
    parser.shared("--overwrite", help="files in the folder may be replaced")


def names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def run(given: dict[str, Any]) -> int:
    stem = Path(given["model"]).stem
    wanted = deployment(
        given["out"],
        stem,
        given["format"],
        given.get("quantize", ()),
        given.get("calibrate"),
        given.get("overwrite", False),
    )
    classifier = load_classifier(given["model"], given.get("weights"))
    show(table(deploy(wanted, classifier.model, classifier.class_names, given.get("check"))))
    say(f"wrote {wanted.picture}")
    return 0
