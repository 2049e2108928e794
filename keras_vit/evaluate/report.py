"""The result of an evaluation: to print, to inspect, to save."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_vit import plots
from keras_vit.evaluate.class_matching import Head
from keras_vit.evaluate.evaluation_data import EvaluationData
from keras_vit.evaluate.proportions import Proportion
from keras_vit.evaluate.real_labels import real_accuracy
from keras_vit.evaluate.scores import Mistake, Scores
from keras_vit.plots.confusion import confusion_figure
from keras_vit.utils.files import new_folder, write_csv, write_json
from keras_vit.utils.numbers import readable
from keras_vit.utils.tables import Page, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPORT_FILE, CLASSES_FILE, MISTAKES_FILE = "report.json", "per_class.csv", "mistakes.csv"
PICTURE_FILE = "confusion.png"
TOP = 5
WORST = 5


@dataclasses.dataclass(frozen=True)
class ClassRow:
    """A class of the data.

    Attributes:
        name: The model's name of the class.
        top1: How many of its images are right.
        mistake: The most frequent wrong prediction for its images (of equals the first in the
            model's order); `None` if there is none.
        times: How often that was predicted.
    """

    name: str
    top1: Proportion
    mistake: str | None
    times: int


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """The results of an evaluation.

    Attributes:
        model: Name of the model.
        data: Name of the data.
        image_size: (rows, columns) in pixels.
        resize: How images got this size: `"squash"` or `"crop"`.
        interpolation: How images were resampled: `"bilinear"` or `"bicubic"`.
        images: Number of images.
        chosen_among: Number of classes between which the model chose.
        top1: How many images are right; `None` if no image has a known class.
        top5: How many have their class among the five highest outputs; `None` likewise.
        real: How many predictions are in the ReaL set of the image; images with an empty set do not
            count. `None` for images that are not of ImageNet's validation set, and for models
            whose classes are not ImageNet's.
        without_real: How many images were left out of `real` because their set is empty.
        loss: Mean cross-entropy in nats; NaN if no image has a known class.
        per_class: A row for each class of the data, in their order.
        confusion: int32 `[classes, classes]`, number of images by true and predicted class.
        elsewhere: int32 `[classes]`, number of images by true class whose predicted class is not in
            the data.
        mistakes: (true class, predicted class, images), the most frequent first.
        photos: (true class, predicted class, uint8 `[rows, columns, 3]`) of the mistakes with the
            highest loss, at most 25; none if the data have more than 10,000 images.
        unreadable: Files left out because they cannot be read.
        seconds: Duration of the evaluation.
    """

    model: str
    data: str
    image_size: tuple[int, int]
    resize: str
    interpolation: str
    images: int
    chosen_among: int
    top1: Proportion | None
    top5: Proportion | None
    real: Proportion | None
    without_real: int
    loss: float
    per_class: tuple[ClassRow, ...]
    confusion: np.ndarray
    elsewhere: np.ndarray
    mistakes: tuple[tuple[str, str, int], ...]
    photos: tuple[tuple[str, str, np.ndarray], ...]
    unreadable: tuple[str, ...]
    seconds: float

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of the data."""
        return tuple(row.name for row in self.per_class)

    def __str__(self) -> str:
        return str(self.page())

    def page(self) -> Page:
        """The results as a page: the numbers, and the hardest classes as a table."""
        return Page(*_blocks(self))

    def as_dict(self) -> dict[str, Any]:
        """The results for JSON, without matrix and photos; shares in [0, 1], of 6 digits."""
        counted = {
            name: None if value is None else _counted(value)
            for name, value in (("top1", self.top1), ("top5", self.top5), ("real", self.real))
        }
        return {
            "model": self.model,
            "data": self.data,
            "image_size": list(self.image_size),
            "resize": self.resize,
            "interpolation": self.interpolation,
            "images": self.images,
            "classes": len(self.per_class),
            "chosen_among": self.chosen_among,
            **counted,
            "without_real": self.without_real,
            "loss": None if math.isnan(self.loss) else round(self.loss, 6),
            "per_class": [
                {"class": row.name, **_counted(row.top1), "mistake": row.mistake,
                 "times": row.times}
                for row in self.per_class
            ],
            "unreadable": list(self.unreadable),
            "seconds": round(self.seconds, 1),
        }  # fmt: skip

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Writes `report.json`, `per_class.csv`, `mistakes.csv` and `confusion.png`, or nothing.

        Args:
            folder: The folder to make.
            overwrite: Whether `folder` may exist already; it is then kept as `FOLDER.old`.

        Returns:
            The folder.

        Raises:
            ValueError: If the folder exists already, or cannot be written.
        """
        with new_folder(folder, overwrite) as place:
            self.write(place)
        return Path(folder)

    def write(self, folder: Path) -> None:
        """Writes the files into an existing folder.

        Without matplotlib it warns, and writes no picture.
        """
        write_json(folder / REPORT_FILE, self.as_dict())
        if not self.per_class:
            return
        table: list[list[Any]] = [
            ["class", "images", "right", "top1", "low", "high", "mistake", "times"]
        ]
        for row in self.per_class:
            table.append([row.name, *_counted(row.top1).values(), row.mistake or "", row.times])
        write_csv(folder / CLASSES_FILE, table)
        write_csv(folder / MISTAKES_FILE, [("class", "taken for", "images"), *self.mistakes])
        try:
            plots.save(self.confusion_figure(), folder / PICTURE_FILE)
        except ImportError as error:
            warnings.warn(f"There is no {PICTURE_FILE}. {error}", stacklevel=3)

    def confusion_figure(self) -> Figure:
        """The confusion matrix, `confusion.png`, as a matplotlib figure.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        return confusion_figure(
            self.class_names,
            np.column_stack([self.confusion, self.elsewhere]),
            np.array([row.top1.interval for row in self.per_class]),
            self.mistakes,
            self.photos,
            f"{self.model} on {self.data}: top-1 {self.top1}",
        )


def report_of(
    scores: Scores,
    worst: Sequence[Mistake],
    head: Head,
    mapping: np.ndarray,
    *,
    model: str,
    data: EvaluationData,
    chosen_among: int,
    seconds: float,
) -> Report:
    """Makes a report of the scores.

    Args:
        scores: Scores of all images; classes are outputs of the model.
        worst: Mistakes with their photos; classes are outputs of the model.
        head: Head of the model.
        mapping: int `[classes]`, the output of each class of the data.
        model: Name of the model.
        data: The data that the model was evaluated on.
        chosen_among: Number of classes between which the model chose.
        seconds: Duration of the evaluation.
    """
    known = scores.labels >= 0
    labels, predictions = scores.labels[known], scores.predictions[known]
    class_of_output = np.full(len(head.names), -1)
    class_of_output[mapping] = np.arange(len(mapping))
    rows, columns = class_of_output[labels], class_of_output[predictions]
    confusion = np.zeros((len(mapping), len(mapping)), "int32")
    inside = columns >= 0
    np.add.at(confusion, (rows[inside], columns[inside]), 1)
    elsewhere = np.bincount(rows[~inside], minlength=len(mapping)).astype("int32")

    indices = head.imagenet_indices()
    real = None
    if indices is not None:
        real = real_accuracy(indices[scores.predictions], scores.numbers)
    any_known = bool(known.any())
    mistakes = list(_mistakes(labels, predictions))
    return Report(
        model=model,
        data=data.name,
        image_size=data.image_size,
        resize=data.resize,
        interpolation=data.interpolation,
        images=len(scores.labels),
        chosen_among=chosen_among,
        top1=_up_to(1, scores.ranks[known]) if any_known else None,
        top5=_up_to(TOP, scores.ranks[known]) if any_known else None,
        real=real,
        without_real=0 if real is None else int((scores.numbers > 0).sum()) - real.images,
        # `fsum`, because its result does not depend on the order of the images.
        loss=math.fsum(scores.losses[known]) / known.sum() if any_known else math.nan,
        per_class=(
            tuple(_class_rows(labels, predictions, head, mapping, mistakes)) if any_known else ()
        ),
        confusion=confusion,
        elsewhere=elsewhere,
        mistakes=tuple((head.names[true], head.names[said], n) for true, said, n in mistakes),
        photos=tuple(
            (
                head.names[m.label],
                head.names[m.prediction],
                np.clip(m.image, 0, 255).astype("uint8"),
            )
            for m in worst
        ),
        unreadable=data.unreadable,
        seconds=seconds,
    )


def _up_to(top: int, ranks: np.ndarray) -> Proportion:
    return Proportion(int((ranks < top).sum()), len(ranks))


def _mistakes(labels: np.ndarray, predictions: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(true output, predicted output, images), most first; equals in the model's order."""
    wrong = np.stack([labels, predictions])[:, labels != predictions]
    pairs, times = np.unique(wrong, axis=1, return_counts=True)
    for i in np.argsort(-times, kind="stable"):
        yield int(pairs[0, i]), int(pairs[1, i]), int(times[i])


def _class_rows(
    labels: np.ndarray,
    predictions: np.ndarray,
    head: Head,
    mapping: np.ndarray,
    mistakes: Sequence[tuple[int, int, int]],
) -> Iterator[ClassRow]:
    images = np.bincount(labels, minlength=len(head.names))
    right = np.bincount(labels[labels == predictions], minlength=len(head.names))
    # Reversed, so that the most frequent mistake of a class is written last and stays.
    most = {true: (head.names[said], times) for true, said, times in reversed(mistakes)}
    for output in mapping:
        yield ClassRow(
            head.names[output],
            Proportion(int(right[output]), int(images[output])),
            *most.get(int(output), (None, 0)),
        )


def _counted(value: Proportion) -> dict[str, Any]:
    low, high = value.interval
    share = round(value.share, 6) if value.images else None
    return {
        "images": value.images, "right": value.right, "top1": share,
        "low": round(low, 6), "high": round(high, 6),
    }  # fmt: skip


def _blocks(report: Report) -> Iterator[str | Table]:
    rows, columns = report.image_size
    among = "" if report.chosen_among == len(report.per_class) else f" of {report.chosen_among:,}"
    classes = f"{len(report.per_class):,}{among} classes, " if report.per_class else ""
    speed = readable(report.images / max(report.seconds, 1e-3))
    yield (
        f"{report.model} on {report.data}: {report.images:,} images, {classes}{rows}x{columns} "
        f"({report.resize}, {report.interpolation}), {speed} images/s"
    )
    if report.top1 is not None and report.top5 is not None:
        yield f"top-1  {report.top1}"
        if report.chosen_among > TOP:
            yield f"top-5  {report.top5}"
    if report.real is not None:
        left_out = f" of {report.real.images:,} images; {report.without_real:,} have no ReaL label"
        yield f"ReaL   {report.real}{left_out}"
    if report.per_class:
        yield f"loss   {report.loss:.4f}"
    if report.unreadable:
        yield f"left out, as they cannot be read: {len(report.unreadable)}"
    # The classes with the most mistakes for their size.
    wrong = [row for row in report.per_class if row.mistake is not None]
    if not wrong:
        return
    wrong.sort(key=lambda row: row.top1.interval[1])
    yield f"hardest of the {len(wrong):,} classes with mistakes:"
    yield Table(
        [
            (f"  {row.name}", f"{row.top1.right} of {row.top1.images},",
             f"taken for {row.mistake} {row.times}x")
            for row in wrong[:WORST]
        ],
        left=(0, 2),
    )  # fmt: skip
