"""What a training run says of itself: a line with its speed and the time left."""

from __future__ import annotations

import sys
import time
from typing import Any

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
