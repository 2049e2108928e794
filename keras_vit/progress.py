"""What a training run says of itself: a line with its speed and the time left, a CSV file, and
files for TensorBoard."""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

# How often the line is written anew, and over how long the speed is taken.
SECONDS_BETWEEN_LINES = 0.2


class Progress:
    """The progress of a run, printed.

    Args:
        batches: In all; `None` if that is not known.
        batch_size: Images per batch.
        verbose: 0 prints nothing, 2 a line per evaluation, 1 and `"auto"` a line as well that is
            written anew after each batch.
        unit: What a batch is called.
    """

    def __init__(
        self, batches: int | None, batch_size: int, verbose: str | int, unit: str = "step"
    ):
        self.batches, self.batch_size, self.unit = batches, batch_size, unit
        self.verbose = 1 if verbose == "auto" else int(verbose)
        self.first: tuple[int, float] | None = None
        self.last_line = 0.0
        self.width = 0

    def resumed(self, step: int) -> None:
        """The run goes on from a step."""
        if self.verbose:
            print(f"goes on from step {step} of {self.batches}", flush=True)

    def show(self, step: int, logs: dict[str, Any]) -> None:
        """After a batch."""
        now = time.perf_counter()
        if self.first is None:
            # The first batch takes long, as TensorFlow traces it: it says nothing of the speed.
            self.first = (step, now)
        elif self.verbose == 1 and now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            self._line(f"{self._where(step, now)}  {_text(logs)}", end="")

    def evaluated(self, step: int, row: dict[str, float], learning_rate: float) -> None:
        """After an evaluation."""
        if self.verbose:
            text = f"{self._where(step, time.perf_counter())}  lr {learning_rate:.3g}  {_text(row)}"
            self._line(text, end="\n")

    def end(self) -> None:
        """After the last batch, where no evaluation follows: nothing is left of the line."""
        if self.width:
            self._line("", end="\r")

    def _line(self, text: str, end: str) -> None:
        if self.verbose == 1:
            text, self.width = "\r" + text.ljust(self.width), len(text) if end == "" else 0
        sys.stdout.write(text + end)
        sys.stdout.flush()

    def _where(self, step: int, now: float) -> str:
        text = f"{self.unit} {step}" + ("" if self.batches is None else f"/{self.batches}")
        if self.first is not None and step > self.first[0]:
            seconds = (now - self.first[1]) / (step - self.first[0])
            text += f"  {self.batch_size / seconds:.3g} images/s"
            if self.batches is not None:
                text += f"  {_duration(seconds * (self.batches - step))} left"
        return text


def _text(values: dict[str, Any]) -> str:
    return "  ".join(f"{name} {float(value):.4f}" for name, value in values.items())


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class EventFiles(keras.callbacks.TensorBoard):
    """Keras's TensorBoard callback, whose files are complete after each evaluation.

    Otherwise what was evaluated in the last two minutes before a kill would be missing: a run that
    goes on does not evaluate it again.
    """

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        for writer in self._writers.values():
            writer.flush()


def write_log(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """Writes a CSV file, a line per evaluation, under another name first.

    It is written whole each time: so it is never torn, and a run that was taken up in the middle
    leaves no line twice.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    names = ["step", *(name for name in rows[0] if name != "step")]
    with open(partial, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    os.replace(partial, path)
