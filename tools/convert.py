#!/usr/bin/env python
"""Converts a checkpoint of one library into one of another, and checks it on a photo.

python tools/convert.py B_16.npz B_16.safetensors --format timm
python tools/convert.py model.safetensors vit.npz
python tools/convert.py vit.npz for_transformers --format huggingface
python tools/convert.py vit.npz vit384.keras --image-size 384
"""

from __future__ import annotations

import argparse
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it logs as errors what is none

from keras_vit.checkpoints.convert import convert, table
from keras_vit.checkpoints.names.formats import FORMAT_NAMES
from keras_vit.cli.run_command import run_command


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("source", metavar="SRC", help="an .npz, .safetensors, .weights.h5 or .keras file")
    add("target", metavar="DST", help="what to write; its ending says which kind of file")
    add("--format", choices=FORMAT_NAMES, help="default: google for .npz, keras for Keras's files")
    add("--model", metavar="NAME", help="ViT_B16, ...: stop if the file holds another model")
    add("--image-size", type=int, nargs="+", metavar="N", help="pixels, one number or two")
    add("--num-heads", type=int, metavar="N", help="where the file does not say it")
    add("--photo", help="to check with (default: one that comes with scikit-learn)")
    add("--overwrite", action="store_true", help="DST may be replaced")
    add("--all", action="store_true", help="list the arrays of every block, not of the first")
    args = parser.parse_args()

    size = args.image_size and (
        tuple(args.image_size) if args.image_size[1:] else args.image_size[0]
    )
    done = convert(
        args.source,
        args.target,
        format=args.format,
        model=args.model,
        image_size=size,
        num_heads=args.num_heads,
        photo=args.photo,
        overwrite=args.overwrite,
    )
    rows, columns = done.image_size
    print(f"{args.source}: {done.model} ({done.source_format})")
    print(f"{args.target}: {done.target_format}, {done.num_parameters:,} parameters, "
          f"{rows}x{columns} pixels")  # fmt: skip
    print("\n".join(table(done.moves, args.all)))
    print(
        f"Both models on {done.photo.name}: outputs differ by {done.difference:.1e} of the largest."
    )
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
