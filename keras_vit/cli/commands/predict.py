"""Says what is on photos.

keras-vit predict cat.jpg dog.png
keras-vit predict cat.jpg --model runs/photos
keras-vit predict *.jpg --picture names.png
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

from keras_vit import plots
from keras_vit.cli.arguments import AS_THE_RUN, Parser
from keras_vit.data.image_files import thumbnail
from keras_vit.predict import Prediction, classify, load_classifier, write_csv
from keras_vit.utils.files import check_target
from keras_vit.utils.text import printable, say

# The picture: most photos, classes named for each, pixels of the longer side.
MOST_PHOTOS, NAMES, SIDE = 100, 3, 320


def add_arguments(parser: Parser) -> None:
    parser.positional("PHOTO", "image files", nargs="+")
    parser.shared("--model", "--weights", model="ViT_Ti16", weights="(imagenet)")
    parser.shared("--resize", "--interpolation", **AS_THE_RUN)
    parser.add("--top", "output", "classes to name", "N", int, default=5)
    parser.add("--csv", "output", "also write the predictions to this file", "FILE")
    parser.add("--picture", "output", "also draw the photos with their names", "PNG")
    parser.shared("--overwrite", help="the picture may replace another")


def run(given: dict[str, Any]) -> int:
    picture = None
    if "picture" in given:
        plots.require_matplotlib()
        picture = check_target(given["picture"], ".png", given.get("overwrite", False))
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
    if picture is not None and predictions:
        plots.save(_drawn(predictions[:MOST_PHOTOS]), picture)
        left_out = len(predictions) - MOST_PHOTOS
        say(f"wrote {picture}" + (f" without the last {left_out} photos" if left_out > 0 else ""))
    for path, reason in unreadable.items():
        say(f"error: {printable(path)} cannot be read: {reason}", file=sys.stderr)
    return 2 if unreadable else 0


def _drawn(predictions: Sequence[Prediction]) -> Any:
    """A figure of photos, each with its likeliest classes."""
    captions = []
    for each in predictions:
        named = [f"{printable(name)} {100 * share:.0f} %" for name, share in each.top[:NAMES]]
        captions.append("\n".join([printable(each.path.name), *named]))
    return plots.photo_grid([thumbnail(each.path, SIDE) for each in predictions], captions)
