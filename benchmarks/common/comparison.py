"""What `speed/inference.py` and `speed/training.py` share: arguments, comparison, picture."""

from __future__ import annotations

import itertools
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.command import bars, options, write
from benchmarks.common.side_by_side import Contestant, Goal, Timing, judged, race, table
from benchmarks.contestants.weights import write as write_weights
from keras_vit import VARIANTS

# What all libraries have: no hybrids.
PLAIN = tuple(name for name, row in VARIANTS.items() if getattr(row, "stem", 0) is None)


def compare(
    description: str | None,
    contestants: Sequence[Contestant],
    quick: Sequence[str],
    goals: Callable[[str, int, str], list[Goal]],
    training: bool,
) -> int:
    """The body of a benchmark.

    Args:
        description: For `--help`.
        contestants: The first is ours.
        quick: Names of those that `--quick` runs.
        goals: Of a model, a batch and a precision.
        training: Whether a step is one of training.

    Returns:
        The exit code: 1 if a goal was missed.

    Raises:
        ValueError: If logits differ that should not.
    """
    parser = options(description)
    add = parser.add_argument
    add("--models", "--model", nargs="+", default=["ViT_S16"], choices=PLAIN)
    add("--batches", "--batch", nargs="+", type=int, default=[16 if training else 8])
    add("--precisions", nargs="+", default=["float32", "bfloat16"])
    add("--only", nargs="+", help="names of contestants")
    add("--size", type=int, default=224, help="pixels")
    add("--rounds", type=int, default=7)
    add("--repeats", type=int, default=5, help="steps of each in a round")
    add("--quick", action="store_true", help="few contestants, few rounds")
    args = parser.parse_args()
    names = args.only or (quick if args.quick else [each.name for each in contestants])
    if args.quick:
        args.rounds, args.repeats = 3, 3
    chosen = [each for each in contestants if each.name in names]
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for model in args.models:
            place = Path(folder, model)
            place.mkdir()
            write_weights(place, model, args.size)
            for precision, batch in itertools.product(args.precisions, args.batches):
                task = {
                    "model": model, "size": args.size, "batch": batch, "precision": precision,
                    "training": training, "folder": str(place),
                }  # fmt: skip
                print(f"{model}, {args.size} px, batch {batch}, {precision}")
                results = race(chosen, task, args.rounds, args.repeats)
                difference = compared(results, precision)
                print(table(results, batch, next(iter(results))))
                reached = judged(results, goals(model, batch, precision))
                for goal in reached:
                    print(
                        f"  {goal['of']}: {goal['ours']} is {goal['ratio']:.2f}x as good as "
                        f"{goal['theirs']}, goal "
                        f"{goal['goal']:.2f}: {'reached' if goal['reached'] else 'missed'}"
                    )
                del task["folder"]
                times = {
                    name: {
                        "seconds": timing.rounds,
                        **{key: timing.facts[key] for key in ("peak_mib", "step_mib")},
                    }
                    for name, timing in results.items()
                }
                found.append({**task, "difference": difference, "times": times, "goals": reached})
    write(args, found, lambda: bars([_panel(each) for each in found]))
    return int(not all(goal["reached"] for each in found for goal in each["goals"]))


def compared(results: dict[str, Timing], precision: str) -> float:
    """The largest difference of logits, as a share of their range.

    Raises:
        ValueError: If it says that the models are not the same.
    """
    logits = {
        name: np.array(timing.facts["logits"])
        for name, timing in results.items()
        if "logits" in timing.facts
    }
    ours = next(iter(logits.values()))
    differences = {
        name: float(np.abs(values - ours).max() / np.ptp(ours)) for name, values in logits.items()
    }
    allowed = 1e-3 if precision == "float32" else 0.1
    wrong = {name: value for name, value in differences.items() if not value < allowed}
    if wrong:
        raise ValueError(
            f"The logits must be the same to {allowed} of their range. Received: {wrong}"
        )
    worst = max(differences.values())
    print(f"  largest difference of the logits: {worst:.1e} of their range")
    return worst


def _panel(each: dict[str, Any]) -> tuple[str, str, dict[str, float]]:
    """Images/s of a model, batch and precision."""
    title = f"{each['model']}, batch {each['batch']}, {each['precision']}"
    medians = {name: statistics.median(t["seconds"]) for name, t in each["times"].items()}
    return title, "images/s", {name: each["batch"] / s for name, s in medians.items()}
