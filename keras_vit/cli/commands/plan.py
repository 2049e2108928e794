"""Says what a training needs: compute, memory, days.

keras-vit plan ViT_L16 --devices 256xTPUv3-core 8xA100-80 --dataset jft --epochs 14
keras-vit plan --memory 16 --image-size 384
keras-vit plan --paper --picture table6.png
"""

from __future__ import annotations

from typing import Any

from keras_vit import planner
from keras_vit.cli.arguments import Parser
from keras_vit.cli.output import show
from keras_vit.planner import report
from keras_vit.planner.plans import UTILISATION
from keras_vit.utils.tables import Page


def add_arguments(parser: Parser) -> None:
    parser.positional("MODEL", "ViT_B16, ...; BiT_R200x3 and others of the paper", nargs="?")
    parser.shared("--image-size", image_size="(224)")
    parser.add("--channels", "data", "channels of the images", "N", int, default="(3)")
    parser.add("--dataset", "data", ", ".join(planner.CLASSES), "NAME", default="(jft)")
    parser.shared("--batch-size", "--accumulate", batch_size="(4096; with --memory 32)")
    parser.add("--epochs", "training", "passes over the data set", "N", float, default="(7)")
    parser.shared("--steps", steps="(those of --epochs)")
    parser.add("--optimizer", "training", "adamw or momentum", "NAME",
               default="(adamw; with --memory momentum)")  # fmt: skip
    parser.add("--ema", "training", "averages of the weights are kept")
    parser.add("--rematerialise", "training", "compute the inside of blocks again")
    parser.shared("--devices", help="8xA100-80, ...; several to compare", type=str, nargs="+",
                  devices="(8xA100-80)")  # fmt: skip
    parser.shared("--precision", help="mixed_bfloat16, float32, ...", dest="precision",
                  precision="(what is fast there)")  # fmt: skip
    parser.add("--model-parallel", "hardware", "devices that share a model", "N", int,
               default="(1)")  # fmt: skip
    parser.add("--shard-optimizer", "hardware", "copies share the optimizer's numbers")
    parser.add("--utilisation", "hardware", "share of the peak", "SHARE", float,
               default=f"({UTILISATION})")  # fmt: skip
    parser.add("--memory", "output", "say which models can be fine-tuned in so much", "GB", float)
    parser.add("--paper", "output", "the ViT paper's Table 6 beside the planner's numbers")
    parser.add("--picture", "output", "draw that table (the paper's Figure 5)", "PNG")
    parser.shared("--overwrite", help="the picture may replace another")
    parser.add("--list-devices", "output", "the devices and their sources")


def run(given: dict[str, Any]) -> int:
    asked = {name: given.pop(name, None) for name in ("memory", "paper", "picture", "list_devices")}
    model, overwrite = given.pop("model", None), given.pop("overwrite", False)
    pages = []
    if asked["list_devices"]:
        pages.append(report.device_page())
    if asked["memory"] is not None:
        options = ("image_size", "batch_size", "precision", "optimizer")
        chosen = {name: given[name] for name in options if name in given}
        pages.append(report.fit_page(planner.fits(asked["memory"], **chosen)))
    if asked["paper"]:
        pages.append(report.paper_page())
    if asked["picture"]:
        pages.append(Page(f"wrote {report.paper_picture(asked['picture'], overwrite)}"))
    if model is not None:
        devices = given.pop("devices", ["8xA100-80"])
        pages.append(report.plan_page(planner.compare(model, devices, **given)))
    if not pages:
        raise ValueError(
            "There is nothing to plan. Pass a MODEL, --memory GB, --paper, --picture PNG or "
            "--list-devices."
        )
    show(*pages)
    return 0
