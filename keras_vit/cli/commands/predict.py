"""Says what is on photos.

keras-vit predict cat.jpg dog.png
keras-vit predict cat.jpg --model runs/photos
keras-vit predict *.jpg --picture names.png
keras-vit predict photos/ --out answers
keras-vit predict photos/ --out answers --shard 3/16

With --out the photos of a folder, up to millions, become a folder of tables,
a row for each photo. To go on after an interruption, repeat the command.
Exit codes: 0 done, 2 an error that is printed, or without --out a photo that
cannot be read, 75 asked to end (SIGTERM), 130 Ctrl-C.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_vit import plots
from keras_vit.cli.arguments import AS_THE_RUN, Parser
from keras_vit.cli.output import verbosity
from keras_vit.data.image_files import thumbnail
from keras_vit.predict import Prediction, classify, load_classifier, predict_folder, write_table
from keras_vit.predict.folder import check_asked
from keras_vit.utils.files import check_target
from keras_vit.utils.text import printable, say

# The picture: most photos, classes named for each, pixels of the longer side.
MOST_PHOTOS, NAMES, SIDE = 100, 3, 320
# Options that go with `--out` alone, and those that do not go with it.
OF_A_FOLDER = ("shard", "format", "part_size", "features", "batch_size")
OF_PHOTOS = ("csv", "picture", "overwrite")


def add_arguments(parser: Parser) -> None:
    parser.positional("PHOTO", "image files, or with --out a folder", nargs="+")
    parser.shared("--model", "--weights", model="ViT_Ti16", weights="(imagenet)")
    parser.shared("--resize", "--interpolation", **AS_THE_RUN)
    parser.shared("--batch-size", help="photos of a step, with --out", batch_size="(32)")
    parser.add("--top", "output", "classes to name", "N", int, default=5)
    parser.add("--csv", "output", "also write the predictions to this file", "FILE")
    parser.add("--picture", "output", "also draw the photos with their names", "PNG")
    parser.shared("--overwrite", help="the picture may replace another")
    parser.shared("--out", help="write tables of a folder's photos into this folder")
    parser.add("--format", "output", "of the tables: csv or parquet", "FORMAT", default="(csv)")
    parser.add("--part-size", "output", "photos of a table", "N", int, default="(10000)")
    parser.add("--features", "output", "write the vector before the head too")
    parser.add("--shard", "output", "write each 16th table from the 3rd on; other processes write "
               "the others", "3/16", shard, default="(1/1)")  # fmt: skip


def shard(text: str) -> tuple[int, ...]:
    """`3/16` -> `(3, 16)`."""
    return tuple(map(int, text.split("/")))


def run(given: dict[str, Any]) -> int:
    wrong = OF_PHOTOS if "out" in given else OF_A_FOLDER
    for name in (name for name in wrong if name in given):
        goes = "does not go with" if "out" in given else "needs"
        raise ValueError(f"--{name.replace('_', '-')} {goes} --out FOLDER")
    if "out" not in given:
        return _photos(given)
    folder, *others = given["photo"]
    if others:
        raise ValueError(f"With --out give one folder. Received: {1 + len(others)} names")
    options = {name: given[name] for name in ("top", *OF_A_FOLDER) if name in given}
    check_asked(folder, **{name: options[name] for name in options if name != "features"})
    out = Path(given["out"])
    summary = predict_folder(_classifier(given), folder, out, verbose=verbosity(), **options)
    say(f"wrote {summary.photos:,} photos in {summary.written:,} parts into {printable(out)}")
    if summary.unreadable:
        say(f"{summary.unreadable:,} photos cannot be read: the column `error` says why",
            file=sys.stderr)  # fmt: skip
    if summary.missing:
        say(f"{summary.missing:,} of {summary.parts:,} parts are missing: other shards write them")
    return 0


def _classifier(given: dict[str, Any]) -> Any:
    classifier = load_classifier(given["model"], given.get("weights"))
    how = {name: given[name] for name in ("resize", "interpolation") if name in given}
    return dataclasses.replace(classifier, **how)


def _photos(given: dict[str, Any]) -> int:
    folder = next((name for name in given["photo"] if os.path.isdir(name)), None)
    if folder is not None:
        raise ValueError(f"{folder} is a folder: add --out FOLDER, for the tables of its photos")
    picture = None
    if "picture" in given:
        plots.require_matplotlib()
        picture = check_target(given["picture"], ".png", given.get("overwrite", False))
    predictions = classify(_classifier(given), given["photo"], given["top"])
    readable = [each for each in predictions if not each.error]
    for prediction in readable:
        say(printable(prediction.path))
        for name, probability in prediction.top:
            say(f"  {100 * probability:5.1f} %  {printable(name)}")
    if "csv" in given:
        top = max((len(each.top) for each in readable), default=0)
        write_table(Path(given["csv"]), predictions, top)
    if picture is not None and readable:
        plots.save(_drawn(readable[:MOST_PHOTOS]), picture)
        left_out = len(readable) - MOST_PHOTOS
        say(f"wrote {picture}" + (f" without the last {left_out} photos" if left_out > 0 else ""))
    for each in predictions:
        if each.error:
            say(f"error: {printable(each.path)} cannot be read: {each.error}", file=sys.stderr)
    return 0 if len(readable) == len(predictions) else 2


def _drawn(predictions: Sequence[Prediction]) -> Any:
    """A figure of photos, each with its likeliest classes."""
    captions = []
    for each in predictions:
        named = [f"{printable(name)} {100 * share:.0f} %" for name, share in each.top[:NAMES]]
        captions.append("\n".join([printable(each.path.name), *named]))
    return plots.photo_grid([thumbnail(each.path, SIDE) for each in predictions], captions)
