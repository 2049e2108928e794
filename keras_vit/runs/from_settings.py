"""Makes what the settings name: hardware, data, recipe, model."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import keras

from keras_vit import data, recipes
from keras_vit.applications import constructors
from keras_vit.data import ImageData
from keras_vit.data.pipeline import Pipeline
from keras_vit.distribution import hardware
from keras_vit.distribution.hardware import Hardware
from keras_vit.models import VARIANTS, ViT, freeze
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


def data_for(settings: Settings, progress: bool | None = None) -> ImageData:
    """The images that `settings.data` names, in batches of which a step takes `accumulate`."""
    pipeline = Pipeline(  # first: it refuses what is wrong before every file is looked at
        settings.image_size,
        settings.images_of_a_batch,
        crop_area=None if settings.least_crop is None else (settings.least_crop, 1.0),
        resize=settings.resize,
        seed=settings.seed,
        augmentation=settings.augmentation,
        interpolation=settings.interpolation,
    )
    found = data.open(
        settings.data,
        validation_share=settings.if_changed("validation_share"),
        on_error=settings.if_changed("on_error"),
        seed=settings.seed,
        progress=progress,
    )
    return found.batches(pipeline)


def recipe_for(settings: Settings, data: ImageData) -> Recipe:
    """The recipe that `settings` name, for these data, or the short one that suits the weights.

    Of a table with a row per data set the one whose number of images is nearest is taken, and
    the learning rate goes with the batch size (`Recipe.scaled_to`), unless it is given. The short
    ones make four passes over the training images, and 100 steps at least.
    """
    if settings.recipe is None:
        short = recipes.fine_tune_recipe if settings.weights else recipes.from_scratch_recipe
        four_passes = max(100, math.ceil(4 * data.num_train / settings.batch_size))
        steps = four_passes if settings.steps is None else settings.steps
        recipe = short(steps).adapted(None, settings.learning_rate, settings.warmup_steps)
        return _of_data(recipe.replace(batch_size=settings.batch_size), settings, data)
    count = data.num_train
    options: dict[str, Any] = {"num_examples": count}
    if settings.recipe == "bit-hyperrule":
        options["resolution"] = data.image_size
    elif settings.recipe == "vit-finetune":
        options["dataset"] = _nearest(paper_tables.FINETUNE, count)
    else:
        # By epochs, which are few steps here: the warmup of a million images comes below.
        table = {name: paper_tables.PRETRAIN[name] for name in paper_tables.AUGREG}
        options |= {"dataset": _nearest(table, count), "warmup_steps": 0}
    recipe = _of_data(recipes.get(settings.recipe, **options), settings, data)
    if recipe.head_bias:
        # -6.9 and -10 are the logarithms of a share among 1,000 and among 21,843 classes.
        recipe = recipe.replace(head_bias=-math.log(len(data.class_names)))
    recipe = recipe.scaled_to(settings.batch_size)
    if recipe.epochs is not None:
        warmup = round(10_000 * 4096 / settings.batch_size)
        recipe = recipe.replace(warmup_steps=min(warmup, recipe.total_steps // 10))
    return recipe.adapted(settings.steps, settings.learning_rate, settings.warmup_steps)


def _of_data(recipe: Recipe, settings: Settings, data: ImageData) -> Recipe:
    """With what the data decide."""
    return recipe.replace(
        num_examples=data.num_train,
        image_size=data.image_size[0],
        augmentation=settings.augmentation,
        labels="one_hot" if data.one_hot else "integer",
    )


def _nearest(table: dict[str, dict[str, Any]], count: int) -> str:
    """The data set of a table whose number of images is nearest, in proportion."""
    return min(table, key=lambda name: abs(math.log(table[name]["num_examples"] / count)))


def model_for(settings: Settings, classes: int, recipe: Recipe) -> keras.Model:
    """The model that `settings` name, with a new head, for pixels in [0, 255]; with the dropout,
    the activation and, from random weights, the bias of the head that the recipe asks for; with
    the part frozen that `settings.freeze` names."""
    args = recipe.model_args()
    if settings.model.startswith(("BiT", "Mixer")):  # they have no dropout
        args = {"classifier_activation": recipe.loss}
    options: dict[str, Any] = {
        "classes": classes,
        "include_preprocessing": True,
        "dtype": settings.dtype,
        **args,
    }
    check_choice("model", settings.model, (SMALL, *VARIANTS))
    if settings.model == SMALL:
        if settings.weights is not None:
            raise ValueError(
                "There are no weights for the model 'small'; choose another model, "
                "'ViT_Ti16' for example (--model ViT_Ti16). "
                f"Received: weights={settings.weights!r}"
            )
        model = ViT(settings.image_size, **SMALL_MODEL, **options, name="vit_small")
    else:
        model = getattr(constructors, settings.model)(
            weights=settings.weights,
            input_shape=(*as_pair(settings.image_size, "image_size"), 3),
            new_head=settings.weights is not None,
            **options,
        )
    if settings.weights is None:
        recipe.set_head_bias(model)
    if settings.freeze is not None:
        freeze(model, settings.freeze)
    return model


def recorded(settings: Settings, machine: Hardware) -> dict[str, Any]:
    """What a run compares and its summary says; not where on this machine things are."""
    here = Path(settings.data)
    return dataclasses.asdict(settings) | {
        "data": here.resolve().name if here.exists() else settings.data,
        "weights": settings.weights and Path(settings.weights).name,
        **machine.facts,
    }
