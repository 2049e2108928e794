"""Rows of a benchmark on a graphics card: what contestants do, until the time is over."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.card import Card, largest_batch, share_of_peak
from benchmarks.common.side_by_side import Contestant, Timing, race
from benchmarks.contestants.weights import write as write_weights

PRECISION = "bfloat16"
MOST = 1024  # images of a training step: more are not faster
ROUNDS = 3
# Batch of a forward pass -> steps that go to the card before one waits, and such waits in a round.
WAITS = {1: (1, 100), 8: (20, 10), 256: (4, 5)}
TRAINING_WAITS = (1, 3)


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
        wrong: What is wrong with the logits of ours, if anything.
    """

    model: str
    batch: int | None = None
    training: bool = False
    rematerialise: bool = False
    results: dict[str, Timing] = dataclasses.field(default_factory=dict)
    left_out: list[str] = dataclasses.field(default_factory=list)
    wrong: str | None = None

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


@dataclasses.dataclass
class Bench:
    """Where and until when it runs.

    Attributes:
        card: `None` with `--tiny`.
        folder: For the weights.
        end: In the seconds of `time.monotonic`.
        size: Pixels of a side.
        took: Seconds of the last run with this model, training or not.
        expected: The logits of each model.
    """

    card: Card | None
    folder: Path
    end: float
    size: int
    took: dict[tuple[str, bool], float] = dataclasses.field(default_factory=dict)
    expected: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

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
            self.expected[row.model] = write_weights(place, row.model, self.size)
        if row.training:
            self._train(row, contestants)
        else:
            row.results |= self._race(row, contestants, at_once=True)
        self.took[kind] = time.monotonic() - began

    def _train(self, row: Row, contestants: Sequence[Contestant]) -> None:
        """One after the other; the first finds the batch of the row."""
        waiting = list(contestants)
        if row.batch is None:
            self._find_batch(row, waiting.pop(0))
        while waiting and time.monotonic() < self.end:
            row.results |= self._race(row, [waiting.pop(0)])
        row.left_out += [each.name for each in waiting]

    def _find_batch(self, row: Row, first: Contestant) -> None:
        """Tries three at most: that of the planner, and its halves or its doubles."""
        memory = 0.9 * self.card.memory if self.card else 0
        # The planner counts what TensorFlow keeps. JAX keeps five times as much.
        batch = largest_batch(row.model, self.size, row.rematerialise, memory / 5, MOST)
        fits = 0
        failed = False
        for _ in range(3):
            row.batch = batch
            found = self._race(row, [first]) if time.monotonic() < self.end else {}
            if found:
                fits, row.results = batch, found
                full = 2 * found[first.name].facts["peak_mib"] * 2**20 > memory
                if failed or full or batch == MOST:
                    break
                batch *= 2
            elif fits or batch == 1:
                break
            else:
                failed, batch = True, batch // 2
        row.batch = fits or row.batch

    def _race(
        self, row: Row, contestants: Sequence[Contestant], at_once: bool = False
    ) -> dict[str, Timing]:
        launches, repeats = TRAINING_WAITS if row.training else WAITS.get(row.batch or 0, (1, 1))
        task = {
            "model": row.model, "size": self.size, "batch": row.batch, "precision": PRECISION,
            "training": row.training, "folder": str(self.folder / row.model),
            "launches": launches, "limit": max(1, int(self.end - time.monotonic())),
        }  # fmt: skip
        print(f"{row.title} ...", file=sys.stderr)
        try:
            results = race(contestants, task, ROUNDS if self.card else 1, repeats, at_once)
        except ValueError:  # none could, and each was named
            return {}
        elsewhere = [name for name in results if self.card and not results[name].facts["on_card"]]
        for name in elsewhere:
            print(f"  {name}: left out, its library sees no card", file=sys.stderr)
            del results[name]
        return results

    def shares(self, row: Row) -> dict[str, float]:
        """The share of the card's peak of each contestant, where the peak is known."""
        if self.card is None or self.card.device is None or row.batch is None:
            return {}
        speeds = {name: row.batch / timing.median for name, timing in row.results.items()}
        return {
            name: share_of_peak(speed, row.model, self.size, row.training, self.card) or 0.0
            for name, speed in speeds.items()
        }
