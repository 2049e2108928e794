"""The folder that a training run leaves: written whole or not at all, and read again."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_vit
from keras_vit import plots
from keras_vit.analysis import attention_maps, attention_masks
from keras_vit.data import ImageData
from keras_vit.data_errors import data_errors
from keras_vit.tokens import PositionEmbedding
from keras_vit.train import TrainingResult

MODEL_FILE, LABELS_FILE, SUMMARY_FILE = "model.keras", "labels.txt", "summary.json"
CURVES_FILE, PREDICTIONS_FILE = "curves.png", "predictions.png"
EXAMPLES = 12


@contextlib.contextmanager
def new_folder(
    path: str | Path, overwrite: bool = False, place: Path | None = None
) -> Iterator[Path]:
    """A folder that appears under its name only once it is complete.

    Args:
        path: Its name.
        overwrite: Whether there may be one already.
        place: Where it is written, on the same disk. What is there is removed first: what a
            process wrote that was killed.

    Yields:
        `place`, or a hidden folder beside `path`, to write into. At the end it is renamed to
        `path`, and what was there is kept as `path.old` (`.old-2`, ...). After an error what was
        written is kept as `path.unfinished`, or nothing if nothing was.

    Raises:
        ValueError: If `path` exists and `overwrite` is false, or it is no place for a folder.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise ValueError(
            f"{path} exists already. Choose another name, or pass overwrite=True (--overwrite): "
            f"it is then kept as {_free_name(path, 'old').name}"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if place is None:
            partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        else:
            partial = place
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
    except OSError as error:
        raise ValueError(f"Cannot write in {path.parent}: {error}") from error
    try:
        yield partial
    except BaseException:
        if place is None and any(partial.iterdir()):
            partial.rename(_free_name(path, "unfinished"))
        else:  # in a place of its own it is written again: a rest is of no use
            shutil.rmtree(partial, ignore_errors=True)
        raise
    # mkdtemp makes it private; a run is as readable as any other folder of the user.
    umask = os.umask(0)
    os.umask(umask)
    partial.chmod(0o777 & ~umask)
    if path.exists():
        set_aside(path)
    partial.rename(path)


def set_aside(path: Path) -> None:
    """Renames a folder to `path.old`, or with a number the first that is free."""
    path.rename(_free_name(path, "old"))


def check_writable(folder: Path) -> None:
    """Makes a folder, if it is not there, and a file in it that is gone again.

    Raises:
        ValueError: If that cannot be done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"Cannot write in {folder}: {error}") from error


def _free_name(path: Path, ending: str) -> Path:
    """`path.ending`, or with a number the first that is free."""
    candidate, number = path.with_name(f"{path.name}.{ending}"), 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}.{ending}-{number}")
    return candidate


def write(
    folder: Path,
    model: keras.Model,
    data: ImageData,
    result: TrainingResult,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Writes the model, the names of its classes, a summary and the pictures into `folder`.

    Args:
        folder: Exists and is empty.
        model: Trained; takes pixels in [0, 255], gives probabilities.
        data: What it was trained on.
        result: Of `keras_vit.train.fine_tune`.
        settings: What was asked for; goes into the summary.

    Returns:
        What `summary.json` holds.
    """
    # A copy is not compiled: the optimiser would double the size of the file.
    plain = type(model).from_config(model.get_config())
    plain.set_weights(model.get_weights())
    plain.save(folder / MODEL_FILE)
    (folder / LABELS_FILE).write_text("".join(f"{name}\n" for name in data.class_names), "utf-8")
    summary = summarise(model, data, result, settings)
    (folder / SUMMARY_FILE).write_text(json.dumps(summary, indent=1) + "\n", "utf-8")

    title = f"{model.name} on {data.name}, {result.steps} steps"
    plots.save(plots.training_curves(result.history, title), folder / CURVES_FILE)
    # The copy, which is on one device, whatever the other was trained on.
    plots.save(example_predictions(plain, data, result), folder / PREDICTIONS_FILE)
    return summary


def summarise(
    model: keras.Model, data: ImageData, result: TrainingResult, settings: dict[str, Any]
) -> dict[str, Any]:
    """Everything about a run that is a number or a name."""
    return {
        "train_accuracy": round(result.train_accuracy, 4),
        "validation_accuracy": round(result.validation_accuracy, 4),
        "steps": result.steps,
        "seconds": round(result.seconds, 1),
        "model": {
            "name": model.name,
            "parameters": model.count_params(),
            "image_size": list(data.image_size),
        },
        "data": {
            "name": data.name,
            "classes": len(data.class_names),
            "train_images": data.num_train,
            "validation_images": data.num_validation,
            "unreadable": list(data.unreadable),
            "resize": data.resize,
        },
        "settings": settings,
        "history": result.history,
        "versions": {
            "keras_vit": keras_vit.__version__,
            "keras": keras.__version__,
            "tensorflow": importlib.metadata.version("tensorflow"),
            "python": platform.python_version(),
        },
    }


def example_predictions(model: keras.Model, data: ImageData, result: TrainingResult) -> Any:
    """A figure of validation images, evenly spread over the classes, and their attention.

    A BiT or a Mixer has no attention to show.
    """
    count = min(EXAMPLES, data.num_validation)
    chosen = {i * data.num_validation // count for i in range(count)}
    with data_errors(data):
        images, labels = zip(
            *(
                example
                for i, example in enumerate(data.validation.unbatch().as_numpy_iterator())
                if i in chosen
            ),
            strict=True,
        )
    images = np.stack(images)
    masks = _attention_masks(model, images, data.image_size)
    right = round(result.validation_accuracy * data.num_validation)
    return plots.predictions_grid(
        images,
        model.predict(images, verbose=0),  # pyright: ignore[reportArgumentType]
        np.array(labels),
        data.class_names,
        masks,
        title=(
            f"{count} of {data.num_validation} validation images ({right} of all are right)"
            + ("" if masks is None else ", and what the class token looked at")
        ),
    )


def _attention_masks(
    model: keras.Model, images: np.ndarray, image_size: tuple[int, int]
) -> np.ndarray | None:
    """`[B, H, W]` in [0, 1], or `None` for a model without attention."""
    position = next((x for x in model.layers if isinstance(x, PositionEmbedding)), None)
    if position is None:
        return None
    rows, columns = position.grid_size
    masks = []
    for image in images:  # one by one: the maps of a batch of a large model fill the memory
        maps = attention_maps(model, image[None])
        prefix = maps.shape[-1] - rows * columns
        masks.append(attention_masks(maps, position.grid_size, image_size, prefix)[0])
    return np.stack(masks)
