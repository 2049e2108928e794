"""A forward pass of ours beside keras-hub, timm and transformers, the same weights in all.

    .venv/bin/python -m benchmarks.speed.inference --model ViT_S16 --batch 8 --quick
    .venv/bin/python -m benchmarks.speed.inference --models ViT_S16 ViT_B16 --json out.json

By turns, each in a process of its own (`make bench-peers` installs them; what is not there is left
out). "limit" are the matrix products of the model alone, with TensorFlow's kernels. The logits are
compared first. Prints medians, ratios to ours and their spread over the rounds, and exits with 1
if a goal is missed. timm and transformers run PyTorch's kernels, whose float32 products come from a
library that is slow on AMD processors.
"""

from __future__ import annotations

from benchmarks.common.command import start
from benchmarks.common.comparison import compare
from benchmarks.common.side_by_side import FLOATS, Contestant, Goal

OURS = ("ours, graph", "ours, XLA")
ALL = (*FLOATS, "int8")
LIBRARIES = (
    Contestant("ours, graph", "ours", {"mode": "graph"}),
    Contestant("ours, XLA", "ours", {"mode": "xla"}),
    Contestant("ours, JAX", "ours", {"mode": "jax"}, {"KERAS_BACKEND": "jax"}),
    Contestant("keras-hub, graph", "kerashub", {"mode": "graph"}, precisions=ALL),
    Contestant("keras-hub, XLA", "kerashub", {"mode": "xla"}, precisions=ALL),
    Contestant("timm, eager", "pytorch", {"library": "timm", "mode": "eager"}, precisions=ALL),
    Contestant("timm, compiled", "pytorch", {"library": "timm", "mode": "compiled"}),
    Contestant("transformers, eager", "pytorch", {"library": "transformers", "mode": "eager"}),
)
CONTESTANTS = (*LIBRARIES, Contestant("limit", "limit"))
QUICK = ("ours, graph", "keras-hub, graph", "timm, eager", "limit")
LIMITS = {("ViT_B16", "float32"): 0.90, ("ViT_S16", "float32"): 0.80}
LIMITS |= {("ViT_B16", "bfloat16"): 0.88, ("ViT_S16", "bfloat16"): 0.75}


def goals(model: str, batch: int, precision: str) -> list[Goal]:
    """What is aimed at, in times as fast."""
    if precision == "float32":
        found = [
            Goal(OURS, ("keras-hub, graph",), 1.2),
            Goal(OURS, ("keras-hub, XLA",), 1.1),
            Goal(OURS, ("timm, eager", "timm, compiled"), 1.8),
            Goal(OURS, ("transformers, eager",), 1.8),
        ]
    else:
        found = [
            Goal(OURS, ("keras-hub, graph", "keras-hub, XLA"), 1.6),
            Goal(OURS, ("timm, compiled",), 1.1),
        ]
    share = LIMITS.get((model, precision))
    if share is not None and batch == 8:
        found.append(Goal(OURS, ("limit",), share))
    return found


if __name__ == "__main__":
    start(lambda: compare(__doc__, CONTESTANTS, QUICK, goals))
