"""Measures an exported file: its size, its speed, and how far it is from the model."""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_vit.data.preprocessing import preprocess_input
from keras_vit.exports.formats import FORMATS, Runner, format_of
from keras_vit.utils.backend import ops
from keras_vit.utils.numbers import readable
from keras_vit.utils.tables import Page, Table


@dataclasses.dataclass(frozen=True)
class Measured:
    """One exported file.

    Attributes:
        path: The file or folder.
        size: Bytes on disk.
        difference: The largest difference to the model's outputs, as a part of their range.
        agreement: Share of the photos whose first class is the model's.
        top1: Share of the photos that are right, or `None` where their classes are not known.
        milliseconds: Median of one photo at a time.
        model_milliseconds: That of the Keras model, measured by turns with it.
    """

    path: Path
    size: int
    difference: float
    agreement: float
    top1: float | None
    milliseconds: float
    model_milliseconds: float


def _keras_runner(model: Any, takes_pixels: bool) -> Runner:
    """Runs a model on pixels, compiled."""

    def run(pixels: np.ndarray) -> np.ndarray:
        x = pixels.astype("float32")
        return ops.convert_to_numpy(
            model.predict_on_batch(x if takes_pixels else preprocess_input(x))
        )

    return run


def measure(
    path: str | os.PathLike[str],
    model: Any,
    pixels: np.ndarray,
    classes: np.ndarray | None = None,
    repeats: int = 20,
) -> Measured:
    """Runs an exported file and the model it was made of on the same photos.

    Args:
        path: What `keras_vit.export` wrote.
        model: What it wrote it from.
        pixels: uint8 `[N, rows, columns, channels]`.
        classes: int `[N]`, or `None`.
        repeats: Photos for the time, one at a time and by turns.
    """
    path = Path(path)
    takes_pixels = any(layer.name == "preprocessing" for layer in model.layers)
    _, runner = FORMATS[format_of(path)].load()
    run, reference = runner(path, takes_pixels), _keras_runner(model, takes_pixels)
    found = np.concatenate([run(pixels[i : i + 1]) for i in range(len(pixels))])
    expected = np.concatenate([reference(pixels[i : i + 1]) for i in range(len(pixels))])
    times: dict[Runner, list[float]] = {run: [], reference: []}
    for i in range(repeats):
        photo = pixels[i % len(pixels)][None]
        for function in times:
            start = time.perf_counter()
            function(photo)
            times[function].append(time.perf_counter() - start)
    guesses = found.argmax(-1)
    return Measured(
        path,
        _size(path),
        float(np.abs(found - expected).max() / np.ptp(expected)),
        float((guesses == expected.argmax(-1)).mean()),
        None if classes is None else float((guesses == classes).mean()),
        1e3 * statistics.median(times[run]),
        1e3 * statistics.median(times[reference]),
    )


def size_picture(rows: Sequence[Measured], path: str | os.PathLike[str]) -> Path:
    """Draws size against accuracy (against agreement, where the classes are not known).

    Args:
        rows: What was measured.
        path: Of the PNG.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    from keras_vit import plots
    from keras_vit.plots import charts

    known = all(row.top1 is not None for row in rows)
    figure = charts.size_against_accuracy(
        [row.size / 2**20 for row in rows],
        [100 * (row.agreement if not known or row.top1 is None else row.top1) for row in rows],
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
    heads = ("file", "MiB", "difference", "agree", "top-1", "ms", "Keras ms")
    cells = [
        (
            row.path.name,
            readable(row.size / 2**20),
            f"{row.difference:.1e}",
            f"{100 * row.agreement:.1f}%",
            "-" if row.top1 is None else f"{100 * row.top1:.1f}%",
            readable(row.milliseconds),
            readable(row.model_milliseconds),
        )
        for row in rows
    ]
    return Page(Table(cells, heads))
