"""Accuracy against data and against compute, for several families of models (paper, 4.3, 4.4).

The paper asks what more data and more compute are worth for ViT and BiT. This is the experiment for
sets of any size. Each family trains from random weights on growing subsets of one set of images,
with the same floating-point operations, and is tested on images that it has not seen. Every
training is a cell of a table, and a cell that is in the table is not run again.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_vit import data, planner, plots
from keras_vit.models.variants import Config
from keras_vit.plots import charts
from keras_vit.recipes import from_scratch_recipe
from keras_vit.training import Checkpointing, fine_tune
from keras_vit.training.fine_tuning import EVALUATIONS
from keras_vit.utils.checks import check_counts
from keras_vit.utils.files import check_writable, write_csv, write_json

TABLE_FILE, SETTINGS_FILE, PICTURE_FILE = "data_scaling.csv", "settings.json", "data_scaling.png"
Arrays = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One training.

    Attributes:
        family: Name of the family.
        images: Images of the subset.
        teraflops: Compute asked for, in 1e12 operations.
        learning_rate: The highest learning rate.
    """

    family: str
    images: int
    teraflops: float
    learning_rate: float


@dataclasses.dataclass(frozen=True)
class Row(Cell):
    """One finished training: a line of the table.

    Attributes:
        steps: Number of steps, of `Experiment.batch_size` images.
        exaflops: Compute, three forward passes for each image seen, in 1e18 operations.
        passes: Passes over the subset.
        train_accuracy: On the subset (2,000 of its images), without crops; in [0, 1].
        accuracy: On the held-out images, in [0, 1].
        seconds: Duration of the training, evaluations included.
    """

    steps: int
    exaflops: float
    passes: float
    train_accuracy: float
    accuracy: float
    seconds: float

    @property
    def cell(self) -> Cell:
        return Cell(self.family, self.images, self.teraflops, self.learning_rate)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What to compare.

    Attributes:
        families: Name -> configuration, a row of `keras_vit.VARIANTS` or one like them.
        counts: Images of the subsets, ascending. The subsets are nested, and have equal shares of
            the classes.
        teraflops: Compute of a training in 1e12 operations, ascending. It sets the steps.
        learning_rates: Rates to choose from. Each family takes the one that is best on the
            held-out images, with the least compute and the middle subset.
        image_size: Pixels that the images are brought to.
        batch_size: Images of a step.
        crop_area: Least and largest share of an image's area that a random crop has.
        seed: Seed of the weights, the crops and the order.

    Raises:
        ValueError: If a field is empty, or a number is not positive.
    """

    families: Mapping[str, Config]
    counts: Sequence[int]
    teraflops: Sequence[float]
    learning_rates: Sequence[float]
    image_size: int = 64
    batch_size: int = 64
    crop_area: tuple[float, float] = (0.5, 1.0)
    seed: int = 0

    def __post_init__(self) -> None:
        check_counts(1, **{f"counts[{i}]": count for i, count in enumerate(self.counts)})
        for name in ("families", "counts", "teraflops", "learning_rates"):
            values = getattr(self, name)
            numbers = [] if name == "families" else values
            if not values or any(not value > 0 for value in numbers):
                raise ValueError(
                    f"`{name}` must have at least one entry, and positive ones. Received: "
                    f"{name}={values!r}"
                )

    def flops(self, family: str, classes: int) -> int:
        """Operations to train on one image once."""
        parts = planner.parts(self.families[family], self.image_size, classes)
        return planner.training_flops(parts)

    def steps(self, family: str, teraflops: float, classes: int) -> int:
        """Steps for this compute, rounded to a multiple of ten, at least ten."""
        steps = teraflops * 1e12 / self.flops(family, classes) / self.batch_size
        return max(1, round(steps / EVALUATIONS)) * EVALUATIONS

    def as_json(self) -> dict[str, Any]:
        """The settings that must stay the same to continue a table."""
        families = {name: row.architecture for name, row in self.families.items()}
        kept = ("image_size", "batch_size", "crop_area", "seed")
        rest = {name: getattr(self, name) for name in kept}
        return json.loads(json.dumps({"families": families, **rest}))  # tuples become lists


def run(
    experiment: Experiment,
    train: Arrays,
    held_out: Arrays,
    class_names: Sequence[str],
    folder: str | Path,
    *,
    verbose: str | int = "auto",
    report: Callable[[str], None] = print,
) -> list[Row]:
    """Trains what is not in the table yet, and writes the table and the picture after each.

    A killed process loses only the steps since the last of a training's ten checkpoints. Call it
    again with the same arguments to continue. You may ask for more subsets, compute or rates later.

    Args:
        experiment: What to compare.
        train: Images, uint8 `[N, rows, columns, 3]`, and labels, integers `[N]`.
        held_out: The same to test on.
        class_names: Names of the labels 0, 1, ...
        folder: Gets `data_scaling.csv`, `data_scaling.png` and `settings.json`.
        verbose: As for `fine_tune`.
        report: Called with a line of text before and after each training.

    Returns:
        The rows of the experiment, with those that chose the rate.

    Raises:
        ValueError: If a subset is larger than the set, or the folder holds another experiment.
    """
    folder = Path(folder)
    if max(experiment.counts) > len(train[1]):
        raise ValueError(
            f"`counts` may not be more than the {len(train[1])} training images. Received: "
            f"counts={tuple(experiment.counts)}"
        )
    rows = _begin(folder, experiment)
    order = nested_order(train[1])
    asked: list[Cell] = []

    def done(cell: Cell, number: int, of: int) -> Row:
        asked.append(cell)
        if cell not in rows:
            report(f"[{number}/{of}] {cell}")
            chosen = order[: cell.images]
            subset = train[0][chosen], train[1][chosen]
            rows[cell] = _train(experiment, cell, subset, held_out, class_names, folder, verbose)
            _write_table(folder / TABLE_FILE, list(rows.values()))
            if len({row.images for row in rows.values()}) > 1:
                _draw(folder / PICTURE_FILE, list(rows.values()), len(held_out[1]))
            report(f"{100 * rows[cell].accuracy:.1f} % after {rows[cell].seconds:.0f} s")
        return rows[cell]

    # Choose the rate as the paper does: try a few values on held-out images.
    middle = experiment.counts[len(experiment.counts) // 2]
    tried = [(family, rate) for family in experiment.families for rate in experiment.learning_rates]
    rest = len(experiment.families) * (len(experiment.counts) * len(experiment.teraflops) - 1)
    of = len(tried) + rest
    best: dict[str, Row] = {}
    for number, (family, rate) in enumerate(tried, start=1):
        cell = Cell(family, middle, experiment.teraflops[0], rate)
        row = done(cell, number, of)
        if family not in best or row.accuracy > best[family].accuracy:
            best[family] = row

    number = len(tried)
    for budget in experiment.teraflops:
        for count in experiment.counts:
            for family in experiment.families:
                rate = best[family].learning_rate
                cell = Cell(family, count, budget, rate)
                number += cell not in asked
                done(cell, number, of)
    _draw(folder / PICTURE_FILE, list(rows.values()), len(held_out[1]))
    return [rows[cell] for cell in dict.fromkeys(asked)]


def nested_order(labels: np.ndarray) -> np.ndarray:
    """An order of all images in which the first ones have equal shares of the classes.

    Args:
        labels: Integers `[N]`.

    Returns:
        A permutation `[N]`: the first image of each class, then the second of each, ...
    """
    rank = np.empty(len(labels), int)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members] = np.arange(len(members))
    return np.lexsort((labels, rank))


def chosen_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows of the best rate for each family, subset and compute."""
    best: dict[tuple[str, int, float], Row] = {}
    for row in rows:
        key = row.family, row.images, row.teraflops
        if key not in best or row.accuracy > best[key].accuracy:
            best[key] = row
    return list(best.values())


