"""The confusion picture: the whole matrix for few classes, the worst mistakes for many.

Where no mistake was made twice there is nothing to count: the photos say more than equal bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_vit.plots.base import RIGHT, WRONG, new_figure, plain, shortened
from keras_vit.plots.photos import photo_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# More classes are not a matrix that one can read, nor more mistakes a list.
MOST_CLASSES = 40
MOST_ROWS = 30


def confusion_figure(
    names: Sequence[str],
    counts: np.ndarray,
    intervals: np.ndarray,
    mistakes: Sequence[tuple[str, str, int]],
    photos: Sequence[tuple[str, str, np.ndarray]],
    title: str,
) -> Figure:
    """What is taken for what.

    Up to 40 classes: the matrix, rows in % of the images of a class, with their number written
    in. More: the most frequent mistakes, and the classes with the lowest top-1 accuracy; or, if
    no mistake was made twice, the photos.

    Args:
        names: Of the classes.
        counts: int `[classes, classes + 1]`, images by true class and predicted class; the last
            column counts predictions of any other class.
        intervals: float `[classes, 2]` in [0, 1], the 95 % interval of the share that is right.
        mistakes: (true class, predicted class, images), the most frequent first.
        photos: (true class, predicted class, `[H, W, 3]` in [0, 255]) of the worst mistakes.
        title: Of the figure.

    Returns:
        A matplotlib figure; save it with `keras_vit.plots.save`.
    """
    if len(names) <= MOST_CLASSES:
        figure = _matrix([_short(name) for name in names], counts)
    elif photos and mistakes[0][2] == 1:
        figure = photo_grid(
            [photo for *_, photo in photos],
            [f"{_spaced(true)}\ntaken for {_spaced(said)}" for true, said, _ in photos],
        )
        if len(photos) < len(mistakes):
            title += f"\n{len(photos)} of {len(mistakes):,} mistakes, those of the highest loss"
    else:
        figure = _lists(names, counts, intervals, mistakes)
    figure.suptitle(plain(title), fontsize=11)
    return figure


def _matrix(names: list[str], counts: np.ndarray) -> Figure:
    columns = [*names, "(any other)"]
    if not counts[:, -1].any():
        counts, columns = counts[:, :-1], names
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
    axes.set_xlabel("predicted class (numbers: images; colour: share of the row)")
    axes.set_ylabel("true class")
    return figure


def _lists(
    names: Sequence[str],
    counts: np.ndarray,
    intervals: np.ndarray,
    mistakes: Sequence[tuple[str, str, int]],
) -> Figure:
    images, right_ones = counts.sum(axis=1), counts.diagonal()
    share = right_ones / np.maximum(images, 1)
    wrong = np.flatnonzero(images > right_ones).tolist()
    hardest = sorted(wrong, key=lambda i: (share[i], intervals[i, 1]))[:MOST_ROWS]
    shown = mistakes[:MOST_ROWS]
    figure = new_figure(13, 1.4 + 0.21 * max(len(shown), len(hardest)))
    left, right = figure.subplots(1, 2)

    more = f" of {len(mistakes):,}" if len(mistakes) > len(shown) else ""
    left.set_title(f"the {len(shown)} most frequent mistakes{more}", fontsize=10)
    left.barh(range(len(shown)), [times for *_, times in shown], color=WRONG, height=0.65)
    labels = [f"{_short(true)} taken for {_short(said)}" for true, said, _ in shown]
    left.set_xlabel("images")
    left.xaxis.get_major_locator().set_params(integer=True)

    right.set_title(
        f"the {len(hardest)} hardest of {len(wrong):,} classes with mistakes "
        f"({len(names):,} classes in all)",
        fontsize=10,
    )
    share, (low, high) = share[hardest], intervals[hardest].T
    right.errorbar(
        100 * share, range(len(hardest)), xerr=100 * np.stack([share - low, high - share]),
        fmt="o", color=RIGHT, ecolor="#b6bcc4", markersize=4, clip_on=False,
    )  # fmt: skip
    right.set_xlim(0, 100)
    right.set_xlabel("top-1 accuracy in %, and its 95 % interval")
    for axes, texts in ((left, labels), (right, [_short(names[i]) for i in hardest])):
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
    return plain(shortened(_spaced(name)))


def _spaced(name: str) -> str:
    return name.replace("_", " ")
