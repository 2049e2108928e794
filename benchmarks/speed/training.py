"""A training step of ours beside keras-hub and timm, the same weights in all.

    .venv/bin/python -m benchmarks.speed.training --model ViT_S16 --batch 16 --quick
    .venv/bin/python -m benchmarks.speed.training --models ViT_S16 --batches 16 --json out.json

SGD with momentum and gradients clipped to a global norm: ours with `MomentumSGD`, the fine-tuning
recipe's, whose rule is PyTorch's. Keras by `train_on_batch`, in mixed_bfloat16 or float32, PyTorch
with autocast or without. Otherwise as `inference.py`; "limit"
are the matrix products of forward and backward pass alone. "step MiB" is how far the memory of a
process rises over what it had with the model built (`contestants/process.py`), "process" its peak.
"""

from __future__ import annotations

from benchmarks.common.command import start
from benchmarks.common.comparison import compare
from benchmarks.common.side_by_side import Contestant, Goal
from benchmarks.speed.inference import CONTESTANTS as FORWARD
from benchmarks.speed.inference import OURS, QUICK

KERAS_HUB, TIMM = ("keras-hub, graph", "keras-hub, XLA"), ("timm, eager", "timm, compiled")
# The goals are against keras-hub and timm.
_OTHERS = tuple(each for each in FORWARD[1:] if each.name != "transformers, eager")
_KERAS = Contestant("ours, Keras's SGD", "ours", {"mode": "graph", "optimizer": "Keras"})
CONTESTANTS = (FORWARD[0], _KERAS, *_OTHERS)


def goals(model: str, batch: int, precision: str) -> list[Goal]:
    """What is aimed at, in times as fast, and for the memory of a step in times as little."""
    memory = [Goal(OURS, theirs, 1.0, memory=True) for theirs in (KERAS_HUB, TIMM)]
    if precision == "float32":
        return [Goal(OURS, KERAS_HUB, 1.25), Goal(OURS, TIMM, 1.8), *memory]
    return [Goal(OURS, (*KERAS_HUB, *TIMM), 1.3), *memory]


if __name__ == "__main__":
    start(lambda: compare(__doc__, CONTESTANTS, QUICK, goals, training=True, batches=(16,)))
