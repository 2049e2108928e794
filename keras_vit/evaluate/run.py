"""An evaluation from names to files: what `keras-vit evaluate` does."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_vit.distribution import hardware
from keras_vit.evaluate.accuracy import accuracy, image_size_of
from keras_vit.evaluate.evaluation_data import open_data
from keras_vit.evaluate.report import Report
from keras_vit.predict import load_classifier
from keras_vit.utils.files import new_folder
from keras_vit.utils.text import read_labels


def run(
    data: str | Path,
    model: str | Path,
    *,
    weights: str | None = None,
    class_names: Sequence[str] | str | Path | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    batch_size: int = 32,
    resize: str | None = None,
    interpolation: str | None = None,
    restrict: bool = False,
    strategy: str = "auto",
    devices: Any = None,
    xla: str = "auto",
    progress: bool | None = None,
    **options: Any,
) -> Report:
    """Loads a model, opens the data, evaluates, and writes the report.

    Args:
        data: As in `open_data`.
        model: As in `keras_vit.predict.load_classifier`.
        weights: As in `keras_vit.predict.load_classifier`.
        class_names: Names of the model's outputs, or a file with a line for each. Default: the
            names beside the model, or ImageNet's.
        out: Folder to write, as `Report.save` does. If it exists, it is refused before any work.
            Default: none.
        overwrite: Whether `out` may exist.
        batch_size: Images of a batch, on all devices together.
        resize: `"squash"` or `"crop"`. Default: as the run folder says, else `"squash"`.
        interpolation: `"bilinear"` or `"bicubic"`. Default: as the run folder says, else
            `"bilinear"`.
        restrict: As in `accuracy`.
        strategy: One of `keras_vit.distribution.STRATEGIES`.
        devices: As in `keras_vit.distribution.strategy`.
        xla: As in `keras_vit.distribution.hardware.choose`.
        progress: As in `accuracy`.
        **options: Further arguments of `open_data`.

    Returns:
        The report. On several machines every process returns it, and one writes it.

    Raises:
        ValueError: If the model or the data do not exist, or do not fit.
    """
    machine = hardware.choose(strategy, devices, "float32", xla)
    folder = contextlib.nullcontext()
    if out is not None and machine.is_chief:
        folder = new_folder(out, overwrite)
    with folder as place:
        with machine.scope():
            classifier = load_classifier(model, weights)
        opened = open_data(
            data,
            image_size_of(classifier.model),
            resize=resize or classifier.resize,
            interpolation=interpolation or classifier.interpolation,
            progress=progress,
            **options,
        )
        report = accuracy(
            classifier,
            opened,
            class_names=_names(class_names),
            batch_size=batch_size,
            restrict=restrict,
            strategy=machine.strategy,
            jit_compile=bool(machine.xla),
            progress=progress,
        )
        if place is not None:
            report.write(place)
    return report


def _names(class_names: Sequence[str] | str | Path | None) -> Sequence[str] | None:
    """The names, or the lines of the file that has them."""
    if not isinstance(class_names, (str, Path)):
        return class_names
    path = Path(class_names)
    if not path.is_file():
        raise ValueError(
            "`class_names` must be a file with a line for each output of the model. Received: "
            f"{str(class_names)!r}"
        )
    return read_labels(path)
