"""The pictures: training curves, and predictions with what the model looked at.

The only module that imports matplotlib, and without its global state: figures are made and
saved, never shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RIGHT, WRONG = "#1a7f37", "#c62828"
TRAINING, VALIDATION = "#8a8f98", "#1f6feb"


def require_matplotlib() -> None:
    """Raises an ImportError that says what to install, before any work is done."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "The pictures need matplotlib: pip install keras-vit-applications[plots]"
        ) from error


def new_figure(width: float, height: float) -> Figure:
    """An empty figure; width and height in inches, of 120 pixels each once it is saved."""
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def training_curves(history: dict[str, list[float]], title: str = "") -> Figure:
    """Loss and accuracy along the training.

    Args:
        history: Of `keras_vit.train.fine_tune`: `step`, `loss`, `accuracy`, `val_loss`,
            `val_accuracy`, of equal length.
        title: Written above.

    Returns:
        A matplotlib figure; save it with `savefig`.
    """
    figure = new_figure(9, 3.6)
    if title:
        figure.suptitle(title, fontsize=11)
    panels = (("loss", 1, "upper right"), ("accuracy", 100, "lower right"))
    for axes, (name, scale, place) in zip(figure.subplots(1, 2), panels, strict=True):
        for key, label, colour in (
            (name, "training (random crops)", TRAINING),
            (f"val_{name}", "validation", VALIDATION),
        ):
            values = scale * np.asarray(history[key])
            axes.plot(history["step"], values, "o-", color=colour, markersize=3.5, label=label)
        last = scale * history[f"val_{name}"][-1]
        if name == "loss":
            axes.set_title(f"validation loss {last:.3f} at the end", fontsize=10)
            axes.set_ylabel("cross-entropy")
            axes.set_ylim(bottom=0)
        else:
            axes.set_title(f"validation accuracy {last:.1f} % at the end", fontsize=10)
            axes.set_ylabel("accuracy in %")
            axes.set_ylim(0, 102)
        axes.set_xlabel("step")
        axes.set_xlim(left=0)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9, loc=place)
    return figure


def size_against_accuracy(
    sizes: Sequence[float], accuracies: Sequence[float], names: Sequence[str], y_label: str
) -> Figure:
    """One point a file: to the left is smaller, above is better.

    Args:
        sizes: MiB.
        accuracies: Percent.
        names: Written beside the points.
        y_label: What the percents are.

    Returns:
        A matplotlib figure; save it with `save`.
    """
    figure = new_figure(7, 4)
    axes = figure.subplots()
    axes.scatter(sizes, accuracies, color=VALIDATION, s=36, zorder=3)
    span = max(max(accuracies) - min(accuracies), 1.0)
    taken: list[tuple[float, float]] = []
    for size, accuracy, name in sorted(zip(sizes, accuracies, names, strict=True)):
        # Names of points that lie together go one below the other.
        level = accuracy
        while any(
            abs(s - size) < max(sizes) * 0.3 and abs(a - level) < span / 14 for s, a in taken
        ):
            level -= span / 12
        taken.append((size, level))
        axes.annotate(
            name, (size, level), xytext=(7, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_xlim(0, max(sizes) * 1.35)
    axes.set_ylim(
        min(min(accuracies), *(a for _, a in taken)) - span / 8, max(accuracies) + span / 8
    )
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
        axes.set_title(title, fontsize=10)
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
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def predictions_grid(
    images: np.ndarray,
    probabilities: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    masks: np.ndarray | None = None,
    title: str = "",
    columns: int = 3,
) -> Figure:
    """Images with what was predicted, and beside each what the model looked at.

    Args:
        images: `[B, H, W, 3]` in [0, 255].
        probabilities: `[B, classes]`.
        labels: `[B]`, the true classes.
        class_names: Names of the classes.
        masks: `[B, H, W]` in [0, 1], of `analysis.attention_masks`; or `None` for none.
        title: Written above.
        columns: Examples per row.

    Returns:
        A matplotlib figure; save it with `savefig`.
    """
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    per_example = 1 if masks is None else 2
    figure = new_figure(1.75 * per_example * columns + 0.4, 2.3 * rows + 0.5)
    if title:
        figure.suptitle(title, fontsize=11)
    # One pair of panels per example, close together, and some room between examples.
    examples = figure.subfigures(rows, columns, squeeze=False).ravel()
    for i, (example, image, probability, label) in enumerate(
        zip(examples, images, probabilities, labels, strict=False)
    ):
        panels: Any = example.subplots(1, per_example, squeeze=False)[0]
        pixels = np.clip(np.asarray(image) / 255, 0, 1)
        panels[0].imshow(pixels, interpolation="bicubic")
        if masks is not None:
            panels[1].imshow(_heat(pixels, masks[i]), interpolation="bicubic")
        for axes in panels:
            axes.set_axis_off()
        best = int(np.argmax(probability))
        said = f"{class_names[best]} ({100 * probability[best]:.0f} %)"
        # Two lines either way, so that the panels of a row have one size.
        true = f"true: {class_names[label]} ({100 * probability[label]:.0f} %)"
        right = best == label
        text = f"{said}\n{' ' if right else true}"
        example.suptitle(text, fontsize=9.5, color=RIGHT if right else WRONG)
    return figure


def _heat(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A grey image under the colours of the mask, whose least value is black."""
    from matplotlib import colormaps

    # The rollout never falls to zero, and what differs is easier to see than what is common.
    span = max(float(np.ptp(mask)), 1e-6)
    colours = colormaps["inferno"]((mask - mask.min()) / span)[..., :3]
    grey = pixels.mean(axis=-1, keepdims=True)
    return 0.45 * grey + 0.55 * colours


def save(figure: Figure, path: str | Path) -> None:
    """Writes a figure as PNG."""
    figure.savefig(path, format="png", dpi=120, facecolor="white")


def photo_rows(rows: dict[str, np.ndarray], side: int = 80, colours: int = 128) -> Image.Image:
    """Photos side by side, a named row each.

    Args:
        rows: Name and images, `[N, H, W, 3]` in [0, 255].
        side: Of a photo in the picture, in pixels.
        colours: Of the palette, 2 to 256: fewer make a smaller file.

    Returns:
        A palette picture, `rows * side` pixels high.
    """
    from PIL import ImageDraw

    margin, gap = 64, 2
    most = max(len(photos) for photos in rows.values())
    size = (margin + most * (side + gap), len(rows) * (side + gap))
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for row, (name, photos) in enumerate(rows.items()):
        top = row * (side + gap)
        draw.text((4, top + side // 2 - 6), name, fill="black")
        for column, photo in enumerate(photos):
            small = Image.fromarray(np.clip(photo, 0, 255).astype("uint8")).resize((side, side))
            picture.paste(small, (margin + column * (side + gap), top))
    return picture.quantize(colours)
