#!/usr/bin/env python
"""Shows what a model has learned, in the paper's figures: filters, positions, attention.

python tools/visualize.py ViT_Ti16 --photos photos/ --out inside
python tools/visualize.py runs/photos --photos photos/test --out inside
"""

from __future__ import annotations

import argparse
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it logs as errors what is none

from keras_vit.analysis.page import write_report
from keras_vit.cli.run_command import run_command


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="ViT_Ti16, ...; a run folder, a .keras or a checkpoint")
    add("--weights", help="for ViT_...: imagenet (default), imagenet21k, or a file")
    add("--photos", required=True, metavar="FOLDER", help="of photos, or of folders of them")
    add("--out", default="inside", metavar="FOLDER", help="to write (default: %(default)s)")
    add("--overwrite", action="store_true", help="a folder of that name is kept as FOLDER.old")
    args = parser.parse_args()

    page = write_report(args.model, args.photos, args.out, args.weights, args.overwrite)
    print(f"wrote {page} and the pictures beside it")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
