"""Ours on a graphics card beside timm, keras-hub and Flax: inference and training in bfloat16.

    KERAS_BACKEND=jax python -m benchmarks.speed.gpu --json gpu.json --picture gpu.png
    KERAS_BACKEND=jax python -m benchmarks.speed.gpu --tiny

Needs a CUDA card, JAX and this package, but not TensorFlow. What is not installed is named and left
out; `--tiny` tries all on a processor with the smallest model. Each contestant is a process of its
own with the same weights, and the logits are compared.

A batch of 1 is latency: one waits for every result. Of larger batches several go to the card before
one waits. A training step is SGD with momentum, weights in float32, the rest in bfloat16; its batch
is the largest power of two up to 1,024 that fits for ours, by the planner's estimate and then by
trying. Contestants train one after the other, with the whole card each. "step MiB" and "process"
are the card's memory. The share of the card's peak counts the model's matrix products, three times
in training, and not what rematerialisation computes again.

The most important rows come first, ours and timm before the others. What does not fit into
`--minutes` is named and left out. The goals: inference as fast as timm compiled, or faster, and
training at 40 % of the peak. The exit code is 1 if one is missed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import keras

from benchmarks.common.card import Card, first_card, largest_batch, share_of_peak
from benchmarks.common.command import bars, options, start, write
from benchmarks.common.comparison import compared
from benchmarks.common.side_by_side import Contestant, Goal, Timing, fastest, judged, race, table
from benchmarks.contestants.weights import write as write_weights
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
    Contestant("Flax", "flax_linen", {}, _JAX),
    Contestant("ours, torch", "ours", {"mode": "eager"}, _TORCH),
)
THIRD = (
    Contestant("keras-hub, JAX", "kerashub", {"mode": "jax"}, _JAX),
    Contestant("keras-hub, torch", "kerashub", {"mode": "eager"}, _TORCH),
)
LIBRARIES = ("jax", "keras", "torch", "timm", "flax", "keras-hub")
SIZE, PRECISION = 224, "bfloat16"
MOST = 1024  # images of a training step: more are not faster
ROUNDS = 3
# Batch of a forward pass -> steps that go to the card before one waits, and such waits in a round.
WAITS = {1: (1, 100), 8: (20, 10), 256: (4, 5)}
TRAINING_WAITS = (1, 3)
LAST_SECONDS = 15  # for the start, and for the picture
INFERENCE_GOAL, TRAINING_GOAL = 1.0, 0.4


@dataclasses.dataclass
class Row:
    """What all do, and what was found.

    Attributes:
        model: A name in `keras_vit.VARIANTS`.
        batch: Images; of a training step `None` until the largest is found.
        training: Whether a step is one of training.
        rematerialise: Whether a training step keeps only the inputs of the blocks.
        results: By the names of contestants.
        left_out: Contestants for which no time was left.
        difference: The largest of the logits, or what is wrong with them.
    """

    model: str
    batch: int | None = None
    training: bool = False
    rematerialise: bool = False
    results: dict[str, Timing] = dataclasses.field(default_factory=dict)
    left_out: list[str] = dataclasses.field(default_factory=list)
    difference: float | str | None = None

    @property
    def title(self) -> str:
        what = "training" if self.training else "inference"
        kept = ", rematerialised" if self.rematerialise else ""
        return f"{what} {self.model}, batch {self.batch or 'to find'}{kept}"

    def runners(self, of: Sequence[Contestant], card: Card | None) -> list[Contestant]:
        """Those that can do it, with the options that it needs."""
        found = []
        for each in of:
            more: dict[str, Any] = {}
            if self.training and each.options.get("mode") == "graphs":
                continue
            if self.rematerialise:
                if each.module == "kerashub":
                    continue
                more["rematerialise"] = True
            if card is None and "device" in each.options:
                more["device"] = "cpu"
            found.append(dataclasses.replace(each, options={**each.options, **more}))
        return found


def rows() -> list[Row]:
    """The most important first."""
    b, s, l = "ViT_B16", "ViT_S16", "ViT_L16"  # noqa: E741
    return [
        Row(b, 256), Row(b, training=True), Row(b, 1), Row(l, training=True), Row(b, 8),
        Row(l, 256), Row(s, 256), Row(b, training=True, rematerialise=True), Row(l, 1), Row(s, 1),
        Row(l, 8), Row(s, 8), Row(l, training=True, rematerialise=True),
    ]  # fmt: skip


@dataclasses.dataclass
class Bench:
    """Where and until when it runs.

    Attributes:
        card: `None` with `--tiny`.
        folder: For the weights.
        end: In the seconds of `time.monotonic`.
        size: Pixels of a side.
        took: Seconds of the last run with this model, training or not.
    """

    card: Card | None
    folder: Path
    end: float
    size: int
    took: dict[tuple[str, bool], float] = dataclasses.field(default_factory=dict)

    def run(self, row: Row, contestants: Sequence[Contestant]) -> None:
        """Adds what these do to a row, or names those for which no time is left."""
        began, kind = time.monotonic(), (row.model, row.training)
        if self.end - began < self.took.get(kind, 20):
            names = [each.name for each in contestants]
            print(f"{row.title}: no time is left for {'; '.join(names)}")
            row.left_out += names
            return
        place = self.folder / row.model
        if not place.is_dir():
            place.mkdir()
            write_weights(place, row.model, self.size)
        if row.training:
            self._train(row, contestants)
        else:
            with contextlib.suppress(ValueError):  # none could, and each was named
                row.results |= self._race(row, contestants, at_once=True)
        self.took[kind] = time.monotonic() - began

    def _train(self, row: Row, contestants: Sequence[Contestant]) -> None:
        """One after the other; the first tries half the batch, and half of that, if it fails."""
        halvings = 0
        if row.batch is None:
            memory = 0.9 * self.card.memory if self.card else 0
            row.batch = largest_batch(row.model, self.size, row.rematerialise, memory, MOST)
            halvings = 2
        waiting = list(contestants)
        while waiting and time.monotonic() < self.end:
            with contextlib.suppress(ValueError):  # it could not, and was named
                row.results |= self._race(row, waiting[:1])
            if waiting[0].name not in row.results and halvings and row.batch > 1:
                halvings -= 1
                row.batch //= 2
                print(f"  trying again with batch {row.batch}")
                continue
            halvings = 0
            del waiting[0]
        row.left_out += [each.name for each in waiting]

    def _race(
        self, row: Row, contestants: Sequence[Contestant], at_once: bool = False
    ) -> dict[str, Timing]:
        launches, repeats = TRAINING_WAITS if row.training else WAITS.get(row.batch or 0, (1, 1))
        task = {
            "model": row.model, "size": self.size, "batch": row.batch, "precision": PRECISION,
            "training": row.training, "folder": str(self.folder / row.model),
            "launches": launches, "limit": max(1, int(self.end - time.monotonic())),
        }  # fmt: skip
        return race(contestants, task, ROUNDS if self.card else 1, repeats, at_once)

    def shares(self, row: Row) -> dict[str, float]:
        """The share of the card's peak of each contestant, where the peak is known."""
        if self.card is None or self.card.device is None or row.batch is None:
            return {}
        speeds = {name: row.batch / timing.median for name, timing in row.results.items()}
        return {
            name: share_of_peak(speed, row.model, self.size, row.training, self.card) or 0.0
            for name, speed in speeds.items()
        }

    def goals(self, row: Row) -> list[dict[str, Any]]:
        """What was aimed at, and whether it was reached."""
        if self.card is None:
            return []
        if not row.training:
            return judged(row.results, [Goal(OURS, TIMM, INFERENCE_GOAL)])
        shares, ours = self.shares(row), fastest(row.results, OURS)
        if row.rematerialise or ours not in shares:
            return []
        reached = shares[ours] >= TRAINING_GOAL
        found = {"of": "share of the peak", "ours": ours, "theirs": "the peak"}
        return [{**found, "goal": TRAINING_GOAL, "ratio": shares[ours], "reached": reached}]

    def report(self, row: Row) -> None:
        """Compares the logits and prints what was found so far."""
        print(row.title)
        if not row.results:
            return
        try:
            row.difference = compared(row.results, PRECISION)
        except ValueError as error:  # other rows are still to come
            row.difference = str(error)
            print(f"  {error}")
        print(table(row.results, row.batch or 0, next(iter(row.results))))
        shares = self.shares(row)
        if shares:
            print(f"  of the peak: {', '.join(f'{n} {s:.1%}' for n, s in shares.items())}")
        for goal in self.goals(row):
            print(
                f"  {goal['of']}: {goal['ours']} has {goal['ratio']:.2f} of {goal['theirs']}, goal "
                f"{goal['goal']:.2f}: {'reached' if goal['reached'] else 'missed'}"
            )

    def found(self, row: Row) -> dict[str, Any]:
        """A row as JSON values."""
        shares = self.shares(row)
        results = {
            name: {
                "seconds": timing.rounds,
                "images_per_second": (row.batch or 0) / timing.median,
                "share_of_peak": shares.get(name),
                **{key: timing.facts[key] for key in ("peak_mib", "step_mib")},
            }
            for name, timing in row.results.items()
        }
        fields = ("model", "batch", "training", "rematerialise", "left_out", "difference")
        facts = {name: getattr(row, name) for name in fields}
        return {**facts, "results": results, "goals": self.goals(row)}


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
    card = None if args.tiny else first_card()
    # This process only writes the weights; the card is for the others.
    jax.config.update("jax_platforms", "cpu")
    plan = [Row("ViT_Ti16", 2), Row("ViT_Ti16", 2, training=True)] if args.tiny else rows()
    with tempfile.TemporaryDirectory() as folder:
        end = time.monotonic() + 60 * args.minutes - LAST_SECONDS
        bench = Bench(card, Path(folder), end, 32 if args.tiny else SIZE)
        about = {"card": card.name if card else None, "size": bench.size, "versions": _versions()}
        print(f"{about['card'] or 'no card'}; {about['versions']}")
        if card and card.device is None:
            print("The planner does not know the peak of this card: no shares of it")
        for contestants in (FIRST, SECOND, THIRD):
            for row in plan:
                measure(bench, row, contestants, args.only)
                if args.json:
                    write_json(Path(args.json), {**about, "rows": [*map(bench.found, plan)]})
    found = [bench.found(row) for row in plan]
    ran = [row for row in found if row["results"]]
    write(args, {**about, "rows": found}, lambda: bars([_panel(row) for row in ran]))
    if not ran:
        raise ValueError("Nothing could run; the lines above say why.")
    ours = set(OURS) & set(args.only or OURS)
    good = [
        isinstance(row["difference"], float)
        and all(goal["reached"] for goal in row["goals"])
        and (not ours or bool(ours & set(row["results"])))
        for row in ran
    ]
    return int(not all(good))


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
            bench.report(row)
        sys.stdout.flush()


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
