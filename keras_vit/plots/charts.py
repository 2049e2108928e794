"""Charts of accuracies: against size, compute, data and shots, and bars of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_vit.plots.base import RIGHT, TRAINING, VALIDATION, WRONG, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of VTAB's groups the first; the others are RIGHT and VALIDATION.
NATURAL = "#c65d21"


def size_against_accuracy(
    sizes: Sequence[float], accuracies: Sequence[float], names: Sequence[str], y_label: str
) -> Figure:
    """One point a file: to the left is smaller, above is better.

    Args:
        sizes: MiB.
        accuracies: Percent.
        names: Written beside the points; of long ones the end, where files differ.
        y_label: What the percents are.

    Returns:
        A matplotlib figure; save it with `save`.
    """
    names = [name if len(name) <= 26 else f"…{name[-25:]}" for name in names]
    figure = new_figure(7, 4)
    axes = figure.subplots()
    axes.scatter(sizes, accuracies, color=VALIDATION, s=36, zorder=3)
    span = max(max(accuracies) - min(accuracies), 1.0)
    taken: list[tuple[float, float]] = []
    for size, accuracy, name in sorted(zip(sizes, accuracies, names, strict=True)):
        # Names of points that lie together go one below the other, and over no point.
        behind = [(s, a) for s, a in zip(sizes, accuracies, strict=True) if s > size]
        level = accuracy
        while any(
            abs(s - size) < max(sizes) * 0.3 and abs(a - level) < span / 14
            for s, a in taken + behind
        ):
            level -= span / 12
        taken.append((size, level))
        axes.annotate(
            name, (size, level), xytext=(7, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_xlim(0, max(sizes) * 1.4)
    lowest, highest = min(level for _, level in taken), max(accuracies)
    bottom = min(lowest, highest - span) - span / 8
    axes.set_ylim(bottom, highest + span / 8)
    axes.set_yticks([tick for tick in axes.get_yticks() if bottom <= tick < 100 + span / 100])
    axes.set_xlabel("size of the file in MiB")
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    return figure


def compute_against_accuracy(
    families: Mapping[str, Sequence[tuple[float, float, str]]], y_label: str
) -> Figure:
    """Families of models, a colour each: further left is less compute (paper, Figure 5).

    Args:
        families: Name of a family -> (exaFLOPs, percent, name of the model) of each model.
        y_label: What the percents are.

    Returns:
        A matplotlib figure; save it with `save`.
    """
    figure = new_figure(8, 4.8)
    from matplotlib.ticker import LogLocator

    axes = figure.subplots()
    everything = [point for points in families.values() for point in points]
    for (family, points), marker, colour in zip(
        families.items(), "os^", (VALIDATION, WRONG, RIGHT), strict=False
    ):
        compute, accuracy, names = zip(*points, strict=True)
        axes.plot(compute, accuracy, marker, color=colour, markersize=6, label=family)
        for x, y, name in zip(compute, accuracy, names, strict=True):
            # A name goes to the right of its point, else to the left, else above it.
            near = [other / x for other, b, _ in everything if abs(b - y) < 0.35]
            if not any(1 < ratio < 2.1 for ratio in near):
                shift, align = (6, 0), "left"
            elif not any(0.8 < ratio < 1 for ratio in near):
                shift, align = (-6, 0), "right"
            else:
                shift, align = (0, 9), "center"
            axes.annotate(
                name, (x, y), xytext=shift, textcoords="offset points", ha=align, va="center",
                fontsize=7.5, color=colour,
            )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("pre-training compute in exaFLOPs")
    axes.set_ylabel(y_label)
    axes.margins(x=0.17, y=0.08)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def data_scaling(rows: Sequence[Mapping[str, Any]], y_label: str) -> Figure:
    """Accuracy against data, for so much compute, and against compute, for so many images.

    Args:
        rows: With `family`, `images`, `teraflops` (asked for), `exaflops` (spent) and `accuracy`,
            in [0, 1].
        y_label: What the percents are.

    Returns:
        A matplotlib figure; save it with `save`.
    """
    figure = new_figure(11, 5)
    panels: Any = figure.subplots(1, 2, sharey=True)
    families = dict.fromkeys(row["family"] for row in rows)
    for axes, x_label, along, group, text in (
        (panels[0], "training images", "images", "teraflops", "{:g}e-6 exaFLOPs"),
        (panels[1], "training compute in exaFLOPs", "exaflops", "images", "{:,} images"),
    ):
        groups = sorted({row[group] for row in rows})
        for family, colour in zip(families, (VALIDATION, WRONG, RIGHT), strict=False):
            for place, key in enumerate(groups):
                mine = [row for row in rows if row["family"] == family and row[group] == key]
                if not mine:
                    continue
                line = sorted((row[along], 100 * row["accuracy"]) for row in mine)
                strength = 0.35 + 0.65 * (place + 1) / len(groups)
                axes.plot(
                    *zip(*line, strict=True), "o-", color=colour, alpha=strength, markersize=4,
                    label=f"{family}, {text.format(key)}",
                )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlabel(x_label)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        # Above, where no curve can go.
        axes.legend(
            frameon=False, fontsize=8, ncols=len(families), loc="lower left", bbox_to_anchor=(0, 1)
        )
    counts = sorted({row["images"] for row in rows})
    panels[0].set_xticks(counts, [f"{count:,}" for count in counts])
    panels[0].minorticks_off()
    panels[0].set_ylabel(y_label)
    return figure


def score_bars(
    groups: Mapping[str, Sequence[tuple[str, float]]],
    means: Sequence[tuple[str, str | None, float]],
    title: str = "",
    hatched: Sequence[str] = (),
) -> Figure:
    """A bar for each task, coloured by its group, and beside them the means (ViT paper, Figure 2).

    Args:
        groups: Name of a group -> (task, percent) of each of its tasks.
        means: (what is meant, name of the group whose colour it has or `None`, percent).
        title: Written above.
        hatched: Names of tasks whose bars are hatched, as they are not what the others are.

    Returns:
        A matplotlib figure; save it with `save`.
    """
    colours = dict(zip(groups, (NATURAL, RIGHT, VALIDATION), strict=False))
    count = sum(map(len, groups.values()))
    figure = new_figure(max(6.5, 0.42 * (count + len(means)) + 2.5), 4)
    figure.suptitle(plain(title), fontsize=11)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(max(count, 2), len(means)))
    names = [name for tasks in groups.values() for name, _ in tasks]
    start = 0
    for group, tasks in groups.items():
        if not tasks:
            continue
        places = range(start, start + len(tasks))
        start += len(tasks)
        scores = [score for _, score in tasks]
        bars = left.bar(places, scores, 0.8, color=colours[group], label=group)
        for bar, (name, _) in zip(bars, tasks, strict=True):
            if name in hatched:
                bar.set(hatch="//", edgecolor="white")
    left.set_xticks(range(count), names, rotation=55, ha="right", fontsize=8)
    left.set_xlim(-0.6, max(count, 2) - 0.4)
    left.set_ylabel("top-1 accuracy in %")
    left.legend(frameon=False, fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    values = [score for *_, score in means]
    shades = [colours.get(group or "", TRAINING) for _, group, _ in means]
    right.bar(range(len(means)), values, 0.8, color=shades)
    right.set_xticks(
        range(len(means)), [name for name, *_ in means], rotation=55, ha="right", fontsize=8
    )
    for axes in (left, right):
        axes.set_ylim(0, 106)
        axes.grid(axis="y", alpha=0.25)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        for bar in axes.patches:
            axes.annotate(
                f"{bar.get_height():.0f}",
                (bar.get_x() + bar.get_width() / 2, bar.get_height()),
                xytext=(0, 2), textcoords="offset points", ha="center", fontsize=7,
            )  # fmt: skip
    return figure


def few_shot_curve(
    shots: Sequence[int],
    accuracies: np.ndarray,
    references: Mapping[str, float],
    title: str = "",
) -> Figure:
    """Accuracy against images of each class to learn from: the mean, and a dot for each draw.

    Args:
        shots: Images of each class.
        accuracies: `[shots, draws]`, percent.
        references: Name -> percent, a level line for each of two.
        title: Written above.

    Returns:
        A matplotlib figure; save it with `save`.
    """
    figure = new_figure(7, 4.4)
    axes = figure.subplots()
    if title:
        axes.set_title(plain(title), fontsize=10)
    for (name, level), colour, style in zip(
        references.items(), (RIGHT, WRONG), ("--", ":"), strict=True
    ):
        label = f"{name}: {level:.1f} %"
        axes.axhline(level, color=colour, linestyle=style, linewidth=1.4, label=label)
    means = accuracies.mean(axis=1)
    axes.plot(shots, means, "-", color=VALIDATION, label="few-shot, mean of the draws")
    places = np.repeat(shots, accuracies.shape[1])
    axes.scatter(
        places, accuracies.ravel(), s=24, color=VALIDATION, alpha=0.45, label="few-shot, a draw"
    )
    axes.set_xscale("log")
    # The means stand below the axis, where no line crosses them.
    axes.set_xticks(
        shots, [f"{shot}\n{mean:.1f} %" for shot, mean in zip(shots, means, strict=True)]
    )
    axes.minorticks_off()
    axes.set_xlabel("images of each class to learn from, and the mean accuracy")
    axes.set_ylabel("accuracy in %")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, fontsize=9, ncols=2, loc="outside lower center")
    return figure
