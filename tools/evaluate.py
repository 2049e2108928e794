#!/usr/bin/env python
"""Says how often a model is right: top-1, top-5, ReaL, class by class.

    python tools/evaluate.py photos/test --model runs/photos
    python tools/evaluate.py imagenet/val --model ViT_B16 --resize crop --out evaluation
    python tools/evaluate.py imagenet_v2 --model ViT_S16 --batch-size 64

DATA is a folder with a folder for each class, ImageNet's validation images in any of their usual
layouts, TFRecords of keras_vit, the name of a TensorFlow data set, or digits.
"""

from __future__ import annotations

import argparse
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it logs as errors what is none

from keras_vit import distribution
from keras_vit.cli.run_command import run_command
from keras_vit.cli.training import devices
from keras_vit.distribution import hardware
from keras_vit.evaluate.run import run


def main() -> int:
    # What is not given stays out of the namespace, and the library's defaults hold.
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("data", metavar="DATA")
    add(
        "--model",
        default="ViT_Ti16",
        help="ViT_Ti16 (default), ViT_B16, ...; a run folder, a .keras, .npz or .safetensors file",
    )
    add("--weights", help="for ViT_...: imagenet (default), imagenet21k, or a file")
    add("--class-names", help="file with a name for each output of the model, a line each")
    add("--resize", help="squash (default; of a run folder what it was evaluated with) or crop")
    add("--centre", type=float, help="share of the short side that a crop keeps (default: .875)")
    add("--split", help="of a TensorFlow data set (default: validation, else test)")
    add("--truth", help="file with the classes of a flat folder's images")
    add("--restrict", action="store_true", help="choose among the classes of the data only")
    add("--on-error", help="images that cannot be read: raise (default) or skip")
    add("--batch-size", type=int, help="images, on all devices together (default: 32)")
    add("--strategy", help=f"{', '.join(distribution.STRATEGIES)} (default: auto, what there is)")
    add("--devices", type=devices, help="how many of them, or their names (default: all)")
    add("--xla", nargs="?", const="on", help=f"{', '.join(hardware.XLA)} (default: auto, on GPUs)")
    add("--out", help="folder to write: report.json, per_class.csv, mistakes.csv, confusion.png")
    add("--overwrite", action="store_true", help="a folder of that name is kept as OUT.old")
    given = vars(parser.parse_args())

    print(run(**given))
    if "out" in given:
        print(f"wrote {given['out']}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
