"""A training run from data to a folder with everything one wants to keep of it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import keras

from keras_vit import data as data_sources
from keras_vit import models, plots, train
from keras_vit.data import ImageData
from keras_vit.position import as_pair
from keras_vit.run_folder import new_folder, write
from keras_vit.variants import VARIANTS
from keras_vit.vit import ViT

SMALL = "small"
_SMALL = {"patch_size": 8, "width": 64, "depth": 4, "num_heads": 4, "mlp_dim": 128}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to train on what, and how.

    Attributes:
        data: `"digits"`, a folder of images (see `keras_vit.data.from_folder`), or the name
            of a TensorFlow data set.
        model: A constructor of `keras_vit`, `"ViT_Ti16"` for example, or `"small"`, a ViT of
            150,000 parameters with patches of 8 pixels.
        weights: What its constructor takes as `weights`; `None` trains from scratch.
        image_size: Pixels, one number or (rows, columns).
        steps: Number of training steps. Default: four passes over the training images, and
            100 steps at least.
        batch_size: Images per step.
        learning_rate: The highest. Default: the recipe's.
        warmup_steps: Steps until the learning rate is reached. Default: the recipe's.
        resize: How validation images get their size: `"squash"` or `"crop"`.
        on_error: `"raise"` or `"skip"` images that cannot be read.
        dtype: Dtype policy of the model; `"mixed_bfloat16"` is faster on many machines.
        seed: Of everything that happens at random.
    """

    data: str
    model: str = "ViT_Ti16"
    weights: str | None = "imagenet"
    image_size: int | tuple[int, int] = 224
    steps: int | None = None
    batch_size: int = 32
    learning_rate: float | None = None
    warmup_steps: int | None = None
    resize: str = "squash"
    on_error: str = "raise"
    dtype: str = "float32"
    seed: int = 0


# Digits from scratch: a minute on two cores, no download.
DIGITS = Settings("digits", SMALL, None, image_size=40, steps=900, batch_size=64)


def settings_for(data: str = "digits", **given: Any) -> Settings:
    """The settings for a data set: defaults that suit it, but for what is given.

    Args:
        data: As in `Settings`. The digits are learnt by the small model from scratch, all else
            by fine-tuning a pretrained one.
        **given: Any other fields of `Settings`.
    """
    model = given.get("model", SMALL if data == "digits" else None)
    defaults = DIGITS if model == SMALL else Settings(data)
    return dataclasses.replace(defaults, data=data, **given)


def run(
    settings: Settings, out: str | Path, *, overwrite: bool = False, verbose: str | int = "auto"
) -> dict[str, Any]:
    """Trains as `settings` say and writes a run folder.

    In the folder: `model.keras` (takes pixels in [0, 255], gives probabilities; read it with
    `keras.models.load_model` after `import keras_vit`), `labels.txt` (a class name per line),
    `curves.png`, `predictions.png` and `summary.json`. It appears when all of this is in it.

    Args:
        settings: What to do.
        out: The folder to write.
        overwrite: Whether there may be one already; it is kept under another name.
        verbose: As in `keras.Model.fit`.

    Returns:
        What `summary.json` holds.

    Raises:
        ValueError: If `out` exists and `overwrite` is not given, or as the parts say.
        ImportError: If something is not installed that `settings` ask for.
    """
    with new_folder(out, overwrite) as folder:
        plots.require_matplotlib()  # now, not after the training
        keras.utils.set_random_seed(settings.seed)
        data = load_data(settings, progress=False if verbose == 0 else None)
        model = build(settings, len(data.class_names))
        passes = math.ceil(4 * data.num_train / data.batch_size)
        recipe = train.from_scratch_recipe if settings.weights is None else train.fine_tune_recipe
        result = train.fine_tune(
            model,
            data,
            steps=max(100, passes) if settings.steps is None else settings.steps,
            learning_rate=settings.learning_rate,
            warmup_steps=settings.warmup_steps,
            recipe=recipe,
            verbose=verbose,
        )
        return write(folder, model, data, result, _as_recorded(settings, data))


def _as_recorded(settings: Settings, data: ImageData) -> dict[str, Any]:
    """The settings for the summary, without where on this machine things are."""
    weights = settings.weights and Path(settings.weights).name
    return dataclasses.asdict(settings) | {"data": data.name, "weights": weights}


def load_data(settings: Settings, progress: bool | None = None) -> ImageData:
    """The data that `settings.data` names."""
    name = settings.data
    common: dict[str, Any] = {
        "image_size": settings.image_size,
        "batch_size": settings.batch_size,
        "seed": settings.seed,
    }
    if name == "digits":
        return data_sources.digits(**common)
    if Path(name).exists():
        return data_sources.from_folder(
            name, **common, resize=settings.resize, on_error=settings.on_error, progress=progress
        )
    try:
        return data_sources.from_tfds(name, **common, resize=settings.resize)
    except ImportError as error:
        raise ValueError(
            f"There is no folder {name!r}. If it is the name of a TensorFlow data set: {error}"
        ) from error


def build(settings: Settings, classes: int) -> keras.Model:
    """The model that `settings` name, with a new head, for pixels in [0, 255]."""
    common: dict[str, Any] = {
        "classes": classes,
        "classifier_activation": "softmax",
        "include_preprocessing": True,
        "dtype": settings.dtype,
    }
    if settings.model == SMALL:
        if settings.weights is not None:
            raise ValueError(
                "There are no weights for the model 'small'; choose another model, "
                "'ViT_Ti16' for example (--model ViT_Ti16). "
                f"Received: weights={settings.weights!r}"
            )
        return ViT(settings.image_size, **_SMALL, **common, name="vit_small")
    if settings.model not in VARIANTS:
        raise ValueError(
            f"`model` must be 'small' or one of {', '.join(VARIANTS)}. "
            f"Received: model={settings.model!r}"
        )
    constructor = getattr(models, settings.model)
    rows, columns = as_pair(settings.image_size, "image_size")
    return constructor(
        weights=settings.weights,
        input_shape=(rows, columns, 3),
        new_head=settings.weights is not None,
        **common,
    )
