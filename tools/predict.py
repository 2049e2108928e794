#!/usr/bin/env python
"""Says what is on photos.

python tools/predict.py cat.jpg dog.png
python tools/predict.py cat.jpg --model runs/photos
"""

from __future__ import annotations

import argparse
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it logs as errors what is none

from keras_vit.cli.run_command import run_command
from keras_vit.predict import classify, load_classifier, write_csv


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("photos", nargs="+", metavar="PHOTO")
    add(
        "--model",
        default="ViT_Ti16",
        help="ViT_Ti16 (default), ViT_B16, ...; a run folder, a .keras, .npz or .safetensors file",
    )
    add("--weights", help="for ViT_...: imagenet (default), imagenet21k, or a file")
    add("--csv", help="also write the predictions to this file")
    add("--top", type=int, default=5, help="classes to name (default: 5)")
    args = parser.parse_args()

    predictions, unreadable = classify(
        load_classifier(args.model, args.weights), args.photos, args.top
    )
    for prediction in predictions:
        print(prediction.path)
        for name, probability in prediction.top:
            print(f"  {100 * probability:5.1f} %  {name}")
    if args.csv:
        write_csv(args.csv, predictions)
    for path, reason in unreadable.items():
        print(f"error: {path} cannot be read: {reason}", file=sys.stderr)
    return 2 if unreadable else 0


if __name__ == "__main__":
    sys.exit(run_command(main))
