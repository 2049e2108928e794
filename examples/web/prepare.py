#!/usr/bin/env python
"""Writes model.onnx for the web page, and model.json with what the page needs beside it.

python examples/web/prepare.py ViT_Ti16
python examples/web/prepare.py runs/photos --out examples/web/flowers.onnx
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it logs as errors what is none

import keras_vit
from keras_vit.cli.run_command import run_command
from keras_vit.models.input_and_head import ends_in_probabilities
from keras_vit.models.input_range import input_range
from keras_vit.predict import Classifier, load_classifier
from keras_vit.utils.checks import check_class_names
from keras_vit.utils.files import check_target, write_json

HERE = Path(__file__).parent


def prepare(classifier: Classifier, path: str | Path, overwrite: bool = False) -> tuple[Path, Path]:
    """Writes a classifier as two files for the page: `NAME.onnx` and `NAME.json`.

    A browser reads sizes from the ONNX file, but not its metadata; hence the second file.

    Args:
        classifier: Of `load_classifier`; or one around a model for pixels in [-1, 1].
        path: Ends with `.onnx`.
        overwrite: Whether both files may be replaced.

    Returns:
        The paths of both.

    Raises:
        FileExistsError: If one of the files is there and not `overwrite`.
        ValueError: If the model cannot be exported, or the names do not fit it.
    """
    model = classifier.model
    path = check_target(path, ".onnx", overwrite)
    facts_path = check_target(path.with_suffix(".json"), ".json", overwrite)
    facts = {
        "labels": check_class_names(classifier.class_names, int(model.output_shape[-1])),
        "image_size": list(classifier.image_size),
        "pixel_range": list(input_range(model)),
        "resize": classifier.resize,
        "output": "probabilities" if ends_in_probabilities(model) else "logits",
    }
    keras_vit.export(model, path, class_names=facts["labels"], overwrite=overwrite)
    write_json(facts_path, facts)
    return path, facts_path


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="ViT_Ti16, ...; a run folder, a .keras or a checkpoint")
    add("--weights", help="for ViT_...: imagenet (default), imagenet21k, or a file")
    add("--out", default=HERE / "model.onnx", type=Path, help="default: model.onnx by the page")
    add("--overwrite", action="store_true", help="files that are there may be replaced")
    args = parser.parse_args()

    # Asked before the model is downloaded and built, which takes a while.
    for suffix in (".onnx", ".json"):
        check_target(args.out.with_suffix(suffix), suffix, args.overwrite)
    for path in prepare(load_classifier(args.model, args.weights), args.out, args.overwrite):
        print(f"wrote {path} ({path.stat().st_size / 2**20:.1f} MiB)")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
