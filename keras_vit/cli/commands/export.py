"""Writes a model as files to deploy, and measures each.

keras-vit export ViT_Ti16 --format savedmodel,tflite,onnx --out exported --check photos/
keras-vit export runs/photos --format tflite --quantize int8,int4 --calibrate photos/train
keras-vit export mine.keras --format onnx --input-range 0 1 --scores sigmoid --opset 17

A .keras file may hold any model that contains one of ours, also one that
returns features or several outputs.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from keras_vit.cli.arguments import AS_THE_RUN, Parser
from keras_vit.cli.output import show
from keras_vit.exports import FORMATS
from keras_vit.exports.deploy import deploy, deployment
from keras_vit.exports.formats import QUANTIZATIONS
from keras_vit.exports.report import table
from keras_vit.predict import load_model
from keras_vit.utils.text import say

# Of the writers, by the same names.
OPTIONS = ("scores", "opset", "pad_to_multiple_of")


def add_arguments(parser: Parser) -> None:
    parser.positional("MODEL", "a model's name, a run folder, a .keras or a checkpoint")
    parser.shared("--weights", weights="(imagenet)")
    parser.add("--input-range", "model", "what it takes as black and as white: 0 1", "LEVEL",
               float, default="(told from the model)", nargs=2)  # fmt: skip
    parser.add("--scores", "model", "what makes scores of outputs: softmax, sigmoid or none",
               "KIND", default="(told from the model)")  # fmt: skip
    parser.shared("--resize", "--interpolation", **AS_THE_RUN)
    parser.add("--calibrate", "data", "photos for int8 and int4, not those of --check", "FOLDER")
    parser.add("--check", "data", "photos, or a folder for each class, to measure with", "FOLDER",
               default="(two that come with scikit-learn)")  # fmt: skip
    parser.add("--format", "output", "what to write, with commas between", "FORMAT", names,
               default=",".join(FORMATS))  # fmt: skip
    parser.add("--quantize", "output",
               f"also as {', '.join(QUANTIZATIONS)} (TFLite; ONNX as dynamic_int8)", "KIND",
               names)  # fmt: skip
    parser.add("--opset", "output", "version of ONNX's operators, 17 or later", "N", int,
               default="(21)")  # fmt: skip
    parser.add("--pad-to-multiple-of", "output", "of tokens, in the ONNX file; 2 for OpenVINO", "N",
               int, default="(1)")  # fmt: skip
    parser.shared("--out", out="exported")
    parser.shared("--overwrite", help="files in the folder may be replaced")


def names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def run(given: dict[str, Any]) -> int:
    source = given["model"]
    options = {name: given[name] for name in OPTIONS if name in given}
    if "input_range" in given:
        options["input_range"] = tuple(given["input_range"])
    wanted = deployment(
        given["out"],
        Path(source).stem,
        given["format"],
        given.get("quantize", ()),
        given.get("calibrate"),
        given.get("overwrite", False),
        **options,
    )
    found = load_model(source, given.get("weights"))
    how = {name: given.get(name, getattr(found, name)) for name in ("resize", "interpolation")}
    wanted = dataclasses.replace(wanted, options={**options, **how})
    measured = deploy(wanted, found.model, found.class_names, given.get("check"))
    show(table(measured))
    if measured[0].agreement is not None:
        say(f"wrote {wanted.picture}")
    return 0
