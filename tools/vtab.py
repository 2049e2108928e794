#!/usr/bin/env python
"""Fine-tunes a model on 1,000 images of each of VTAB's 19 tasks and tests it on all.

    python tools/vtab.py --list --data-dir tfds
    python tools/vtab.py --model ViT_B16 --weights imagenet21k --data-dir tfds --out runs/vtab

The defaults are the ViT paper's: 384 pixels, 2,500 steps of 512, a learning rate of .01 for all
tasks. Tasks whose data are not there are named and skipped; --download lets TFDS fetch what it can.
A run that ended before its time goes on with the same command. Exit codes: 0 done, 2 an error that
is printed, 75 asked to end (SIGTERM) and saved, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it logs as errors what is none

from keras_vit.cli.run_command import run_command
from keras_vit.experiments import vtab


def main() -> int:
    # What is not given stays out of the namespace, and the library's defaults hold.
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("--model", help="ViT_B16 (default), ...; small")
    add("--weights", type=lambda text: None if text == "none" else text,
        help="imagenet21k (default), imagenet, a file; none: from scratch")  # fmt: skip
    add("--tasks", nargs="+", help=f"default: all of {', '.join(vtab.TASKS)}")
    add("--data-dir", help="where TFDS keeps its files (default: its own choice)")
    add("--download", action="store_true", help="let TFDS download what is not there")
    add("--list", action="store_true", help="say which tasks there are and whose data, and end")
    add("--image-size", type=int, help="pixels (default: 384)")
    add("--steps", type=int, help="default: 2,500 of 512 images, or as many images")
    add("--batch-size", type=int, help="images of a step (default: 512)")
    add("--accumulate", type=int, help="batches to split a step into, to save memory")
    add("--lr", type=float, dest="learning_rate", help="default: .01 at 512 images")
    add("--sweep", type=float, nargs="+", help="learning rates to choose from on 200 images")
    add("--precision", dest="dtype", help="float32, mixed_bfloat16, or auto (default)")
    add("--xla", help="on, off, or auto (default)")
    add("--save-every", type=int, help="batches between checkpoints (default: 500)")
    add("--seed", type=int, help="of everything random (default: 0)")
    add("--out", help="folder (default: runs/vtab)")
    add("--overwrite", action="store_true", help="start anew; what is there is kept beside it")
    given = vars(parser.parse_args())
    names, data_dir = given.pop("tasks", None), given.pop("data_dir", None)
    if given.pop("list", False):
        print("\n".join(vtab.list_lines(vtab.available(data_dir, names))))
        return 0
    run = {name: given.pop(name) for name in ("download", "overwrite") if name in given}
    out = given.pop("out", "runs/vtab")
    if "sweep" in given:
        given["sweep"] = tuple(given["sweep"])
    verbose = 1 if sys.stdout.isatty() else 2
    summary = vtab.run(
        vtab.Settings(**given), out, tasks=names, data_dir=data_dir, verbose=verbose, **run
    )
    print("\n".join(vtab.report_lines(summary)))
    print(f"In {out}: summary.json, a file for each task" + ", vtab.png" * bool(summary["results"]))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
