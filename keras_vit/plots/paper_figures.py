"""The papers' figures of what a model has learned, from the arrays of `keras_vit.analysis`.

Figure 7 is three panels, each of which can also be had alone; Figures 6 and 14 are photos with
what the class token saw of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_vit.plots.base import VALIDATION, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILTER_COLUMNS = 7


def filters(filters: np.ndarray, title: str = "") -> Figure:
    """The principal components of the patch embedding, in rows of 7 (paper, Figure 7 left).

    Args:
        filters: `[count, rows, columns, 3]` in [0, 1], of `analysis.rgb_filters`.
        title: Written above.

    Returns:
        A matplotlib figure; save it with `plots.save`.
    """
    figure = _titled(5.2, 0.4 + 0.74 * math.ceil(len(filters) / FILTER_COLUMNS), title)
    _draw_filters(figure.subplots(), filters)
    return figure


def positions(similarity: np.ndarray, title: str = "") -> Figure:
    """A map of cosines for each patch, laid out as the patches are (paper, Figure 7 centre).

    Args:
        similarity: `[rows, columns, rows, columns]`, of `analysis.position_similarity`.
        title: Written above.

    Returns:
        A matplotlib figure; save it with `plots.save`.
    """
    rows, columns = similarity.shape[:2]
    # At least two pixels for each cosine, and the proportions of the grid.
    scale = max(5.5, max(rows, columns) * (max(rows, columns) + 1) * 2 / 120)
    figure = _titled(
        1.2 + scale * columns / max(rows, columns), 0.6 + scale * rows / max(rows, columns), title
    )
    _draw_positions(figure.subplots(), similarity)
    return figure


def attention_distance(
    distances: np.ndarray, uniform: float | None = None, title: str = ""
) -> Figure:
    """A dot for each head, blocks from left to right (paper, Figure 7 right and Figure 11).

    Args:
        distances: `[depth, heads]` in pixels, of `analysis.mean_attention_distance`.
        uniform: That of a head which looks everywhere alike, as a line; `None` for none.
        title: Written above.

    Returns:
        A matplotlib figure; save it with `plots.save`.
    """
    figure = _titled(5.6, 4.2, title)
    _draw_distances(figure.subplots(), distances, uniform)
    return figure


def figure_7(
    filters: np.ndarray | None,
    similarity: np.ndarray | None,
    distances: np.ndarray,
    uniform: float | None = None,
    title: str = "",
) -> Figure:
    """The three panels side by side.

    Args:
        filters: As in `filters`, or `None` for a model without.
        similarity: As in `positions`, or `None` for a model without.
        distances: As in `attention_distance`.
        uniform: As in `attention_distance`.
        title: Written above.

    Returns:
        A matplotlib figure; save it with `plots.save`.
    """
    panels = [
        ("RGB embedding filters", _draw_filters, (filters,)),
        ("Position embedding similarity", _draw_positions, (similarity,)),
        ("Mean attention distance", _draw_distances, (distances, uniform)),
    ]
    panels = [panel for panel in panels if panel[2][0] is not None]
    figure = _titled(4.1 * len(panels), 3.7, title)
    subplots = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (heading, draw, arguments) in zip(subplots, panels, strict=True):
        draw(axes, *arguments)
        axes.set_title(heading, fontsize=10)
    return figure


def attention_over_photos(
    images: np.ndarray, masks: np.ndarray, names: Sequence[str] = (), columns: int = 4
) -> Figure:
    """Photos, and beside each what the class token saw of it (paper, Figures 6 and 14).

    Args:
        images: `[B, H, W, 3]` in [0, 255].
        masks: `[B, H, W]` in [0, 1], of `analysis.attention_masks`. A photo is multiplied by
            its own, as the paper's are: what is dark was not looked at.
        names: Written above the photos; none if empty.
        columns: Photos per row.

    Returns:
        A matplotlib figure; save it with `plots.save`.
    """
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    figure = new_figure(2.9 * columns, 1.7 * rows)
    examples = figure.subfigures(rows, columns, squeeze=False).ravel()
    for i, (example, image, mask) in enumerate(zip(examples, images, masks, strict=False)):
        pixels = np.clip(np.asarray(image) / 255, 0, 1)
        panels: Any = example.subplots(1, 2)
        panels[0].imshow(pixels, interpolation="bicubic")
        panels[1].imshow(pixels * mask[..., None], interpolation="bicubic")
        for axes in panels:
            axes.set_axis_off()
        if len(names):
            example.suptitle(plain(names[i]), fontsize=8.5)
    return figure


def _titled(width: float, height: float, title: str) -> Figure:
    figure = new_figure(width, height)
    if title:
        figure.suptitle(plain(title), fontsize=11)
    return figure


def _draw_filters(axes: Any, filters: np.ndarray) -> None:
    count, rows, columns, channels = filters.shape
    wide = min(FILTER_COLUMNS, count)
    high = math.ceil(count / wide)
    gap = max(columns // 8, 1)
    sheet = np.ones((high * (rows + gap) - gap, wide * (columns + gap) - gap, channels))
    for i, component in enumerate(filters):
        top, left = i // wide * (rows + gap), i % wide * (columns + gap)
        sheet[top : top + rows, left : left + columns] = component
    axes.imshow(sheet, interpolation="nearest")
    axes.set_axis_off()


def _draw_positions(axes: Any, similarity: np.ndarray) -> None:
    rows, columns = similarity.shape[:2]
    # One picture of all maps with a line of nothing between: thousands of axes take minutes.
    sheet = np.full((rows, rows + 1, columns, columns + 1), np.nan, "float32")
    sheet[:, :rows, :, :columns] = similarity.transpose(0, 2, 1, 3)
    sheet = sheet.reshape(rows * (rows + 1), columns * (columns + 1))[:-1, :-1]
    picture = axes.imshow(sheet, vmin=-1, vmax=1, interpolation="nearest")
    for set_ticks, number in ((axes.set_yticks, rows), (axes.set_xticks, columns)):
        shown = np.arange(0, number, math.ceil(number / 14))
        set_ticks(shown * (number + 1) + (number - 1) / 2, [str(i + 1) for i in shown])
    axes.tick_params(length=0, labelsize=7)
    axes.set_xlabel("patch column", fontsize=9)
    axes.set_ylabel("patch row", fontsize=9)
    axes.spines[:].set_visible(False)
    bar = axes.figure.colorbar(picture, ax=axes, fraction=0.046, ticks=[-1, 0, 1])
    bar.set_label("cosine similarity", fontsize=9)


def _draw_distances(axes: Any, distances: np.ndarray, uniform: float | None) -> None:
    depth, heads = distances.shape
    blocks = np.arange(1, depth + 1)
    for head in range(heads):
        axes.plot(blocks, distances[:, head], "o", color=VALIDATION, alpha=0.65, markersize=5)
    if uniform is not None:
        axes.axhline(uniform, color="grey", linestyle="--", linewidth=1, label="looks everywhere")
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.set_xlabel("block", fontsize=9)
    axes.set_ylabel("mean attention distance in pixels", fontsize=9)
    axes.set_xticks(blocks[:: math.ceil(depth / 12)])
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
