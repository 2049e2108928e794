"""Means of the tasks' scores, by group and over all, and lines that show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_vit.experiments.vtab.data import Availability
from keras_vit.experiments.vtab.tasks import GROUPS, TASKS
from keras_vit.utils.tables import Page, Table


def scores(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the tasks of VTAB that were run; stand-ins do not count.

    Args:
        results: Name of a task -> `group`, `test_accuracy` in [0, 1] and `stand_in`.

    Returns:
        `groups`: the mean of each group that has a result; `mean`: that of all tasks, each with
        the same weight, as in the paper; `of`: [tasks run, tasks in VTAB] for each group and
        `all`; `vtab_score`: `mean` if all 19 were run, else `None`; `stand_ins`: the mean of the
        stand-ins, or `None`.
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


def report_page(summary: Mapping[str, Any]) -> Page:
    """What `vtab.run` returns, as tables: tasks, groups, mean, what was skipped."""
    results, found = summary["results"], summary["scores"]
    settings = summary["settings"]
    tasks = [
        (
            name,
            row["group"],
            f"{row['test_images']:,}",
            f"{row['learning_rate']:.3g}",
            f"{100 * row['test_accuracy']:.2f}",
            "stand-in, no task of VTAB" if row["stand_in"] else "",
        )
        for name, row in results.items()
    ]
    means = [_mean_row(group, mean, found) for group, mean in found["groups"].items()]
    notes = []
    if found["vtab_score"] is not None:
        means.append(("mean of all 19 tasks", _percent(found["vtab_score"])))
    elif found["mean"] is not None:
        means.append(_mean_row("all", found["mean"], found))
        notes.append("This is no VTAB-1k score: that is the mean of all 19.")
    else:
        notes.append(f"No task of VTAB was run (0 of {len(TASKS)}): there is no score.")
    if found["stand_ins"] is not None:
        means.append(("mean of the stand-ins", _percent(found["stand_ins"])))
    skipped = [f"  {name}: {reason}" for name, reason in summary["skipped"].items()]
    heads = ("task", "group", "test images", "learning rate", "top-1, %", "")
    return Page(
        f"{settings['model']} ({settings['weights']}), {settings['image_size']} pixels, "
        f"{settings['steps']:,} steps of {settings['batch_size']}",
        *(["", Table(tasks, heads, left=(0, 1, 5))] if tasks else []),
        "",
        *([Table(means)] if means else []),
        *notes,
        *(["", "Skipped:", *skipped] if skipped else []),
    )


def _mean_row(what: str, mean: float, found: Mapping[str, Any]) -> tuple[str, str]:
    count, of = found["of"][what]
    return f"mean of {what}, {count} of {of} tasks", _percent(mean)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"


def picture(summary: Mapping[str, Any]) -> Any:
    """What `vtab.run` returns as bars: tasks in the colours of their groups, and means.

    Stand-ins are hatched and labelled, and have a mean of their own.

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


def list_page(found: Mapping[str, Availability]) -> Page:
    """A page of tasks, their classes, images and source, and whether the data are there; `found`
    is what `keras_vit.experiments.vtab.available` returns."""
    rows = []
    for task in (TASKS[name] for name in found):
        split, percent = task.test_from
        test = task.examples[split] * (100 - percent) // 100
        source = f"{task.tfds}; {task.licence}"
        state = found[task.name].state
        rows.append((task.name, task.group, f"{task.classes}", f"{test:,}", state, source))
    manual = {TASKS[name].tfds: state for name, state in found.items() if state.state == "manual"}
    return Page(
        Table(
            rows, ("task", "group", "classes", "test images", "data", "TFDS, licence"), (0, 1, 4, 5)
        ),
        *(f"\n{name} is downloaded by hand. {state.detail}" for name, state in manual.items()),
    )
