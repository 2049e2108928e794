"""What is on the pictures: legends beside the curves, names on photos, units on the axes."""

from __future__ import annotations

import numpy as np
import pytest

from keras_vit import plots

pytest.importorskip("matplotlib")


def legends_and_axes(figure):
    """Their rectangles in pixels, once the figure is laid out."""
    figure.draw_without_rendering()
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    return (
        [legend.get_window_extent() for legend in legends if legend is not None],
        [axes.patch.get_window_extent() for axes in figure.axes],
    )


HISTORY = {"step": [1, 2, 3], "loss": [9, 9, 9.5], "val_loss": [0.1, 9.5, 9],
           "accuracy": [0, 0.02, 0], "val_accuracy": [1, 0.5, 0]}  # fmt: skip
ROWS = [
    {"family": family, "images": images, "teraflops": work, "exaflops": work / 1e6, "accuracy": 0.9}
    for family in ("ViT", "BiT")
    for images in (1000, 9000, 45000)
    for work in (1, 4)
]


@pytest.mark.parametrize(
    "figure",
    [
        lambda: plots.training_curves(HISTORY, "a model, 3 steps"),
        lambda: plots.charts.data_scaling(ROWS, "accuracy in %"),
        lambda: plots.charts.few_shot_curve([1, 5], np.array([[9, 8], [2, 1]]), {"a": 1, "b": 2}),
    ],
    ids=["training_curves", "data_scaling", "few_shot_curve"],
)
def test_a_legend_covers_no_curve(figure):
    legends, panels = legends_and_axes(figure())
    assert legends
    assert not any(legend.overlaps(panel) for legend in legends for panel in panels)


def test_the_axes_of_a_training_have_units():
    labels = [axes.get_ylabel() for axes in plots.training_curves(HISTORY).axes]
    assert labels == ["cross-entropy in nats", "accuracy in %"]


def test_photos_have_captions():
    photos = [np.full((4, 6, 3), 255.0), np.zeros((5, 3, 3), "uint8"), np.zeros((2, 2, 3))]
    figure = plots.photo_grid(photos, ["$a", "b\n" + "c" * 40, "d"], columns=2)
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in shown] == ["$a", "b\n" + "c" * 31 + "…", "d"]
    assert [axes.images[0].get_array().shape for axes in shown] == [(4, 6, 3), (5, 3, 3), (2, 2, 3)]
    assert shown[0].images[0].get_array().max() == 1
    assert len(figure.axes) == 4 and not any(axes.axison for axes in figure.axes)


def confusion(classes, mistakes, photos):
    counts = np.zeros((classes, classes + 1), int)
    for true, said, times in mistakes:
        counts[int(true), int(said)] = times
    return plots.confusion_figure(
        [str(i) for i in range(classes)], counts, np.zeros((classes, 2)), mistakes, photos, "title"
    )


def test_mistakes_that_happened_once_are_photos():
    photo = np.zeros((2, 2, 3), "uint8")
    once = [("0", "2", 1), ("1", "2", 1), ("3", "0", 1)]
    figure = confusion(50, once, [("0", "2", photo), ("3", "0", photo)])
    assert [a.get_title() for a in figure.axes] == ["0\ntaken for 2", "3\ntaken for 0"]
    assert "2 of 3 mistakes" in figure._suptitle.get_text()
    # One of them twice: bars that differ. No photos, as of very many images: bars as well.
    assert confusion(50, [("0", "2", 2), *once[1:]], [("0", "2", photo)]).axes[0].patches
    assert confusion(50, once, []).axes[0].patches
    assert len(confusion(5, once, [("0", "2", photo)]).axes[0].texts) == 3  # the matrix


@pytest.mark.parametrize("accuracies", [[100, 100, 100, 99], [100, 100, 100, 100], [80, 90, 9, 9]])
def test_names_of_files_lie_on_no_point_and_on_no_name(accuracies):
    """And no axis has ticks beyond 100 %."""
    stem = "a-long-name" * 9  # the panel keeps its width
    names = [f"{stem}_savedmodel", f"{stem}.onnx", "a_int8.tflite", f"{stem}_int4.tflite"]
    figure = plots.charts.size_against_accuracy([22.6, 22.1, 6, 5.8], accuracies, names, "%")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    points = axes.transData.transform(axes.collections[0].get_offsets())
    assert not any(box.contains(*point) for box in boxes for point in points)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert max(axes.get_yticks()) <= 100 + 1e-6
    assert axes.get_window_extent().width > 0.8 * figure.bbox.width
    ends = {text.get_text().split("name")[-1] for text in axes.texts}
    assert ends == {"_savedmodel", ".onnx", "a_int8.tflite", "_int4.tflite"}
