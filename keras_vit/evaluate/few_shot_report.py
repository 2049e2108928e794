"""Measures the features of a model on a data set, and writes a table, numbers and a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_vit import plots
from keras_vit.data import ImageData
from keras_vit.data import open as open_data
from keras_vit.data.damage import data_errors
from keras_vit.data.image_ops import CENTRE_FRACTION
from keras_vit.evaluate.features import extract_labelled_features
from keras_vit.evaluate.few_shot import (
    L2,
    SEEDS,
    SHOTS,
    FewShot,
    check_protocol,
    check_shots,
    evaluate_few_shot,
)
from keras_vit.evaluate.probes import (
    LinearProbe,
    linear_probe,
    nearest_neighbours,
    require_scikit_learn,
)
from keras_vit.plots import charts
from keras_vit.predict import load_classifier
from keras_vit.utils.files import new_folder, write_csv, write_json
from keras_vit.utils.tables import Page, Table
from keras_vit.utils.text import say
from keras_vit.version import __version__

JSON_FILE, CSV_FILE, PICTURE_FILE = "few_shot.json", "few_shot.csv", "few_shot.png"
NEIGHBOURS = 5


@dataclasses.dataclass(frozen=True)
class Report:
    """What the features of a model are worth on a data set.

    Attributes:
        model: Name of the model.
        data: Name of the data.
        num_train: Number of training images.
        width: Numbers in a feature.
        sizes: Sizes of the resized images and of the crop, each (rows, columns) in pixels.
        interpolation: How images were resampled: `"bilinear"` or `"bicubic"`.
        few_shot: Result with few images of each class.
        probe: Result of logistic regression with all training images.
        neighbours: Share of the test images that their `NEIGHBOURS` nearest neighbours among all
            training images classify correctly, in [0, 1].
    """

    model: str
    data: str
    num_train: int
    width: int
    sizes: tuple[tuple[int, int], tuple[int, int]]
    interpolation: str
    few_shot: FewShot
    probe: LinearProbe
    neighbours: float

    @property
    def on_all(self) -> dict[str, float]:
        """Method that learns from all training images -> its accuracy."""
        return {
            "linear probe": self.probe.accuracy,
            f"{NEIGHBOURS} nearest neighbours": self.neighbours,
        }

    def page(self) -> Page:
        """The results as a page, in percent of the test images."""
        few = self.few_shot
        return Page(
            f"{self.model} on {self.data}: {few.num_classes} classes, {self.num_train:,} images to "
            f"train on, {few.num_test:,} to test on",
            Table(
                [
                    (f"{shots}", *(f"{100 * number:.2f}" for number in (*row, mean, spread)))
                    for shots, row, mean, spread in zip(
                        few.shots, few.accuracies, few.means, few.spreads, strict=True
                    )
                ],
                (
                    "images a class",
                    *(f"seed {seed}, %" for seed in few.seeds),
                    "mean, %",
                    "spread, points",
                ),
                left=(),
            ),
            Table([(f"all, {name}", f"{100 * x:.2f} %") for name, x in self.on_all.items()]),
        )


def write_report(
    source: str | Path,
    data: str | Path,
    out: str | Path,
    weights: str | None = None,
    *,
    shots: Sequence[int] = SHOTS,
    seeds: int = SEEDS,
    l2: float = L2,
    batch_size: int = 32,
    on_error: str | None = None,
    overwrite: bool = False,
) -> Report:
    """Measures a model's features on a data set, and writes `few_shot.json`, `.csv` and `.png`.

    As in big_vision, images are resized to 256x256 whatever their proportions, and the middle
    224x224 is cut out (in proportion for models of another size). Images that shrink are
    antialiased here; in big_vision's configuration they are not.

    Args:
        source: As in `predict.load_classifier`.
        data: A folder of TFRecord files, or one as for `keras_vit.data.from_folder`; the name of a
            TensorFlow data set; or `"digits"`. The shots are drawn from its training images.
        out: The folder to write. It appears whole or not at all.
        weights: As in `predict.load_classifier`.
        shots: Images of each class.
        seeds: Draws for each number of shots.
        l2: Regularisation of the few-shot classifier.
        batch_size: Images per step.
        on_error: `"raise"` (default) or `"skip"` images of a folder that cannot be read.
        overwrite: Whether `out` may exist already; it is then kept as `OUT.old`.

    Raises:
        ValueError: If a class has fewer images than `shots`, `out` exists already, or the model or
            the data do not fit.
        ImportError: If matplotlib or scikit-learn is not installed.
    """
    plots.require_matplotlib()
    require_scikit_learn()
    shots, draws = check_protocol(shots, seeds, l2)
    with new_folder(out, overwrite) as folder:
        classifier = load_classifier(source, weights)
        crop = classifier.image_size
        rows, columns = (round(side / CENTRE_FRACTION) for side in crop)
        images = open_data(data, on_error=on_error).prepare(
            (rows, columns), batch_size, interpolation=classifier.interpolation
        )
        train, train_labels = _features(classifier.model, images, "train", crop)
        check_shots(train_labels, shots[-1], len(images.class_names), images.class_names)
        test, test_labels = _features(classifier.model, images, "test", crop)
        sets = (train, train_labels, test, test_labels)
        found = nearest_neighbours(*sets[:3], k=NEIGHBOURS)
        report = Report(
            model=Path(source).stem,  # a checkpoint's model has no name of its own
            data=images.name,
            num_train=len(train),
            width=train.shape[1],
            sizes=((rows, columns), crop),
            interpolation=classifier.interpolation,
            few_shot=evaluate_few_shot(*sets, shots, draws, l2, len(images.class_names)),
            probe=linear_probe(*sets),
            neighbours=float(np.mean(found == test_labels)),
        )
        _write(folder, report)
    return report


def _features(
    model: Any, data: ImageData, split: str, crop: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels, in the order of the files."""
    import tensorflow as tf

    # Only `ImageData` made by hand has no `train_in_order`.
    batches: Any = data.train_in_order if split == "train" else data.validation
    total = data.num_train if split == "train" else data.num_validation
    top, left = ((whole - part) // 2 for whole, part in zip(data.image_size, crop, strict=True))

    def cut(pixels: Any, labels: Any) -> Any:
        # The original rounds down to whole levels before it crops.
        return tf.floor(pixels[:, top : top + crop[0], left : left + crop[1]]), labels

    say(f"features of {total} images to {split} on")
    with data_errors(data):
        return extract_labelled_features(model, batches.map(cut), total=total)


def _write(folder: Path, report: Report) -> None:
    few = report.few_shot
    resized, cropped = report.sizes
    content = {
        "model": report.model,
        "data": {
            "name": report.data,
            "classes": few.num_classes,
            "train_images": report.num_train,
            "test_images": few.num_test,
        },
        "protocol": {
            "feature_width": report.width,
            "resized_to": resized,
            "cropped_to": cropped,
            "interpolation": report.interpolation,
            "l2": few.l2,
            "seeds": few.seeds,
        },
        "few_shot": [
            {"shots": shots, "accuracies": row, "mean": mean, "spread": spread}
            for shots, row, mean, spread in zip(
                few.shots, few.accuracies, few.means, few.spreads, strict=True
            )
        ],
        "linear_probe": dataclasses.asdict(report.probe),
        "nearest_neighbours": {"k": NEIGHBOURS, "accuracy": report.neighbours},
        "versions": {"keras_vit": __version__},
    }
    write_json(folder / JSON_FILE, content)

    rows: list[tuple[Any, ...]] = [("method", "shots", "seed", "accuracy")]
    for shots, row in zip(few.shots, few.accuracies, strict=True):
        for seed, accuracy in zip(few.seeds, row, strict=True):
            rows.append(("few-shot", shots, seed, f"{accuracy:.6f}"))
    for name, accuracy in report.on_all.items():
        rows.append((name, "all", "", f"{accuracy:.6f}"))
    write_csv(folder / CSV_FILE, rows)

    plots.save(
        charts.few_shot_curve(
            few.shots,
            100 * np.array(few.accuracies),
            {
                f"{name}, all {report.num_train} images": 100 * accuracy
                for name, accuracy in report.on_all.items()
            },
            title=f"{report.model} on {report.data}: {few.num_classes} classes, "
            f"{few.num_test} images to test on",
        ),
        folder / PICTURE_FILE,
    )
