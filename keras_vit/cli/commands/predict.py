"""Says what is on photos.

keras-vit predict cat.jpg dog.png
keras-vit predict cat.jpg --model runs/photos
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

from keras_vit.cli.arguments import AS_THE_RUN, Parser
from keras_vit.predict import classify, load_classifier, write_csv
from keras_vit.utils.text import printable, say


def add_arguments(parser: Parser) -> None:
    parser.positional("PHOTO", "image files", nargs="+")
    parser.shared("--model", "--weights", model="ViT_Ti16", weights="(imagenet)")
    parser.shared("--resize", "--interpolation", **AS_THE_RUN)
    parser.add("--top", "output", "classes to name", "N", int, default=5)
    parser.add("--csv", "output", "also write the predictions to this file", "FILE")


def run(given: dict[str, Any]) -> int:
    classifier = load_classifier(given["model"], given.get("weights"))
    how = {name: given[name] for name in ("resize", "interpolation") if name in given}
    classifier = dataclasses.replace(classifier, **how)
    predictions, unreadable = classify(classifier, given["photo"], given["top"])
    for prediction in predictions:
        say(printable(prediction.path))
        for name, probability in prediction.top:
            say(f"  {100 * probability:5.1f} %  {printable(name)}")
    if "csv" in given:
        write_csv(given["csv"], predictions)
    for path, reason in unreadable.items():
        say(f"error: {printable(path)} cannot be read: {reason}", file=sys.stderr)
    return 2 if unreadable else 0
