"""Fine-tunes a model on each of VTAB's 19 tasks, and tests it.

keras-vit vtab --list --data-dir tfds
keras-vit vtab --model ViT_B16 --weights imagenet21k --data-dir tfds --out runs/vtab

The defaults are the ViT paper's: 384 pixels, 2,500 steps of 512 images, a
learning rate of .01 for all tasks. The command names and skips tasks whose
data are missing; --download lets TFDS fetch what it can.
"""

from __future__ import annotations

from typing import Any

from keras_vit.cli.arguments import BY_NAME, RESUMING, Parser, or_none
from keras_vit.cli.output import show, verbosity
from keras_vit.experiments import vtab
from keras_vit.utils.text import say


def add_arguments(parser: Parser) -> None:
    parser.describe(RESUMING)
    parser.shared("--model", help=BY_NAME, model="(ViT_B16)")
    parser.shared("--weights", type=or_none, weights="(imagenet21k; none: from scratch)")
    parser.add("--tasks", "data", f"some of {', '.join(vtab.TASKS)}", "TASK", nargs="+",
               default="(all)")  # fmt: skip
    parser.shared("--data-dir", data_dir="(TFDS's own choice)")
    parser.add("--download", "data", "let TFDS download what is not there")
    parser.add("--list", "data", "list the tasks and the owners of their data, and end")
    parser.shared("--image-size", image_size="(384)")
    parser.shared("--batch-size", "--accumulate", "--steps", "--lr", batch_size="(512)",
                  steps="(2,500 of 512 images, or as many images)",
                  lr="(.01 at 512 images)")  # fmt: skip
    parser.add("--sweep", "training", "learning rates to choose from on 200 images", "RATE", float,
               nargs="+")  # fmt: skip
    parser.shared("--save-every", "--seed", save_every="(500)", seed="(0)")
    parser.shared("--precision", "--xla", precision="(auto)", xla="(auto)")
    parser.shared("--out", "--overwrite", out="runs/vtab")


def run(given: dict[str, Any]) -> int:
    names, data_dir, out = given.pop("tasks", None), given.pop("data_dir", None), given.pop("out")
    if given.pop("list", False):
        show(vtab.list_page(vtab.available(data_dir, names)))
        return 0
    flags = {name: given.pop(name) for name in ("download", "overwrite") if name in given}
    if "sweep" in given:
        given["sweep"] = tuple(given["sweep"])
    settings = vtab.Settings(**given)
    summary = vtab.run(settings, out, tasks=names, data_dir=data_dir, verbose=verbosity(), **flags)
    show(vtab.report_page(summary))
    say(f"In {out}: summary.json, a file for each task" + ", vtab.png" * bool(summary["results"]))
    return 0
