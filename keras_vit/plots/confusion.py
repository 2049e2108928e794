"""The confusion picture: a matrix where it can be read, else the worst of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_vit.plots.base import RIGHT, WRONG, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from keras_vit.evaluate.report import Report

# More classes are not a matrix that one can read, nor more mistakes a list.
MOST_CLASSES = 40
MOST_ROWS = 30
_LONGEST_NAME = 28


def confusion_figure(report: Report) -> Figure:
    """What is taken for what.

    Up to 40 classes: the matrix, rows in % of the images of a class, with their number written
    in. More: the most frequent mistakes, and the classes with the lowest top-1 accuracy.

    Args:
        report: Of `keras_vit.evaluate.accuracy`, of images whose classes are known.

    Returns:
        A matplotlib figure; save it with `keras_vit.plots.save`.
    """
    figure = _matrix(report) if len(report.per_class) <= MOST_CLASSES else _lists(report)
    figure.suptitle(f"{report.model} on {report.data}: top-1 {report.top1}", fontsize=11)
    return figure


def _matrix(report: Report) -> Figure:
    counts, names = report.confusion, [_short(name) for name in report.class_names]
    columns = list(names)
    if report.elsewhere.any():
        counts, columns = np.column_stack([counts, report.elsewhere]), [*names, "(any other)"]
    side = 0.36 * len(names)
    figure = new_figure(3 + max(side, 2.5), 2.2 + max(side, 2))
    axes = figure.subplots()
    images = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shares = counts / images
    # A root, so that few mistakes still have a colour.
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    size = 8 if counts.max(initial=0) < 1000 else 6.5
    for row, column in zip(*np.nonzero(counts), strict=True):
        right = row == column
        colour = "white" if shares[row, column] > 0.4 else ("black" if right else WRONG)
        axes.text(
            column, row, str(counts[row, column]), ha="center", va="center", fontsize=size,
            color=colour,
        )  # fmt: skip
    axes.set_xticks(range(len(columns)), columns, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(labelsize=8.5, length=0)
    axes.set_xlabel("the model says")
    axes.set_ylabel("it is")
    return figure


def _lists(report: Report) -> Figure:
    mistakes = report.mistakes[:MOST_ROWS]
    wrong = [row for row in report.per_class if row.mistake is not None]
    hardest = sorted(wrong, key=lambda row: (row.top1.share, row.top1.interval[1]))[:MOST_ROWS]
    figure = new_figure(13, 1.4 + 0.21 * max(len(mistakes), len(hardest)))
    left, right = figure.subplots(1, 2)

    more = f" of {len(report.mistakes):,}" if len(report.mistakes) > len(mistakes) else ""
    left.set_title(f"the {len(mistakes)} most frequent mistakes{more}", fontsize=10)
    left.barh(range(len(mistakes)), [times for *_, times in mistakes], color=WRONG, height=0.65)
    labels = [f"{_short(true)} taken for {_short(said)}" for true, said, _ in mistakes]
    left.set_xlabel("images")
    left.xaxis.get_major_locator().set_params(integer=True)

    right.set_title(
        f"the {len(hardest)} hardest of {len(wrong):,} classes with mistakes "
        f"({len(report.per_class):,} classes in all)",
        fontsize=10,
    )
    share = np.array([row.top1.share for row in hardest])
    low, high = np.array([row.top1.interval for row in hardest]).reshape(-1, 2).T
    right.errorbar(
        100 * share, range(len(hardest)), xerr=100 * np.stack([share - low, high - share]),
        fmt="o", color=RIGHT, ecolor="#b6bcc4", markersize=4, clip_on=False,
    )  # fmt: skip
    right.set_xlim(0, 100)
    right.set_xlabel("images that are right in %, and the 95 % interval")
    for axes, texts in ((left, labels), (right, [_short(row.name) for row in hardest])):
        _rows(axes, texts)
    return figure


def _rows(axes: Any, texts: list[str]) -> None:
    """A text for each row, the first on top."""
    axes.set_yticks(range(len(texts)), texts)
    axes.set_ylim(len(texts) - 0.4, -0.6)
    axes.tick_params(axis="y", labelsize=8, length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)


def _short(name: str) -> str:
    name = name.replace("_", " ")
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
