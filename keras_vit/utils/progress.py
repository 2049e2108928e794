"""How far a piece of work is: a line with a bar, the speed and the time left, drawn by rich."""

from __future__ import annotations

import time
from typing import IO, Any

from keras_vit.utils.numbers import readable
from keras_vit.utils.terminal import console
from keras_vit.utils.text import printable

# How often the line is written anew, and over how long the speed is taken.
SECONDS_BETWEEN_LINES = 0.2


class Progress:
    """The progress of some work, printed. Use it in a `with`, at whose end its line is removed.

    Args:
        batches: In all; `None` if that is not known.
        batch_size: Images per batch, or how many there are of whatever `speed` counts.
        verbose: 0 prints nothing, 2 a line per evaluation, 1 and `"auto"` in a terminal a line as
            well that is written anew after each batch.
        unit: What a batch is called.
        speed: What the speed is called.
        file: What is written to. Default: the standard output.
    """

    def __init__(
        self,
        batches: int | None,
        batch_size: float,
        verbose: str | int,
        unit: str = "step",
        speed: str = "images/s",
        file: IO[str] | None = None,
    ):
        self.batches, self.batch_size, self.unit, self.speed = batches, batch_size, unit, speed
        self.verbose = 1 if verbose == "auto" else int(verbose)
        self.console = console(file)
        self.bar: Any = None
        self.first: tuple[int, float] | None = None
        self.last_line = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: Any) -> None:
        self.end()

    def resumed(self, step: int, how: str = "") -> None:
        """The run goes on from a step; `how` says what is other than before."""
        if self.verbose:
            self._print(f"goes on from {self.unit} {step} of {self.batches}{how}")

    def show(self, step: int, logs: dict[str, Any] | None = None) -> None:
        """After a batch."""
        now = time.perf_counter()
        if self.first is None:
            # The first batch takes long, as TensorFlow traces it: it says nothing of the speed.
            self.first = (step, now)
        elif (
            self.verbose == 1
            and self.console.is_interactive
            and now - self.last_line >= SECONDS_BETWEEN_LINES
        ):
            self.last_line = now
            self._draw(step, "  ".join([*self._speed(step, now), *_values(logs or {})]))

    def evaluated(self, step: int, row: dict[str, float], learning_rate: float) -> None:
        """After an evaluation."""
        if self.verbose:
            speed = self._speed(step, time.perf_counter())
            facts = [self._count(step), *speed, f"lr {learning_rate:.3g}", *_values(row)]
            self._print("  ".join(facts))

    def end(self) -> None:
        """After the last batch: nothing is left of the line."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _draw(self, step: int, facts: str) -> None:
        if self.bar is None:
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(20),
                TextColumn("{task.fields[facts]}", markup=False),
            )
            # Without a thread that refreshes it: the work may fork, or be interrupted.
            self.bar = Bar(*columns, console=self.console, auto_refresh=False, transient=True)
            self.bar.start()
            self.bar.add_task("", total=self.batches, facts="")
        said = {"description": self._count(step), "facts": printable(facts)}
        self.bar.update(0, completed=step, refresh=True, **said)

    def _print(self, text: str) -> None:
        self.console.print(printable(text), soft_wrap=True)

    def _count(self, step: int) -> str:
        return f"{self.unit} {step:,}" + ("" if self.batches is None else f"/{self.batches:,}")

    def _speed(self, step: int, now: float) -> list[str]:
        if self.first is None or step <= self.first[0]:
            return []
        seconds = (now - self.first[1]) / (step - self.first[0])
        speed = f"{readable(self.batch_size / seconds)} {self.speed}"
        left = [] if self.batches is None else [duration(seconds * (self.batches - step)) + " left"]
        return [speed, *left]


def _values(values: dict[str, Any]) -> list[str]:
    return [f"{name} {float(value):.4f}" for name, value in values.items()]


def duration(seconds: float) -> str:
    """1:05 for 65 seconds, 2:00:05 for two hours more."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
