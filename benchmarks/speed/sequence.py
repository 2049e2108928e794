"""What four times as many tokens cost: images of 448 pixels beside 224, and what arithmetic says.

    .venv/bin/python -m benchmarks.speed.sequence --model ViT_S16 --batch 8 --quick
    .venv/bin/python -m benchmarks.speed.sequence --models ViT_S16 ViT_B16

A forward pass and a training step of each size by turns, each in a process of its own, and the
matrix products alone of each size ("limit"). The ratio of the times is compared with that of the
multiplications (`keras_vit.planner.forward_macs`; those of a training step have the same) and with
that of the limit's times. Exits with 1 where it is more than 1.1 times the first. Attention's share
grows with the tokens, and its products are smaller: the limit says what that costs by itself.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

from benchmarks.common.command import bars, options, start, write
from benchmarks.common.side_by_side import Contestant, race, ratio
from benchmarks.contestants.weights import write as write_weights
from keras_vit import planner

SMALL, LARGE = 224, 448
ALLOWED = 1.1
CONTESTANTS = tuple(
    Contestant(f"{name}, {size} px", module, {"mode": "graph", "size": size})
    for name, module in (("ours", "ours"), ("limit", "limit"))
    for size in (SMALL, LARGE)
)


def main() -> int:
    parser = options(__doc__)
    add = parser.add_argument
    add("--models", "--model", nargs="+", default=["ViT_S16"])
    add("--batches", "--batch", nargs="+", type=int, default=[8])
    add("--precisions", nargs="+", default=["float32", "bfloat16"])
    add("--rounds", type=int, default=5)
    add("--repeats", type=int, default=3, help="steps of each in a round")
    add("--quick", action="store_true", help="the forward pass in float32, few rounds")
    args = parser.parse_args()
    kinds = (False,) if args.quick else (False, True)
    if args.quick:
        args.rounds, args.repeats, args.precisions = 3, 1, ["float32"]

    reached = True
    found, panels = [], []
    for model in args.models:
        macs = [planner.forward_macs(model, size, 1000) for size in (SMALL, LARGE)]
        expected = macs[1] / macs[0]
        with tempfile.TemporaryDirectory() as folder:
            write_weights(Path(folder), model, SMALL)
            for precision, batch, training in itertools.product(
                args.precisions, args.batches, kinds
            ):
                task = {
                    "model": model, "batch": batch, "precision": precision, "training": training,
                    "folder": folder,
                }  # fmt: skip
                results = race(CONTESTANTS, task, args.rounds, args.repeats)
                (cost, least, most), (limit, *_) = (
                    ratio(results, f"{name}, {SMALL} px", f"{name}, {LARGE} px")
                    for name in ("ours", "limit")
                )
                step = "training step" if training else "forward pass"
                good = cost <= ALLOWED * expected
                reached &= good
                title = f"{model}, batch {batch}, {precision}, {step}"
                shown = {"ours": cost, "limit": limit, "arithmetic": expected}
                del task["folder"]
                found.append({**task, "times_as_long": shown})
                panels.append((title, f"time of {LARGE} px / {SMALL} px", shown))
                print(
                    f"{title}: {cost:.2f}x the time "
                    f"({least:.2f}-{most:.2f}); arithmetic {expected:.2f}x, limit {limit:.2f}x; "
                    f"{cost / expected:.2f} of the arithmetic, goal {ALLOWED}: "
                    f"{'reached' if good else 'missed'}",
                    flush=True,
                )
    write(args, found, lambda: bars(panels))
    return int(not reached)


if __name__ == "__main__":
    start(main)
