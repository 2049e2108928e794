"""Loads any model to name photos with, and what is known of it."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_vit.applications import constructors
from keras_vit.checkpoints import from_checkpoint
from keras_vit.checkpoints.files.hdf5 import KerasReader
from keras_vit.data.image_ops import INTERPOLATIONS, RESIZES
from keras_vit.data.preprocessing import LABELLED_CLASSES, labels
from keras_vit.distribution import default_jit
from keras_vit.distribution.evaluation import forward_pass
from keras_vit.models import VARIANTS, variants
from keras_vit.models.input_and_head import check_channels, check_takes_pixels
from keras_vit.utils import files
from keras_vit.utils.checks import check_choice, did_you_mean
from keras_vit.utils.text import printable, read_labels


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A model, and what you need to know to use it.

    Attributes:
        model: Takes `[B, rows, columns, 3]` in [0, 255], gives probabilities or logits
            `[B, classes]`.
        class_names: Names of its classes.
        image_size: (rows, columns) in pixels.
        resize: How a photo gets this size: `"squash"` or `"crop"`.
        interpolation: How it is resampled for that: `"bilinear"` or `"bicubic"`.
    """

    model: keras.Model
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    resize: str = "squash"
    interpolation: str = "bilinear"

    @functools.cached_property
    def compiled(self) -> Callable[[Any], Any]:
        """The model as a function of a batch, which is traced once."""
        return forward_pass(self.model, default_jit(dtype=self.model.dtype_policy.name))


def load_classifier(source: str | Path, weights: str | None = None) -> Classifier:
    """Loads a model to classify photos with; arguments and errors as for `load_model`.

    Raises:
        ValueError: Also if the model is not a classifier, or does not take pixels in [0, 255].
    """
    found = load_model(source, weights)
    if not found.class_names:
        raise ValueError(
            "A classifier has one output, `[B, classes]`. Received: "
            f"{str(source)!r}, a model with the outputs {_output_shapes(found.model)}"
        )
    check_takes_pixels(found.model)
    check_channels(found.model)
    return found


def load_model(source: str | Path, weights: str | None = None) -> Classifier:
    """Loads any model and what is known of it, a classifier or not.

    Args:
        source: The name of a constructor (`"ViT_Ti16"`), a run folder, a `.keras` file of a
            model for pixels in [0, 255], or a checkpoint, `.npz` or `.safetensors`. Where a
            file `labels.txt` lies beside the model its lines are the names of the classes.
        weights: For a constructor: what it takes as `weights`. Default: `"imagenet"`.

    Returns:
        The model with its facts. There are no names of classes if the outputs are not
        `[B, classes]`. The model of a `.keras` file takes images as it was built for.

    Raises:
        ValueError: If `source` is none of these, or its parts do not fit.
    """
    path = Path(source)
    model: Any
    options: dict[str, Any] = {
        "classifier_activation": "softmax",
        "include_preprocessing": True,
    }
    if str(source) in VARIANTS:
        model = getattr(constructors, str(source))(weights=weights or "imagenet", **options)
        return Classifier(model, *_facts(model, None))
    elif weights is not None:
        raise ValueError(
            "`weights` goes with the name of a constructor; a file or a run folder has its own. "
            f"Received: source={str(source)!r}, weights={weights!r}"
        )
    elif path.suffix in (".npz", ".safetensors") and os.path.isfile(path):
        model = from_checkpoint(path, **options)
    else:
        # `os.path` and not `Path`, whose functions raise where a permission is missing.
        path = path / MODEL_FILE if os.path.isdir(path) else path
        if path.suffix != ".keras" or not os.path.isfile(path):
            raise ValueError(
                f"Expected one of {', '.join(VARIANTS)}, a run folder with a {MODEL_FILE}, a "
                f".keras file, or an .npz or .safetensors checkpoint."
                f"{did_you_mean(source, VARIANTS)} Received: {str(source)!r}"
            )
        model = _keras_model(path)
    return Classifier(model, *_facts(model, path.parent))


def _keras_model(path: Path) -> Any:
    """The model in a `.keras` file that anybody may have written; no code of it is run."""
    try:
        KerasReader(path).close()  # refuses sizes and numbers of strings beyond all bounds
        model: Any = keras.models.load_model(path, safe_mode=True)
    except Exception as error:  # Keras raises nearly everything
        reason = next(iter(str(error).strip().splitlines()), "")[:300]
        raise ValueError(
            f"Cannot load {str(path)!r}: {printable(reason) or 'Keras gives no reason'} "
            f"({type(error).__name__}). Expected a complete file of `model.save`, with layers of "
            "Keras and keras_vit; import the module of any other layers first"
        ) from error
    inputs = [tuple(tensor.shape) for tensor in getattr(model, "inputs", None) or ()]
    if [len(shape) for shape in inputs] != [4]:
        raise ValueError(
            f"The model in {str(path)!r} must take images, [B, rows, columns, 3]. Received: "
            f"inputs {inputs}"
        )
    return model


def _output_shapes(model: Any) -> list[tuple[int | None, ...]]:
    return [tuple(x.shape) for x in model.outputs]


def _facts(model: Any, folder: Path | None) -> tuple[tuple[str, ...], tuple[int, int], str, str]:
    """Names of the classes, image size, and how images are resized; from `folder` if it says so."""
    rows, columns = (side or variants.DEFAULT_IMAGE_SIZE for side in model.input_shape[1:3])
    found = {"resize": "squash", "interpolation": "bilinear"}  # as the original evaluates
    if folder is not None and files.is_there(folder / SUMMARY_FILE):
        summary = files.read_json(folder / SUMMARY_FILE, {"data": {"resize": str}})
        found |= {name: summary["data"].get(name, found[name]) for name in found}
        for name, choices in (("resize", RESIZES), ("interpolation", INTERPOLATIONS)):
            check_choice(f"{name} in {SUMMARY_FILE}", found[name], choices)
    how = (rows, columns), found["resize"], found["interpolation"]
    outputs = _output_shapes(model)
    if len(outputs) != 1 or len(outputs[0]) != 2:
        return (), *how
    classes = int(outputs[0][-1] or 0)
    if folder is not None and files.is_there(folder / LABELS_FILE):
        names = read_labels(folder / LABELS_FILE, classes)
    elif classes in LABELLED_CLASSES:
        names = tuple(name for _, name in labels(classes))
    else:
        names = tuple(f"class {i}" for i in range(classes))
    return names, *how


MODEL_FILE, LABELS_FILE, SUMMARY_FILE = "model.keras", "labels.txt", "summary.json"
