#!/usr/bin/env python
"""What the features of a model are worth: few-shot accuracy, linear probe, nearest neighbours.

    python tools/few_shot.py flowers/ --model ViT_Ti16 --out runs/few_shot
    python tools/few_shot.py flowers/ --model runs/flowers --shots 1 5 10 25 --seeds 3 --out b

The folder holds `train` and `test` folders of class folders, or class folders alone, of which a
fifth is then held out to test on. few_shot.json, few_shot.csv and few_shot.png are written.
"""

from __future__ import annotations

import argparse
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it logs as errors what is none

from keras_vit.cli.run_command import run_command
from keras_vit.evaluate.few_shot import L2, SEEDS, SHOTS
from keras_vit.evaluate.few_shot_report import write_report


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("data", metavar="DATA", help="a folder, or a TensorFlow data set")
    add(
        "--model",
        default="ViT_Ti16",
        help="ViT_Ti16 (default), ...; a run folder, a .keras or a checkpoint",
    )
    add("--weights", help="for ViT_...: imagenet (default), imagenet21k, or a file")
    add("--shots", type=int, nargs="+", default=SHOTS, help="images of each class (1 5 10 25)")
    add("--seeds", type=int, default=SEEDS, help="draws of each (default: %(default)s)")
    add("--l2", type=float, default=L2, help="regularisation of few-shot (default: %(default)s)")
    add("--batch-size", type=int, default=32, help="images per step (default: %(default)s)")
    add("--on-error", default="raise", help="images that cannot be read: raise (default) or skip")
    add("--out", default="few_shot", metavar="FOLDER", help="to write (default: %(default)s)")
    add("--overwrite", action="store_true", help="a folder of that name is kept as FOLDER.old")
    args = parser.parse_args()

    report = write_report(
        args.model,
        args.data,
        args.out,
        args.weights,
        shots=args.shots,
        seeds=args.seeds,
        l2=args.l2,
        batch_size=args.batch_size,
        on_error=args.on_error,
        overwrite=args.overwrite,
    )
    print(*report.lines(), sep="\n")
    print(f"wrote few_shot.json, few_shot.csv and few_shot.png in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
