#!/usr/bin/env python
"""Writes a model as files to deploy, and measures each against the model.

python tools/export.py ViT_Ti16 --format savedmodel,tflite,onnx --out exported --check photos/
python tools/export.py runs/photos --format tflite --quantize int8,int4 --calibrate photos/train
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it logs as errors what is none

from keras_vit import exports
from keras_vit.checkpoints.convert import find_photo
from keras_vit.cli.run_command import run_command
from keras_vit.exports.photos import photos_of
from keras_vit.exports.report import measure, planned, size_picture, table
from keras_vit.exports.tflite.quantize import NEED_PHOTOS, QUANTIZATIONS
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
    add("--quantize", default="", help=f"TFLite also as {', '.join(QUANTIZATIONS)}; comma between")
    add("--calibrate", help="folder of photos for int8 and int4, not those of --check")
    add("--check", help="folder of photos, or of a folder for each class, to measure with")
    add("--overwrite", action="store_true", help="files in the folder may be replaced")
    args = parser.parse_args()

    files = planned(args.format.split(","), list(filter(None, args.quantize.split(","))))
    if any(each.quantize in NEED_PHOTOS for each in files) and not args.calibrate:
        raise ValueError(
            f"--quantize {args.quantize} needs --calibrate FOLDER with photos like those that the "
            "model will see; dynamic_int8 does without."
        )
    stem = Path(args.model).stem
    targets = [args.out / each.name(stem) for each in files]
    picture = args.out / f"{stem}_files.png"
    taken = [path for path in (*targets, picture) if path.exists()]
    if taken and not args.overwrite:  # before anything takes long
        raise FileExistsError(
            f"{taken[0]} is there already. Choose another --out, or pass --overwrite."
        )
    classifier = load_classifier(args.model, args.weights)
    photos = args.check or find_photo(None).parent
    pixels, classes = photos_of(photos, classifier.image_size, classifier.class_names)
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for each, path in zip(files, targets, strict=True):
        print(f"writing {path}", flush=True)
        options = {"class_names": classifier.class_names, "overwrite": args.overwrite}
        if each.quantize is not None:
            options["quantize"] = each.quantize
        if each.quantize in NEED_PHOTOS:
            options["calibration"] = args.calibrate
        exports.export(classifier.model, path, format=each.format, **options)
        rows.append(measure(path, classifier.model, pixels, classes))
    print("\n".join(table(rows)))
    size_picture(rows, picture)
    print(f"wrote {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
