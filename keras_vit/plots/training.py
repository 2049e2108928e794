"""The pictures of a training run: curves, and predictions with what the model looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_vit.plots.base import RIGHT, TRAINING, VALIDATION, WRONG, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def training_curves(history: dict[str, list[float]], title: str = "") -> Figure:
    """Loss and accuracy along the training.

    Args:
        history: Of `keras_vit.training.fine_tune`: `step`, `loss`, `accuracy`, `val_loss`,
            `val_accuracy`, of equal length.
        title: Written above.

    Returns:
        A matplotlib figure; save it with `savefig`.
    """
    figure = new_figure(9, 3.8)
    if title:
        figure.suptitle(plain(title), fontsize=11)
    panels: Any = figure.subplots(1, 2)
    for axes, name, scale in zip(panels, ("loss", "accuracy"), (1, 100), strict=True):
        for key, label, colour in (
            (name, "training (random crops)", TRAINING),
            (f"val_{name}", "validation", VALIDATION),
        ):
            values = scale * np.asarray(history[key])
            axes.plot(history["step"], values, "o-", color=colour, markersize=3.5, label=label)
        last = scale * history[f"val_{name}"][-1]
        if name == "loss":
            axes.set_title(f"validation loss {last:.3f} at the end", fontsize=10)
            axes.set_ylabel("cross-entropy in nats")
            axes.set_ylim(bottom=0)
        else:
            axes.set_title(f"validation accuracy {last:.1f} % at the end", fontsize=10)
            axes.set_ylabel("accuracy in %")
            axes.set_ylim(0, 102)
        axes.set_xlabel("step")
        axes.set_xlim(left=0)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    # One for both, below them, where no curve can go.
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2,
        frameon=False, fontsize=9,
    )  # fmt: skip
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
        figure.suptitle(plain(title), fontsize=11)
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
        said = f"{plain(class_names[best])} ({100 * probability[best]:.0f} %)"
        # Two lines either way, so that the panels of a row have one size.
        true = f"true: {plain(class_names[int(label)])} ({100 * probability[label]:.0f} %)"
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
