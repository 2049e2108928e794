"""Means of the tasks' scores, by group and over all, and lines that show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_vit.experiments.vtab.data import Availability
from keras_vit.experiments.vtab.tasks import GROUPS, TASKS


def scores(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the tasks of VTAB that were run; what stands in for a task does not count.

    Args:
        results: By the name of a task, with `group`, `test_accuracy` in [0, 1] and `stand_in`.

    Returns:
        `groups`: the mean of each group that has a result; `mean`: that of all tasks, each with
        the same weight, as in the paper; `of`: of how many of 19, for groups and all;
        `vtab_score`: `mean` if all 19 were run, else `None`. `stand_ins`: the mean of what stands
        in, or `None`.
    """
    real = {name: row for name, row in results.items() if not row["stand_in"]}
    by_group = {
        group: [row["test_accuracy"] for row in real.values() if row["group"] == group]
        for group in GROUPS
    }
    everything = [value for values in by_group.values() for value in values]
    sizes = {group: sum(task.group == group for task in TASKS.values()) for group in GROUPS}
    stand_ins = [row["test_accuracy"] for row in results.values() if row["stand_in"]]
    complete = set(real) == set(TASKS)
    return {
        "groups": {group: _mean(values) for group, values in by_group.items() if values},
        "mean": _mean(everything),
        "of": {group: [len(by_group[group]), sizes[group]] for group in GROUPS}
        | {"all": [len(everything), len(TASKS)]},
        "vtab_score": _mean(everything) if complete else None,
        "stand_ins": _mean(stand_ins),
    }


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def report_lines(summary: Mapping[str, Any]) -> list[str]:
    """What `vtab.run` returns, as a table: tasks, groups, mean, what was skipped."""
    results, found = summary["results"], summary["scores"]
    settings = summary["settings"]
    lines = [
        f"{settings['model']} ({settings['weights']}), {settings['image_size']} pixels, "
        f"{settings['steps']} steps of {settings['batch_size']}",
        "",
        f"{'':24}{'group':13}{'test images':>12}{'lr':>9}{'top-1':>9}",
    ]
    for name, row in results.items():
        mark = "  stand-in, no task of VTAB" if row["stand_in"] else ""
        lines.append(
            f"{name:24}{row['group']:13}{row['test_images']:12,}{row['learning_rate']:9.3g}"
            f"{100 * row['test_accuracy']:8.2f}%{mark}"
        )
    lines.append("")
    for group, mean in found["groups"].items():
        lines.append(_mean_line(group, mean, *found["of"][group]))
    if found["vtab_score"] is not None:
        lines.append(f"{'mean of all 19 tasks':58}{100 * found['vtab_score']:8.2f}%")
    elif found["mean"] is not None:
        lines.append(_mean_line("all", found["mean"], *found["of"]["all"]))
        lines.append("This is no VTAB-1k score: that is the mean of all 19.")
    else:
        lines.append(f"No task of VTAB was run (0 of {len(TASKS)}): there is no score.")
    if found["stand_ins"] is not None:
        lines.append(f"{'mean of the stand-ins':58}{100 * found['stand_ins']:8.2f}%")
    if summary["skipped"]:
        lines += ["", "Skipped:"]
        lines += [f"  {name:22}{reason}" for name, reason in summary["skipped"].items()]
    return lines


def _mean_line(what: str, mean: float, count: int, of: int) -> str:
    return f"{f'mean of {what}, {count} of {of} tasks':58}{100 * mean:8.2f}%"


def picture(summary: Mapping[str, Any]) -> Any:
    """What `vtab.run` returns as bars: tasks in the colours of their groups, and means.

    Stand-ins are hatched and named so, and their mean is apart.

    Returns:
        A matplotlib figure; save it with `keras_vit.plots.save`.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    from keras_vit.plots import charts

    results, found, settings = summary["results"], summary["scores"], summary["settings"]
    bars = {
        group: [
            (_title(row), 100 * row["test_accuracy"])
            for row in results.values()
            if row["group"] == group
        ]
        for group in GROUPS
    }
    means = [
        (f"{group} ({_fraction(found['of'][group])})", group, 100 * mean)
        for group, mean in found["groups"].items()
    ]
    if found["mean"] is not None:
        means.append((f"mean ({_fraction(found['of']['all'])})", None, 100 * found["mean"]))
    if found["stand_ins"] is not None:
        means.append(("stand-ins, no VTAB", None, 100 * found["stand_ins"]))
    name = "VTAB-1k" if found["of"]["all"][0] else "The protocol of VTAB-1k on stand-ins"
    return charts.score_bars(
        bars,
        means,
        f"{name}: {settings['model']}, {settings['image_size']} pixels, "
        f"{settings['steps']} steps of {settings['batch_size']}",
        hatched=[_title(row) for row in results.values() if row["stand_in"]],
    )


def _title(row: Mapping[str, Any]) -> str:
    return f"{row['title']} (stand-in)" if row["stand_in"] else row["title"]


def _fraction(of: Any) -> str:
    return f"{of[0]} of {of[1]}"


def list_lines(found: Mapping[str, Availability]) -> list[str]:
    """Tasks of `TASKS`, what they are made of, and whether the data are there; `found` is what
    `keras_vit.experiments.vtab.available` gives."""
    tasks = [TASKS[name] for name in found]
    lines = [f"{'':22}{'group':13}{'classes':>7}{'test':>8}  {'data':11}{'TFDS, licence'}"]
    for task in tasks:
        split, percent = task.test_from
        test = task.examples[split] * (100 - percent) // 100
        lines.append(
            f"{task.name:22}{task.group:13}{task.classes:7}{test:8,}  "
            f"{found[task.name].state:11}{task.tfds}; {task.licence}"
        )
    manual = {task.tfds: found[task.name] for task in tasks if found[task.name].state == "manual"}
    lines += [f"\n{name} is downloaded by hand. {state.detail}" for name, state in manual.items()]
    return lines
