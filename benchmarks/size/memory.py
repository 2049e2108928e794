"""Whether a training needs the memory that `keras_vit.planner.costs.training_memory` says.

    .venv/bin/python -m benchmarks.size.memory

Trains each model for a few steps in a process of its own (random weights and images, 224 px, the
short recipe for fine-tuning: SGD with momentum and clipping, no XLA), and compares the growth of
its resident memory, from before the model is built to the peak, with the estimate. What TensorFlow
needs for itself is there before: a tiny model has been trained by then. "again" are models whose
blocks are rematerialised; their activations, the growth without what is estimated for all else, are
to be half of the others' at most, their steps at most 35 % longer (median of steps, on a quiet
machine). Exits with 1 if an estimate is off by more than 15 % or a goal is missed. Linux only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys

import numpy as np

import keras_vit
from benchmarks import ROOT
from benchmarks.common import memory
from benchmarks.common.command import options, start
from benchmarks.common.turns import seconds
from keras_vit import recipes
from keras_vit.planner import costs

TOLERANCE = 0.15
ACTIVATIONS, SECONDS = 0.5, 1.35  # of rematerialised blocks, in times those of the others
STEPS = 6
BATCHES = {"ViT_Ti16": (16, 32), "ViT_S16": (8, 16)}
PRECISIONS = ("float32", "mixed_bfloat16")


def train_some(model, batch_size: int) -> list[float]:
    """Seconds of each step."""
    found = []
    rng = np.random.default_rng(0)
    model.compile(**recipes.fine_tune_recipe(steps=STEPS).compile_args())
    for _ in range(STEPS):
        images = rng.uniform(0, 255, (batch_size, *model.input_shape[1:])).astype("float32")
        found.append(seconds(model.train_on_batch, images, rng.integers(0, 10, batch_size)))
    return found


def measure(name: str, batch_size: int, dtype: str, rematerialise: bool) -> dict[str, float]:
    common = {"classes": 10, "include_preprocessing": True, "dtype": dtype}
    train_some(keras_vit.ViT(32, 16, 64, 1, 1, 256, **common), 2)
    before = memory.new_peak()
    model = getattr(keras_vit, name)(weights=None, rematerialise=rematerialise, **common)
    estimate = costs.training_memory(model, batch_size)
    median = statistics.median(train_some(model, batch_size)[2:])  # the first are longer
    measured = memory.peak() - before
    rest = estimate["total"] - estimate["activations"]
    return {"measured": measured, "kept": measured - rest, "seconds": median, **estimate}


def in_process(name: str, batch_size: int, dtype: str, rematerialise: bool) -> dict[str, float]:
    """`measure` in a process of its own."""
    order = json.dumps([name, batch_size, dtype, rematerialise])
    command = [sys.executable, "-m", "benchmarks.size.memory", "--one", order]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    parser = options(__doc__, results=False)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--models", nargs="+", choices=BATCHES, default=list(BATCHES))
    parser.add_argument("--batches", nargs="+", type=int, help="in place of the model's two")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(*json.loads(args.one))))
        return 0

    reached = True
    print(
        f"{'model':10} {'batch':>5} {'precision':15}       {'estimate':>9} {'measured':>9}  ratio"
    )
    for name in args.models:
        for size, dtype in itertools.product(args.batches or BATCHES[name], PRECISIONS):
            both = [in_process(name, size, dtype, again) for again in (False, True)]
            for found, kind in zip(both, ("kept", "again"), strict=True):
                ratio = found["total"] / found["measured"]
                reached &= abs(ratio - 1) <= TOLERANCE
                estimate, measured = (found[key] / 2**20 for key in ("total", "measured"))
                row = f"{name:10} {size:5} {dtype:15} {kind:5} {estimate:5.0f} MiB"
                print(f"{row} {measured:5.0f} MiB  {ratio:.2f}", flush=True)
            kept, again = both
            activations, longer = (again[key] / kept[key] for key in ("kept", "seconds"))
            reached &= activations <= ACTIVATIONS and longer <= SECONDS
            print(f"{'':32} again: activations {activations:.2f}x, seconds {longer:.2f}x")
    goals = f"within {TOLERANCE:.0%}, activations {ACTIVATIONS}x, seconds {SECONDS}x"
    print(f"{'reached' if reached else 'MISSED'}: {goals}")
    return 0 if reached else 1


if __name__ == "__main__":
    start(main)
