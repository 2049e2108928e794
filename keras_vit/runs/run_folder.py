"""The folder of a finished run: written whole or not at all, and read again."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_vit import plots
from keras_vit.analysis import attention_maps, attention_masks
from keras_vit.data import ImageData
from keras_vit.data.damage import data_errors
from keras_vit.models.parts import positions_of
from keras_vit.predict import LABELS_FILE, MODEL_FILE, SUMMARY_FILE
from keras_vit.training import TrainingResult
from keras_vit.utils.files import write_json
from keras_vit.utils.text import labels_text
from keras_vit.version import __version__

CURVES_FILE, PREDICTIONS_FILE = "curves.png", "predictions.png"
EXAMPLES = 12
README_FILE = "README.txt"
README = f"""\
A model for photos, trained with keras_vit {__version__}.

In Python:

    import keras
    import keras_vit  # first: it says to Keras what the layers of the model are

    model = keras.models.load_model("{MODEL_FILE}")
    probabilities = model.predict(photos)  # [B, rows, columns, 3], pixels in [0, 255]

Without `import keras_vit` Keras stops with "Could not locate class 'PatchEmbed'", or another of its
layers. From a shell, with the name of this folder:

    keras-vit predict photo.jpg --model FOLDER

{LABELS_FILE} has the names of the classes, a line for each output of the model. Where a name has a
line break or another character that cannot be seen, that stands there as its code: \\u000a
{SUMMARY_FILE} says what the model was trained on, how, and how often it is right.
"""


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
        result: Of `keras_vit.training.fine_tune`.
        settings: What was asked for; goes into the summary.

    Returns:
        What `summary.json` holds.
    """
    # A copy is not compiled: the optimiser would double the size of the file.
    plain = type(model).from_config(model.get_config())
    plain.set_weights(model.get_weights())
    plain.save(folder / MODEL_FILE)
    (folder / LABELS_FILE).write_text(labels_text(data.class_names), "utf-8")
    (folder / README_FILE).write_text(README, "utf-8")
    summary = summarise(model, data, result, settings)
    write_json(folder / SUMMARY_FILE, summary)

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
            "interpolation": data.interpolation,
        },
        "settings": settings,
        "history": result.history,
        "versions": {
            "keras_vit": __version__,
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
    position = positions_of(model)
    if position is None:
        return None
    rows, columns = position.grid_size
    masks = []
    for image in images:  # one by one: the maps of a batch of a large model fill the memory
        maps = attention_maps(model, image[None])
        prefix = maps.shape[-1] - rows * columns
        masks.append(attention_masks(maps, position.grid_size, image_size, prefix)[0])
    return np.stack(masks)
