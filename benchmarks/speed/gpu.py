"""Ours on a graphics card beside timm, keras-hub and Flax: inference and training in bfloat16.

    KERAS_BACKEND=jax python -m benchmarks.speed.gpu --json gpu.json --picture gpu.png
    KERAS_BACKEND=jax python -m benchmarks.speed.gpu --tiny

Needs a CUDA card, JAX and this package, but not TensorFlow. What is not installed is named and left
out; `--tiny` tries all on a processor with the smallest model. Each contestant is a process of its
own with the same weights, and the logits are compared.

A batch of 1 is latency: one waits for every result. Of larger batches several go to the card before
one waits. A training step is SGD with momentum, weights in float32, the rest in bfloat16; its batch
is the largest power of two up to 1,024 that fits for ours: three are tried, from the planner's
estimate on. Contestants train one after the other, each with the whole card. "step MiB" and
"process" are memory of the card. The share of the card's peak counts the model's matrix products,
three times in training, and not what rematerialisation computes again.

The most important rows come first, ours and timm before the others. What does not fit into
`--minutes` is named and left out. The goals: inference as fast as timm compiled, or faster, and
training at 40 % of the peak. The exit code is 1 if one is missed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import keras

from benchmarks.common.card import first_card
from benchmarks.common.card_rows import PRECISION, Bench, Row
from benchmarks.common.command import bars, options, start, write
from benchmarks.common.comparison import ALLOWED, agreeing
from benchmarks.common.side_by_side import Contestant, Goal, fastest, judged, table
from keras_vit.utils.files import write_json

_JAX = {
    "KERAS_BACKEND": "jax",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several share the card
    "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.95",
}
_TORCH = {"KERAS_BACKEND": "torch"}
_TIMM = {"library": "timm", "device": "cuda"}
OURS = ("ours, JAX", "ours, torch")
TIMM = ("timm, compiled", "timm, CUDA graphs")
# Those of a group are built at the same time. XLA tries kernels on the card meanwhile, and another
# that does so too would disturb it: one of JAX in each group.
FIRST = (
    Contestant("ours, JAX", "ours", {"mode": "jax"}, _JAX),
    Contestant("timm, compiled", "pytorch", {**_TIMM, "mode": "compiled"}, _TORCH),
    Contestant("timm, CUDA graphs", "pytorch", {**_TIMM, "mode": "graphs"}, _TORCH),
)
SECOND = (
    Contestant("timm, eager", "pytorch", {**_TIMM, "mode": "eager"}, _TORCH),
    Contestant("Flax", "flax_linen", {}, _JAX),
    Contestant("ours, torch", "ours", {"mode": "eager"}, _TORCH),
)
THIRD = (
    Contestant("keras-hub, JAX", "kerashub", {"mode": "jax"}, _JAX),
    Contestant("keras-hub, torch", "kerashub", {"mode": "eager"}, _TORCH),
)
LIBRARIES = ("jax", "keras", "torch", "timm", "flax", "keras-hub")
SIZE = 224
LAST_SECONDS = 15  # for the start, and for the picture
INFERENCE_GOAL, TRAINING_GOAL = 1.0, 0.4


def rows() -> list[Row]:
    """The most important first."""
    b, s, l = "ViT_B16", "ViT_S16", "ViT_L16"  # noqa: E741
    return [
        Row(b, 256), Row(b, training=True), Row(b, 1), Row(l, training=True), Row(b, 8),
        Row(l, 256), Row(s, 256), Row(b, training=True, rematerialise=True), Row(l, 1), Row(s, 1),
        Row(l, 8), Row(s, 8), Row(l, training=True, rematerialise=True),
    ]  # fmt: skip


def main() -> int:
    parser = options(__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--only", nargs="+", help="names of contestants")
    parser.add_argument("--tiny", action="store_true", help="on a processor, with a small model")
    args = parser.parse_args()
    if keras.backend.backend() != "jax":
        raise ValueError(
            f"This needs KERAS_BACKEND=jax. Received: {keras.backend.backend()!r}, "
            f"which would take the card from those that are measured"
        )
    card = None if args.tiny else first_card(_JAX)
    # This process only writes the weights; the card is for the others.
    jax.config.update("jax_platforms", "cpu")
    plan = [Row("ViT_Ti16", 2), Row("ViT_Ti16", 2, training=True)] if args.tiny else rows()
    with tempfile.TemporaryDirectory() as folder:
        end = time.monotonic() + 60 * args.minutes - LAST_SECONDS
        bench = Bench(card, Path(folder), end, 32 if args.tiny else SIZE)
        about: dict[str, Any] = {
            "card": card.name if card else None, "size": bench.size, "versions": _versions()
        }  # fmt: skip
        print(f"{about['card'] or 'no card'}; {about['versions']}")
        if card and card.device is None:
            print("The planner does not know the peak of this card: no shares of it")
        for contestants in (FIRST, SECOND, THIRD):
            for row in plan:
                measure(bench, row, contestants, args.only)
                about["rows"] = [found(bench, each) for each in plan]
                if args.json:
                    write_json(Path(args.json), about)
    ran = [row for row in about["rows"] if row["results"]]
    if not ran:
        raise ValueError("Nothing could run; the lines above say why.")
    write(args, about, lambda: bars([_panel(row) for row in ran]))
    ours = {name for name in OURS if name in (args.only or OURS)}
    return int(not all(_is_good(row, ours) for row in ran))


def measure(
    bench: Bench, row: Row, contestants: Sequence[Contestant], only: Sequence[str] | None
) -> None:
    """Runs those of the contestants that are asked for, and prints the row."""
    chosen = [each for each in contestants if not only or each.name in only]
    runners = row.runners(chosen, bench.card)
    if runners:
        before = len(row.results)
        bench.run(row, runners)
        if len(row.results) > before:
            report(bench, row)
        sys.stdout.flush()


def goals(bench: Bench, row: Row) -> list[dict[str, Any]]:
    """What was aimed at, and whether it was reached."""
    if bench.card is None:
        return []
    if not row.training:
        return judged(row.results, [Goal(OURS, TIMM, INFERENCE_GOAL)])
    shares, ours = bench.shares(row), fastest(row.results, OURS)
    if row.rematerialise or ours not in shares:
        return []
    reached = shares[ours] >= TRAINING_GOAL
    found = {"of": "share of the peak", "ours": ours, "theirs": "the peak"}
    return [{**found, "goal": TRAINING_GOAL, "ratio": shares[ours], "reached": reached}]


def report(bench: Bench, row: Row) -> None:
    """Compares the logits and prints what was found so far."""
    print(row.title)
    if not row.results:
        return
    try:
        row.results = agreeing(row.results, bench.expected[row.model], ALLOWED[PRECISION])
    except ValueError as error:  # other rows are still to come
        row.wrong = str(error)
        print(f"  {error}")
    print(table(row.results, row.batch or 0, next(iter(row.results))))
    shares = bench.shares(row)
    if shares:
        print(f"  of the peak: {', '.join(f'{n} {s:.1%}' for n, s in shares.items())}")
    for goal in goals(bench, row):
        print(
            f"  {goal['of']}: {goal['ours']} has {goal['ratio']:.2f} of {goal['theirs']}, goal "
            f"{goal['goal']:.2f}: {'reached' if goal['reached'] else 'missed'}"
        )


def found(bench: Bench, row: Row) -> dict[str, Any]:
    """A row as JSON values."""
    shares = bench.shares(row)
    results = {
        name: {
            "seconds": timing.rounds,
            "images_per_second": (row.batch or 0) / timing.median,
            "share_of_peak": shares.get(name),
            **{key: timing.facts.get(key) for key in ("peak_mib", "step_mib", "difference")},
        }
        for name, timing in row.results.items()
    }
    fields = ("model", "batch", "training", "rematerialise", "left_out", "wrong")
    facts = {name: getattr(row, name) for name in fields}
    return {**facts, "results": results, "goals": goals(bench, row)}


def _is_good(row: dict[str, Any], ours: set[str]) -> bool:
    """Whether the logits are the same, the goals reached, and one of ours ran, if there is any."""
    ran = bool(ours & set(row["results"])) or not ours
    return row["wrong"] is None and ran and all(goal["reached"] for goal in row["goals"])


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _panel(row: dict[str, Any]) -> tuple[str, str, dict[str, float]]:
    """Images/s of a row."""
    what = "training" if row["training"] else "inference"
    title = f"{what} {row['model']}, batch {row['batch']}"
    speeds = {name: each["images_per_second"] for name, each in row["results"].items()}
    return title + ", rematerialised" * row["rematerialise"], "images/s", speeds


if __name__ == "__main__":
    start(main)
