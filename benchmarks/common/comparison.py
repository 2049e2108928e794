"""What the comparisons with other libraries share: arguments, agreement, goals, picture."""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.command import bars, options, write
from benchmarks.common.side_by_side import FLOATS, Contestant, Goal, Timing, judged, race, table
from benchmarks.contestants.weights import write as write_weights
from keras_vit import VARIANTS

# What all libraries have: no hybrids.
PLAIN = tuple(name for name, row in VARIANTS.items() if getattr(row, "stem", 0) is None)
# The largest difference of logits from ours in float32, as a share of their range. With 16 bits
# models differ by .01, with 8 by .01 to .03; what computes something else differs by about 1.
ALLOWED = {"float32": 1e-3, "bfloat16": 0.1, "int8": 0.1}


def compare(
    description: str | None,
    contestants: Sequence[Contestant],
    quick: Sequence[str],
    goals: Callable[[str, int, str], list[Goal]],
    training: bool = False,
    models: Sequence[str] = ("ViT_S16",),
    batches: Sequence[int] = (8,),
    precisions: Sequence[str] = FLOATS,
) -> int:
    """The body of a benchmark.

    Args:
        description: For `--help`.
        contestants: The names of ours begin with "ours"; the first that runs has the ratio 1.
        quick: Names of those that `--quick` runs.
        goals: Of a model, a batch and a precision.
        training: Whether a step is one of training.
        models, batches: The defaults of the options.
        precisions: All that there are.

    Returns:
        The exit code: 1 if a goal was missed.

    Raises:
        ValueError: If logits of ours differ that should not.
    """
    parser = options(description)
    add = parser.add_argument
    add("--models", "--model", nargs="+", default=models, choices=PLAIN)
    add("--batches", "--batch", nargs="+", type=int, default=batches)
    add("--precisions", nargs="+", default=precisions, choices=precisions)
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
            expected = write_weights(place, model, args.size)
            for precision, batch in itertools.product(args.precisions, args.batches):
                task = {
                    "model": model, "size": args.size, "batch": batch, "precision": precision,
                    "training": training, "folder": str(place),
                }  # fmt: skip
                print(f"{model}, {args.size} px, batch {batch}, {precision}")
                able = [each for each in chosen if precision in each.precisions]
                results = agreeing(
                    race(able, task, args.rounds, args.repeats), expected, ALLOWED[precision]
                )
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
                        **{k: v for k, v in timing.facts.items() if k != "logits"},
                    }
                    for name, timing in results.items()
                }
                found.append({**task, "times": times, "goals": reached})
    write(args, found, lambda: bars([_panel(each) for each in found]))
    return int(not all(goal["reached"] for each in found for goal in each["goals"]))


def agreeing(results: dict[str, Timing], expected: np.ndarray, allowed: float) -> dict[str, Timing]:
    """Those that compute what they should; others are named and left out.

    Adds the fact `difference` to each that says its logits: the largest from those that are
    expected, as a share of their range.

    Args:
        results: Of `race`.
        expected: The logits of the first image: those of our model in float32, which Keras runs.
        allowed: The largest difference.

    Raises:
        ValueError: If one of ours computes something else, or all others do.
    """
    wrong = {}
    for name, timing in results.items():
        if "logits" not in timing.facts:
            continue
        logits = np.array(timing.facts["logits"])
        difference = float(np.abs(logits - expected[: len(logits)]).max() / np.ptp(expected))
        timing.facts["difference"] = difference
        if not difference <= allowed:  # not a number is wrong as well
            wrong[name] = difference
    said = "the logits differ by {:.1e} of their range, more than {}"
    for name, difference in wrong.items():
        if name.startswith("ours"):
            raise ValueError(f"{name}: {said.format(difference, allowed)}.")
        print(f"  {name}: left out, {said.format(difference, allowed)}", file=sys.stderr)
    right = {name: timing for name, timing in results.items() if name not in wrong}
    if not right:
        raise ValueError(
            "None of the contestants computes what it should; the lines above say who."
        )
    return right


def _panel(each: dict[str, Any]) -> tuple[str, str, dict[str, float]]:
    """Images/s of a model, batch and precision."""
    title = f"{each['model']}, batch {each['batch']}, {each['precision']}"
    medians = {name: statistics.median(t["seconds"]) for name, t in each["times"].items()}
    return title, "images/s", {name: each["batch"] / s for name, s in medians.items()}
