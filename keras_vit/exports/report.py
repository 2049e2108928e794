"""Measures an exported file: its size, its speed, and how far it is from the model."""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_vit.exports.classifier import output_names
from keras_vit.exports.comparison import difference
from keras_vit.exports.formats import FORMATS, format_of
from keras_vit.models.input_range import InputRange, input_range
from keras_vit.utils.backend import ops
from keras_vit.utils.numbers import readable
from keras_vit.utils.tables import Page, Table


@dataclasses.dataclass(frozen=True)
class Measured:
    """One exported file.

    Attributes:
        path: The file or folder.
        size: Bytes on disk.
        takes: What the file takes: `"uint8 [0, 255]"`, `"float32 [-1, 1]"`.
        photos: How many it was measured on.
        difference: The largest difference to the model's outputs, as a part of their range.
        agreement: Share of the photos whose first class is the model's, or `None` where the
            outputs are no classes.
        top1: Share of the photos that are right, or `None` where their classes are not known.
        milliseconds: Median of one photo at a time.
        model_milliseconds: That of the Keras model, measured by turns with it.
    """

    path: Path
    size: int
    takes: str
    photos: int
    difference: float
    agreement: float | None
    top1: float | None
    milliseconds: float
    model_milliseconds: float


def _keras_runner(model: Any, taken: InputRange) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Runs a model on pixels as its user does, compiled; a list of its outputs."""

    def run(pixels: np.ndarray) -> list[np.ndarray]:
        outputs = model.predict_on_batch(taken.of_pixels(pixels.astype("float32")))
        return [ops.convert_to_numpy(x) for x in keras.tree.flatten(outputs)]

    return run


def measure(
    path: str | os.PathLike[str],
    model: Any,
    pixels: np.ndarray,
    classes: np.ndarray | None = None,
    repeats: int = 20,
    taken: tuple[float, float] | None = None,
    classifies: bool = True,
) -> Measured:
    """Runs an exported file and the model it was made of on the same photos.

    Args:
        path: What `keras_vit.export` wrote.
        model: What it wrote it from.
        pixels: uint8 `[N, rows, columns, channels]`.
        classes: int `[N]`, or `None`.
        repeats: Photos for the time, one at a time and by turns.
        taken: What the model takes as black and white. Default: told from the model.
        classifies: Whether the first output is one of classes; else there is no agreement.
    """
    path = Path(path)
    _, runner = FORMATS[format_of(path)].load()
    run, reference = runner(path), _keras_runner(model, input_range(model, taken))
    names = output_names(model)
    expected, found = (
        [np.concatenate(parts) for parts in zip(*every, strict=True)]
        for every in (
            [reference(pixels[i : i + 1]) for i in range(len(pixels))],
            [[run(pixels[i : i + 1])[name] for name in names] for i in range(len(pixels))],
        )
    )
    times: dict[Callable[[np.ndarray], Any], list[float]] = {run: [], reference: []}
    for i in range(repeats):
        photo = pixels[i % len(pixels)][None]
        for function in times:
            start = time.perf_counter()
            function(photo)
            times[function].append(time.perf_counter() - start)
    guesses = found[0].argmax(-1)
    return Measured(
        path,
        _size(path),
        f"{run.dtype} {run.taken}",
        len(pixels),
        max(map(difference, found, expected)),
        float((guesses == expected[0].argmax(-1)).mean()) if classifies else None,
        None if classes is None else float((guesses == classes).mean()),
        1e3 * statistics.median(times[run]),
        1e3 * statistics.median(times[reference]),
    )


def size_picture(rows: Sequence[Measured], path: str | os.PathLike[str]) -> Path:
    """Draws size against accuracy (against agreement, where the classes are not known).

    Args:
        rows: What was measured, of a classifier.
        path: Of the PNG.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    from keras_vit import plots
    from keras_vit.plots import charts

    known = all(row.top1 is not None for row in rows)
    figure = charts.size_against_accuracy(
        [row.size / 2**20 for row in rows],
        [100 * ((row.top1 if known else row.agreement) or 0.0) for row in rows],
        [row.path.name for row in rows],
        "top-1 in %" if known else "same answer as the Keras model in %",
    )
    path = Path(path)
    plots.save(figure, path)
    return path


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def table(rows: Sequence[Measured]) -> Page:
    """A row for each file."""
    heads = (
        "file",
        "size, MiB",
        "difference / range",
        "agree, %",
        "top-1, %",
        "photos",
        "ms a photo",
        "Keras, ms a photo",
        "input",
    )
    cells = [
        (
            row.path.name,
            readable(row.size / 2**20),
            f"{row.difference:.1e}",
            "-" if row.agreement is None else f"{100 * row.agreement:.1f}",
            "-" if row.top1 is None else f"{100 * row.top1:.1f}",
            str(row.photos),
            readable(row.milliseconds),
            readable(row.model_milliseconds),
            row.takes,
        )
        for row in rows
    ]
    return Page(Table(cells, heads))
