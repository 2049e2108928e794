#!/usr/bin/env python
"""Trains a Vision Transformer on your images, or on handwritten digits.

    python tools/finetune.py
    python tools/finetune.py --data photos --out runs/photos

The first command needs no download: in about a minute on two cores a small model reads 98 % of
digits that it has not seen. `photos` is a folder with one folder of images per class, or with
`train` and `test` folders of such; a pretrained ViT-Ti/16 is fine-tuned on it.

A run that ended before its time, whatever ended it, goes on with the same command. Exit codes:
0 done, 2 an error that is printed, 75 asked to end (SIGTERM) and saved, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it logs as errors what is none

from keras_vit.commands import run_command
from keras_vit.dry_run import describe
from keras_vit.runs import run, settings_for


def main() -> int:
    # What is not given stays out of the namespace, and the library's defaults hold.
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("--data", help="a folder of class folders, a TensorFlow data set, or digits (default)")
    add("--model", help="ViT_Ti16 (default for photos), ViT_B16, ...; small (default for digits)")
    add("--weights", help="imagenet (default for photos), imagenet21k, a file; none: from scratch")
    add("--image-size", type=int, help="pixels (default: 224; digits 40)")
    add("--steps", type=int, help="training steps (default: four passes, at least 100; digits 900)")
    add("--batch-size", type=int, help="images per step (default: 32; digits 64)")
    add("--lr", type=float, dest="learning_rate", help="highest learning rate")
    add("--warmup", type=int, dest="warmup_steps", help="steps until it is reached")
    add(
        "--validation-share",
        type=float,
        help="share of a folder to validate on, where it has no folder for that (default: .2)",
    )
    add("--resize", help="validation images: squash (default) or crop")
    add("--dtype", "--precision", help="float32 (default) or mixed_bfloat16, often faster")
    add("--recipe", help="vit-finetune, augreg, bit-hyperrule, vit-pretrain (default: a short one)")
    add("--augmentation", help="none (default), light1, light2, medium1, ... strong2")
    add("--accumulate", type=int, help="batches that a step is split into, to save memory")
    add("--xla", action="store_true", help="compile with XLA; on a GPU that is so anyway")
    add("--save-every", type=int, help="batches between checkpoints (default: 500)")
    add("--tensorboard", action="store_true", help="write logs for TensorBoard")
    add("--on-error", help="images that cannot be read: raise (default) or skip")
    add("--seed", type=int, help="of everything random (default: 0)")
    add("--out", help="folder to write (default: runs/ and the name of the data)")
    add("--overwrite", action="store_true", help="start anew; what is there is kept beside it")
    add("--dry-run", action="store_true", help="print what would be done and needed, and end")
    given = vars(parser.parse_args())

    out, overwrite = given.pop("out", None), given.pop("overwrite", False)
    dry = given.pop("dry_run", False)
    settings = settings_for(**given)
    if dry:
        print(describe(settings))
        return 0
    folder = Path(out) if out else Path("runs") / Path(settings.data).resolve().name
    summary = run(settings, folder, overwrite=overwrite, verbose=1 if sys.stdout.isatty() else 2)

    for split, what in (("train", "training"), ("validation", "validation")):
        accuracy, count = summary[f"{split}_accuracy"], summary["data"][f"{split}_images"]
        print(f"{what} accuracy {100 * accuracy:.1f} % ({count} images)")
    print(f"{summary['steps']} steps in {summary['seconds']:.0f} s. In {folder}:")
    print("  " + "  ".join(sorted(path.name for path in folder.iterdir())))
    print(f"Try it: python tools/predict.py PHOTO --model {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
