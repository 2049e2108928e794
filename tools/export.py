#!/usr/bin/env python
"""Writes a model as files to deploy, and measures each against the model.

python tools/export.py ViT_Ti16 --format savedmodel,onnx --out exported --check photos/
python tools/export.py runs/photos --out exported
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it logs as errors what is none

from keras_vit import exports
from keras_vit.commands import run_command
from keras_vit.convert import find_photo
from keras_vit.exports.report import measure, photos_of, table
from keras_vit.predict import load_classifier


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="ViT_Ti16, ...; a run folder, a .keras or a checkpoint")
    add("--weights", help="for ViT_...: imagenet (default), imagenet21k, or a file")
    add("--format", default=",".join(exports.FORMATS), help="default: %(default)s")
    add("--out", default="exported", type=Path, help="folder for the files (default: exported)")
    add("--check", help="folder of photos, or of a folder for each class, to measure with")
    add("--overwrite", action="store_true", help="files in the folder may be replaced")
    args = parser.parse_args()

    formats = args.format.split(",")
    if unknown := [name for name in formats if name not in exports.FORMATS]:
        raise ValueError(f"--format takes {', '.join(exports.FORMATS)}. Received: {unknown}")
    classifier = load_classifier(args.model, args.weights)
    photos = args.check or find_photo(None).parent
    pixels, classes = photos_of(photos, classifier.image_size, classifier.class_names)
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in formats:
        path = args.out / f"{Path(args.model).stem}{exports.FORMATS[name][2] or '_savedmodel'}"
        print(f"writing {path}", flush=True)
        exports.export(
            classifier.model,
            path,
            format=name,
            class_names=classifier.class_names,
            overwrite=args.overwrite,
        )
        rows.append(measure(path, classifier.model, pixels, classes))
    print("\n".join(table(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
