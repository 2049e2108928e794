"""What settings name: hardware, data, recipe, model."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_vit import data as data_sources
from keras_vit import recipes
from keras_vit.applications import constructors
from keras_vit.data import ImageData
from keras_vit.data.sources.records import INFO_FILE
from keras_vit.distribution import hardware
from keras_vit.distribution.hardware import Hardware
from keras_vit.models import VARIANTS, ViT
from keras_vit.recipes import Recipe, paper_tables
from keras_vit.runs.settings import SMALL, SMALL_MODEL, Settings
from keras_vit.utils.checks import as_pair, check_choice


def hardware_for(settings: Settings) -> Hardware:
    """What a run with these settings would run on, here.

    Raises:
        ValueError: If there is no such thing, or the images of a step cannot be divided.
    """
    found = hardware.choose(settings.strategy, settings.devices, settings.dtype, settings.xla)
    if settings.batch_size // max(settings.accumulate, 1) % found.devices:
        raise ValueError(
            "The images of a step are divided among the devices: `batch_size` must be a multiple "
            f"of devices times `accumulate`. Received: batch_size={settings.batch_size}, "
            f"{found.devices} devices, accumulate={settings.accumulate}"
        )
    return found


def steps_for(settings: Settings, data: ImageData, recipe: Any) -> int | None:
    """The number of steps: what is asked for, else the recipe's own, else four passes."""
    if settings.steps is not None or isinstance(recipe, Recipe):
        return settings.steps
    return max(100, math.ceil(4 * data.num_train / (data.batch_size * settings.accumulate)))


def recipe_for(settings: Settings, data: ImageData) -> Recipe | Callable[..., dict[str, Any]]:
    """The recipe that `settings` name, for these data, or the short one that suits the weights.

    Of a table with a row per data set the one whose number of images is nearest is taken, and
    the learning rate goes with the batch size (`Recipe.scaled_to`), unless it is given.
    """
    if settings.recipe is None:
        return recipes.from_scratch_recipe if settings.weights is None else recipes.fine_tune_recipe
    rows, columns = data.image_size
    count = data.num_train
    options: dict[str, Any] = {"num_examples": count}
    if settings.recipe == "bit-hyperrule":
        options["resolution"] = (rows, columns)
    elif settings.recipe == "vit-finetune":
        options["dataset"] = _nearest(paper_tables.FINETUNE, count)
    else:
        # By epochs, which are few steps here: the warmup of a million images comes below.
        table = {name: paper_tables.PRETRAIN[name] for name in paper_tables.AUGREG}
        options |= {"dataset": _nearest(table, count), "warmup_steps": 0}
    recipe = recipes.get(settings.recipe, **options).replace(
        image_size=rows,
        augmentation=settings.augmentation,
        labels="one_hot" if data.one_hot else "integer",
    )
    if recipe.head_bias:
        # -6.9 and -10 are the logarithms of a share among 1,000 and among 21,843 classes.
        recipe = recipe.replace(head_bias=-math.log(len(data.class_names)))
    recipe = recipe.scaled_to(settings.batch_size)
    if recipe.epochs is None:
        return recipe
    warmup = round(10_000 * 4096 / settings.batch_size)
    return recipe.replace(warmup_steps=min(warmup, recipe.total_steps // 10))


def _nearest(table: dict[str, dict[str, Any]], count: int) -> str:
    """The data set of a table whose number of images is nearest, in proportion."""
    return min(table, key=lambda name: abs(math.log(table[name]["num_examples"] / count)))


def load_data(settings: Settings, progress: bool | None = None) -> ImageData:
    """The data that `settings.data` names."""
    name = settings.data
    batch_size = settings.batch_size
    if settings.accumulate != 1:
        if settings.accumulate < 1 or batch_size % settings.accumulate:
            raise ValueError(
                "The batches of a step must be of one size: `accumulate` must divide "
                f"`batch_size`. Received: accumulate={settings.accumulate}, "
                f"batch_size={batch_size}"
            )
        batch_size //= settings.accumulate
    common: dict[str, Any] = {
        "image_size": settings.image_size,
        "batch_size": batch_size,
        "seed": settings.seed,
        "augmentation": settings.augmentation,
    }
    if settings.least_crop is not None:
        common["crop_area"] = (settings.least_crop, 1.0)
    if name == "digits":
        return data_sources.digits(**common)
    if (Path(name) / INFO_FILE).is_file():
        return data_sources.from_records(name, **common, resize=settings.resize)
    if Path(name).exists():
        return data_sources.from_folder(
            name,
            **common,
            validation_share=settings.validation_share,
            resize=settings.resize,
            on_error=settings.on_error,
            progress=progress,
        )
    try:
        return data_sources.from_tfds(name, **common, resize=settings.resize)
    except ImportError as error:
        raise ValueError(
            f"There is no folder {name!r}. If it is the name of a TensorFlow data set: {error}"
        ) from error


def build(settings: Settings, classes: int, recipe: Any = None) -> keras.Model:
    """The model that `settings` name, with a new head, for pixels in [0, 255]; with the dropout
    and the activation of the head that a `Recipe` asks for."""
    common: dict[str, Any] = {
        "classes": classes,
        "classifier_activation": "softmax",
        "include_preprocessing": True,
        "dtype": settings.dtype,
    }
    if isinstance(recipe, Recipe):
        args = recipe.model_args()
        has_dropout = not settings.model.startswith(("BiT", "Mixer"))
        common |= args if has_dropout else {"classifier_activation": recipe.loss}
    if settings.model == SMALL:
        if settings.weights is not None:
            raise ValueError(
                "There are no weights for the model 'small'; choose another model, "
                "'ViT_Ti16' for example (--model ViT_Ti16). "
                f"Received: weights={settings.weights!r}"
            )
        return ViT(settings.image_size, **SMALL_MODEL, **common, name="vit_small")
    check_choice("model", settings.model, (SMALL, *VARIANTS))
    constructor = getattr(constructors, settings.model)
    rows, columns = as_pair(settings.image_size, "image_size")
    return constructor(
        weights=settings.weights,
        input_shape=(rows, columns, 3),
        new_head=settings.weights is not None,
        **common,
    )
