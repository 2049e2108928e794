"""Timing several things by turns, and comparing neighbours in time: the machine is noisy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def seconds(job: Callable[..., Any], *arguments: Any) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    job(*arguments)
    return time.perf_counter() - start


def by_turns(jobs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """The seconds of each job in each round.

    Args:
        jobs: Name -> what to call; each once in a round.
        rounds: How many.
    """
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            times[name].append(seconds(job))
    return times


def ratio(of: Sequence[float], to: Sequence[float]) -> tuple[float, float, float]:
    """How many times the second the first is, round by round: median, least and most."""
    each = [one / other for one, other in zip(of, to, strict=True)]
    return statistics.median(each), min(each), max(each)
