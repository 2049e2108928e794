"""Several libraries on one machine, by turns: each in a process of its own that sleeps meanwhile.

A library's threads spin for a while when they have nothing to do, and two libraries in one process
share pools, allocators and flags. So each contestant is a process (`contestants/process.py`), and
all but the one whose turn it is are stopped by a signal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks import ROOT
from benchmarks.common import turns

# The precisions that every library has.
FLOATS = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Contestant:
    """Who runs what.

    Attributes:
        name: For the table.
        module: Of `contestants`, that builds it.
        options: For that module's `build`, JSON values; `mode` for example.
        environment: Variables of its process.
        precisions: Those that it has.
    """

    name: str
    module: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    precisions: tuple[str, ...] = FLOATS


class CannotRunError(Exception):
    """A contestant is left out: its library is not installed, or fails. The text says which."""


class Process:
    """The process of one contestant."""

    def __init__(self, contestant: Contestant, task: dict[str, Any]):
        self.name = contestant.name
        order = json.dumps({**task, **contestant.options})
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.contestants.process", contestant.module, order],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("SHOW_STDERR") else self._errors,
            text=True,
            env={**os.environ, **contestant.environment},
        )
        self.facts: dict[str, Any] = self._answer()
        if "missing" in self.facts:
            self.end()
            raise CannotRunError(f"not here ({self.facts['missing']})")
        self._process.send_signal(signal.SIGSTOP)

    def take(self, repeats: int) -> list[float]:
        """Seconds of each of so many steps, after one that does not count."""
        self._process.send_signal(signal.SIGCONT)
        with contextlib.suppress(BrokenPipeError):  # it has ended, and `_answer` says why
            print(repeats, file=self._process.stdin, flush=True)
        answer = self._answer()
        self._process.send_signal(signal.SIGSTOP)
        self.facts |= answer
        return self.facts.pop("seconds")

    def end(self) -> None:
        self._process.kill()
        with contextlib.suppress(BrokenPipeError), self._errors, self._process:
            pass  # closes all, and waits

    def _answer(self) -> dict[str, Any]:
        stdout = self._process.stdout
        for line in stdout or ():
            if line.startswith("{"):  # else a library prints something of its own
                return json.loads(line)
        self._errors.seek(0)
        last = ([line.strip() for line in self._errors if line.strip()] or ["no message"])[-1]
        code = self._process.wait()
        self.end()
        if code == -signal.SIGALRM:
            raise CannotRunError("not ready in the time that was left")
        raise CannotRunError(
            f"ended with code {code} ({last[:200]}); run again with SHOW_STDERR=1 to see more"
        )


@dataclasses.dataclass
class Timing:
    """What came out for one contestant.

    Attributes:
        seconds: Of each step, a list for each round.
        facts: `peak_mib` and `step_mib`, and what else its process says.
    """

    seconds: list[list[float]]
    facts: dict[str, Any]

    @property
    def rounds(self) -> list[float]:
        return [statistics.median(values) for values in self.seconds]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


def race(
    contestants: Sequence[Contestant],
    task: dict[str, Any],
    rounds: int,
    repeats: int,
    at_once: bool = False,
) -> dict[str, Timing]:
    """Runs all contestants by turns; those that cannot run are named and left out.

    Args:
        contestants: The first is ours.
        task: For every `build`: model, batch, precision, ...
        rounds: Turns of each.
        repeats: Steps of a turn.
        at_once: Whether all are built at the same time, which needs cores and memory for all.

    Returns:
        What was measured, by the names of those that ran to the end, in order.

    Raises:
        ValueError: If none of them can run.
    """
    running: list[Process] = []

    def build(contestant: Contestant) -> None:
        _progress(f"building {contestant.name}")
        with _left_out(contestant.name):
            running.append(Process(contestant, task))

    try:
        with ThreadPoolExecutor(len(contestants) if at_once else 1) as pool:
            list(pool.map(build, contestants))
        order = [contestant.name for contestant in contestants]
        running.sort(key=lambda each: order.index(each.name))
        results = {each.name: Timing([], each.facts) for each in running}
        for number in range(rounds):
            for each in running:
                if each.name not in results:
                    continue
                _progress(f"round {number + 1}/{rounds} {each.name}")
                with _left_out(each.name, results):
                    results[each.name].seconds.append(each.take(repeats))
        if not results:
            raise ValueError("None of the contestants can run; the lines above say why.")
        return results
    finally:
        _progress("")
        for each in running:
            each.end()


@contextlib.contextmanager
def _left_out(name: str, results: dict[str, Timing] | None = None) -> Iterator[None]:
    """Names a contestant that cannot run, and forgets what was measured of it."""
    try:
        yield
    except CannotRunError as reason:
        print(f"  {name}: left out, {reason}", file=sys.stderr)
        (results or {}).pop(name, None)


def _progress(text: str) -> None:
    """A line of a terminal, written anew."""
    if sys.stderr.isatty():
        print(f"  {text:58}", end="\r", file=sys.stderr, flush=True)


def ratio(results: dict[str, Timing], fast: str, slow: str) -> tuple[float, float, float]:
    """How many times as fast the first is as the second: median, least and most of the rounds."""
    return turns.ratio(results[slow].rounds, results[fast].rounds)


@dataclasses.dataclass(frozen=True)
class Goal:
    """A ratio that is aimed at.

    Attributes:
        of: Names of contestants of ours; the fastest counts.
        to: Names of theirs; the fastest counts.
        least: The ratio.
        why: What it is about, for the report.
        memory: The ratio is that of the memory of a step, theirs to ours, and of those of ours the
            fastest counts, of theirs the one that needs least.
    """

    of: tuple[str, ...]
    to: tuple[str, ...]
    least: float
    why: str = ""
    memory: bool = False


def fastest(results: dict[str, Timing], names: Sequence[str]) -> str | None:
    """The fastest of those that ran."""
    ran = [name for name in names if name in results]
    return min(ran, key=lambda name: results[name].median) if ran else None


def judged(results: dict[str, Timing], goals: Sequence[Goal]) -> list[dict[str, Any]]:
    """Each goal whose contestants ran, what was reached, and whether that is enough."""
    found = []
    for goal in goals:
        ours, theirs = fastest(results, goal.of), fastest(results, goal.to)
        if ours is None or theirs is None:
            continue
        if goal.memory:
            needs = {name: results[name].facts["step_mib"] for name in goal.to if name in results}
            theirs = min(needs, key=lambda name: needs[name])
            middle = least = most = needs[theirs] / results[ours].facts["step_mib"]
        else:
            middle, least, most = ratio(results, ours, theirs)
        found.append(
            {
                "of": "memory of a step" if goal.memory else "speed",
                "ours": ours,
                "theirs": theirs,
                "goal": goal.least,
                "ratio": middle,
                "spread": [least, most],
                "reached": middle >= goal.least,
            }
        )
    return found


def table(results: dict[str, Timing], batch: int, base: str) -> str:
    """Milliseconds, images/s, times `base`, memory of a step and of the process, difference."""
    lines = [
        f"  {'':32} {'ms':>9} {'images/s':>9} {'ratio':>6} {'spread':>11} {'step MiB':>9} "
        f"{'process':>8} {'differs':>8}"
    ]
    for name, timing in results.items():
        middle, least, most = ratio(results, name, base)
        differs = timing.facts.get("difference")
        lines.append(
            f"  {name:32} {1e3 * timing.median:9.1f} {batch / timing.median:9.1f} {middle:6.2f} "
            f"{least:5.2f}-{most:5.2f} {timing.facts['step_mib']:9.0f} "
            f"{timing.facts['peak_mib']:8.0f} {'' if differs is None else f'{differs:.1e}':>8}"
        )
    return "\n".join(lines)