def read_table(path: str | Path) -> list[Row]:
    """The rows of a `data_scaling.csv`.

    Raises:
        ValueError: If the file is not such a table.
    """
    kinds: dict[str, Any] = {"family": str, "images": int, "steps": int}
    with open(path, encoding="utf-8", newline="") as file:
        try:
            return [
                Row(**{name: kinds.get(name, float)(value) for name, value in line.items()})
                for line in csv.DictReader(file)
            ]
        except (TypeError, ValueError) as error:
            names = ", ".join(field.name for field in dataclasses.fields(Row))
            raise ValueError(
                f"{path} must be a table with the columns {names}. Received: {error}"
            ) from error


def _train(
    experiment: Experiment,
    cell: Cell,
    subset: Arrays,
    held_out: Arrays,
    class_names: Sequence[str],
    folder: Path,
    verbose: str | int,
) -> Row:
    keras.utils.set_random_seed(experiment.seed)
    steps = experiment.steps(cell.family, cell.teraflops, len(class_names))
    config = experiment.families[cell.family]
    model = config.build(
        image_size=experiment.image_size,
        classes=len(class_names),
        include_preprocessing=True,
        **config.architecture,
    )
    images = data.from_arrays(
        subset,
        held_out,
        class_names,
        experiment.image_size,
        experiment.batch_size,
        crop_area=experiment.crop_area,
        seed=experiment.seed,
    )
    checkpoints = folder / "unfinished" / "-".join(map(str, dataclasses.astuple(cell)))
    result = fine_tune(
        model,
        images,
        from_scratch_recipe(steps, cell.learning_rate),
        checkpoints=Checkpointing(checkpoints),
        verbose=verbose,
    )
    shutil.rmtree(checkpoints)
    seen = steps * experiment.batch_size
    return Row(
        **dataclasses.asdict(cell),
        steps=steps,
        exaflops=seen * experiment.flops(cell.family, len(class_names)) / 1e18,
        passes=seen / cell.images,
        train_accuracy=result.train_accuracy,
        accuracy=result.validation_accuracy,
        seconds=result.seconds,
    )


def _begin(folder: Path, experiment: Experiment) -> dict[Cell, Row]:
    """The rows that are done already; raises if the folder holds another experiment."""
    check_writable(folder)
    settings, table = folder / SETTINGS_FILE, folder / TABLE_FILE
    asked = experiment.as_json()
    if not settings.exists():
        if table.exists():
            raise ValueError(
                f"{folder} holds a table but not its {SETTINGS_FILE}: choose another folder"
            )
        write_json(settings, asked)
    held = json.loads(settings.read_text("utf-8"))
    if held != asked:
        raise ValueError(
            f"{folder} holds an experiment with other settings: choose another folder, or the "
            f"settings that it has. Expected: {held}. Received: {asked}"
        )
    return {row.cell: row for row in read_table(table)} if table.exists() else {}


def _write_table(path: Path, rows: Sequence[Row]) -> None:
    values = (
        [f"{value:.6g}" if isinstance(value, float) else value for value in vars(row).values()]
        for row in rows
    )
    write_csv(path, [[field.name for field in dataclasses.fields(Row)], *values])


def _draw(path: Path, rows: Sequence[Row], held_out: int) -> None:
    label = f"accuracy on {held_out:,} images held out, in %"
    figure = charts.data_scaling([vars(row) for row in chosen_rows(rows)], label)
    plots.save(figure, path)
