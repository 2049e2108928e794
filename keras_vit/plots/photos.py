"""Photos in rows, with a caption each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_vit.plots.base import new_figure, plain, shortened
from keras_vit.utils.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def photo_grid(
    photos: Sequence[np.ndarray], captions: Sequence[str], title: str = "", columns: int = 5
) -> Figure:
    """Photos and what is said of each.

    Args:
        photos: `[H, W, 3]` each, in [0, 255]; their sizes may differ.
        captions: One for each photo, written above it.
        title: Written above all.
        columns: Photos per row, at most.

    Returns:
        A matplotlib figure; save it with `keras_vit.plots.save`.
    """
    columns = min(columns, len(photos))
    rows = math.ceil(len(photos) / columns)
    lines = max(caption.count("\n") + 1 for caption in captions)
    # A lone photo is still as wide as its title.
    figure = new_figure(max(2.5 * columns, 5), (2.1 + 0.16 * lines) * rows + 0.5)
    if title:
        figure.suptitle(plain(title), fontsize=11)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, photo, caption in zip(panels, photos, captions, strict=False):
        axes.set_anchor("N")  # the captions of a row on one height
        axes.imshow(np.clip(np.asarray(photo) / 255, 0, 1), interpolation="bicubic")
        text = "\n".join(shortened(printable(line)) for line in caption.split("\n"))
        axes.set_title(text, fontsize=8.5, parse_math=False)
    return figure
