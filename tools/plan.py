#!/usr/bin/env python
"""Says what a training needs: parameters, compute, memory, communication, days. Builds nothing.

python tools/plan.py ViT_L16 --devices 256xTPUv3-core 8xA100-80 --dataset jft --epochs 14
python tools/plan.py --memory 16 --image-size 384
python tools/plan.py --paper --picture table6.png
"""

from __future__ import annotations

import argparse
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it logs as errors what is none

from keras_vit import planner
from keras_vit.cli.run_command import run_command
from keras_vit.planner import report
from keras_vit.planner.devices import parse_devices
from keras_vit.planner.plans import UTILISATION


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "model", nargs="?", metavar="MODEL", help="ViT_B16, ...; BiT_R200x3 and others of the paper"
    )
    add(
        "--devices",
        nargs="+",
        default=["8xA100-80"],
        help="8xA100-80 (default); several to compare",
    )
    add("--image-size", type=int, default=224, help="pixels (default: 224)")
    add("--batch", type=int, help="images of an update (default: 4096; with --memory 32)")
    add("--dataset", default="jft", help=f"{', '.join(planner.CLASSES)} (default: jft)")
    add("--epochs", type=float, default=7, help="default: 7")
    add("--steps", type=int, help="updates, in place of --epochs")
    add("--optimizer", help="adamw (default) or momentum (with --memory the default)")
    add("--ema", action="store_true", help="averages of the weights are kept")
    add("--precision", help="mixed_bfloat16, float32, ... (default: what is fast there)")
    add("--accumulate", type=int, default=1, help="parts of a batch, one after the other")
    add("--model-parallel", type=int, default=1, help="devices that share a model (default: 1)")
    add("--shard-optimizer", action="store_true", help="copies share the optimizer's numbers")
    add("--rematerialise", action="store_true", help="compute the inside of blocks again")
    add("--utilisation", type=float, default=UTILISATION, help="of the peak (default: %(default)s)")
    add("--memory", type=float, metavar="GB", help="which models can be fine-tuned in so much?")
    add("--paper", action="store_true", help="the ViT paper's Table 6 beside the planner's numbers")
    add("--picture", metavar="PNG", help="draw that table (the paper's Figure 5)")
    add("--overwrite", action="store_true", help="the picture may replace another")
    add("--list-devices", action="store_true", help="the devices and their sources")
    args = parser.parse_args()
    chosen = {
        name: value
        for name, value in (("precision", args.precision), ("optimizer", args.optimizer))
        if value is not None
    }

    blocks = []
    if args.list_devices:
        blocks.append(report.device_lines())
    if args.memory is not None:
        fits = planner.fits(args.memory, args.image_size, args.batch or 32, **chosen)
        blocks.append(report.fit_lines(fits))
    if args.paper:
        blocks.append(report.paper_lines())
    if args.picture:
        path = report.paper_picture(args.picture, args.overwrite)
        blocks.append([f"wrote {path}"])
    if args.model is not None:
        plans = []
        for text in args.devices:
            count, device = parse_devices(text)
            plans.append(
                planner.plan(
                    args.model,
                    device,
                    count,
                    image_size=args.image_size,
                    batch_size=args.batch or 4096,
                    dataset=args.dataset,
                    epochs=args.epochs,
                    steps=args.steps,
                    ema=args.ema,
                    accumulate=args.accumulate,
                    model_parallel=args.model_parallel,
                    shard_optimizer=args.shard_optimizer,
                    rematerialise=args.rematerialise,
                    utilisation=args.utilisation,
                    **chosen,
                )
            )
        blocks.append(report.plan_lines(plans))
    if not blocks:
        raise ValueError("Say a MODEL, --memory GB, --paper, --picture PNG or --list-devices.")
    print("\n\n".join("\n".join(lines) for lines in blocks))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
