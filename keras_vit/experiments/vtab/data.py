"""The images of a task: those to train on and those to test on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from keras_vit import data
from keras_vit.data import ImageData
from keras_vit.data.sources import tfds
from keras_vit.data.sources.tfds_reading import Reading
from keras_vit.experiments.vtab.tasks import TASKS, Task
from keras_vit.utils.checks import check_choice

TRAIN, TUNE = 800, 200
# Phase: splits to train and to evaluate on, by the names of google-research/task_adaptation.
PHASES = {"tune": ("train800", "val200"), "final": ("train800val200", "test")}
# BiT (arXiv 1912.11370, section 3.3), which the ViT paper follows, cuts a square of 384 pixels out
# of 448. As everywhere in this package, the crop is cut out first and resized then.
CROP_AREA = ((384 / 448) ** 2, 1.0)
WHOLE_IMAGE = (1.0, 1.0)


def as_tasks(tasks: Iterable[str | Task] | None) -> tuple[Task, ...]:
    """The rows of these names; all rows for `None`.

    Raises:
        ValueError: If there is no such task, or two have one name.
    """
    if tasks is None:
        return tuple(TASKS.values())
    if isinstance(tasks, str):
        tasks = (tasks,)
    found = tuple(
        task if isinstance(task, Task) else TASKS[check_choice("task", task, TASKS)]
        for task in tasks
    )
    names = [task.name for task in found]
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"`tasks` must be one or more, each named once. Received: tasks={names!r}")
    return found


def splits(task: Task, examples: Mapping[str, int] | None = None) -> dict[str, str]:
    """The splits of the protocol, as TFDS writes them.

    As in google-research (`task_adaptation/data/cifar.py` and its neighbours): the first 800
    images to train on, and the first 200 of that code's own validation split to tune on.

    Args:
        task: A row of `TASKS`.
        examples: Images of each split in TFDS. Default: `task.examples`.

    Returns:
        `train800`, `val200`, `train800val200` and `test`.
    """
    examples = task.examples if examples is None else examples
    split, percent = task.tune_from
    start = examples[split] * percent // 100
    train, tune = f"train[:{TRAIN}]", f"{split}[{start or ''}:{start + TUNE}]"
    split, _ = task.test_from
    start = _test_start(task, examples)
    return {
        "train800": train,
        "val200": tune,
        "train800val200": f"{train}+{tune}",
        "test": f"{split}[{start}:]" if start else split,
    }


def _test_start(task: Task, examples: Mapping[str, int]) -> int:
    split, percent = task.test_from
    count = examples[split]
    if task.tune_from[0] == split and task.tune_from[1]:
        # Two parts come before, and that code rounds each down (dsprites.py, eurosat.py).
        first = task.tune_from[1]
        return count * first // 100 + count * (percent - first) // 100
    return count * percent // 100


@dataclasses.dataclass(frozen=True)
class Availability:
    """Whether the data of a task are there.

    Attributes:
        state: `"prepared"`: on the disk; `"download"`: TFDS can fetch them; `"manual"`: you have
            to download them by hand; `"unknown"`: TFDS has no such data set.
        detail: The folder where they are or would be; for `"manual"` the instructions of TFDS;
            for `"unknown"` the reason.
    """

    state: str
    detail: str


def available(
    data_dir: str | Path | None = None, tasks: Iterable[str | Task] | None = None
) -> dict[str, Availability]:
    """Which data are there; downloads nothing.

    Args:
        data_dir: Where TFDS keeps its files. Default: its own choice.
        tasks: Names, or rows like those of `TASKS`. Default: all 19.

    Returns:
        Name of the task -> `Availability`.

    Raises:
        ImportError: If tensorflow-datasets is not installed.
        ValueError: If there is no such task.
    """
    found: dict[str, Availability] = {}  # several tasks share a data set
    chosen = as_tasks(tasks)
    for task in chosen:
        if task.tfds not in found:
            found[task.tfds] = _availability(task.tfds, data_dir)
    return {task.name: found[task.tfds] for task in chosen}


def _availability(name: str, data_dir: str | Path | None) -> Availability:
    try:
        builder = tfds.open_builder(name, data_dir)
    except ValueError as error:
        return Availability("unknown", str(error))
    if tfds.is_prepared(builder):
        return Availability("prepared", str(builder.data_dir))
    instructions = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    if instructions:
        return Availability("manual", " ".join(instructions.split()))
    return Availability("download", str(builder.data_dir))


def load(
    task: str | Task,
    phase: str,
    image_size: int | tuple[int, int] = 384,
    batch_size: int = 512,
    *,
    data_dir: str | Path | None = None,
    download: bool = False,
    seed: int = 0,
) -> ImageData:
    """The images of a task, to tune or for the final training.

    Args:
        task: A name of `TASKS`, or a row like those.
        phase: `"tune"`: 800 images to train and 200 to validate on; `"final"`: those 1,000 to
            train on, and all test images.
        image_size: Pixels, one number or (rows, columns); 384 in the ViT paper.
        batch_size: Images per batch. An epoch leaves out images that do not fill a batch.
        data_dir: Where TFDS keeps its files. Default: its own choice.
        download: Whether TFDS may download and prepare missing data.
        seed: Seed of the crops and the order.

    Returns:
        The data. Training images are cropped at random (about three quarters of the area or more)
        and mirrored where the label stays right (`Task.crop`, `Task.flip`); the others are resized
        whole.

    Raises:
        ImportError: If tensorflow-datasets is not installed.
        ValueError: If there is no such task or phase, the data are not there and may not be
            downloaded, or an option is out of its range.
    """
    (task,) = as_tasks((task,))
    train, evaluate = PHASES[check_choice("phase", phase, PHASES)]
    crop_area = CROP_AREA if task.crop else WHOLE_IMAGE
    builder = tfds.open_builder(task.tfds, data_dir)
    if not tfds.is_prepared(builder):
        if not download:
            raise ValueError(
                f"The data of {task.name!r} are not in {builder.data_dir}. Pass download=True "
                f"(--download), or the folder where TFDS has {task.tfds} (data_dir, --data-dir)"
            )
        builder.download_and_prepare()
    counts = {name: int(split.num_examples) for name, split in builder.info.splits.items()}
    cut = splits(task, counts)
    found = data.open(
        task.tfds,
        data_dir=data_dir,
        train_split=cut[train],
        validation_split=cut[evaluate],
        reading=_reading(task, builder),
    )
    found = dataclasses.replace(found, name=f"{task.name} ({phase})")
    return found.prepare(image_size, batch_size, crop_area=crop_area, flip=task.flip, seed=seed)


def _reading(task: Task, builder: Any) -> Reading:
    names = task.label.class_names
    if isinstance(names, str):
        names = tuple(builder.info.features[names].names)
    if len(names) != task.classes:
        raise ValueError(
            f"The data of {task.name!r} must have {task.classes} classes. Received: "
            f"{len(names)} in {builder.info.full_name}"
        )
    return Reading("image", task.label.read, names, task.label.fields, task.scale)
