"""Tells everything about a training that is known before it starts."""

from __future__ import annotations

import dataclasses
from typing import Any

from keras_vit import planner, recipes
from keras_vit.models import VARIANTS
from keras_vit.planner import costs
from keras_vit.recipes import Recipe
from keras_vit.runs import from_settings, settings
from keras_vit.training import fine_tuning


def describe(settings: settings.Settings) -> str:
    """What a run with these settings would do and need; the data are looked at, nothing is trained.

    Args:
        settings: As for `keras_vit.runs.run`.

    Returns:
        Lines: the settings, the recipe with the learning rate and the warmup that hold, what the
        run runs on, the data, the steps, parameters, floating-point operations of a step (forward
        and twice as many backward), an estimate of the memory that a device needs.

    Raises:
        ValueError: As for `run`.
    """
    machine = from_settings.hardware_for(settings)
    asked, settings = settings.dtype, dataclasses.replace(settings, dtype=machine.dtype)
    data = from_settings.load_data(settings)
    recipe = from_settings.recipe_for(settings, data)
    model = from_settings.build(settings, len(data.class_names), recipe)
    steps = from_settings.steps_for(settings, data, recipe) or 0  # a recipe's own come below
    if isinstance(recipe, Recipe):
        recipe = fine_tuning.adapted(
            recipe, steps or None, settings.learning_rate, settings.warmup_steps
        )
        steps, lines = recipe.total_steps, recipe.describe().splitlines()
        optimizer, ema = recipe.optimizer, recipe.ema is not None
    else:
        lines = _short(recipe, steps, settings)
        optimizer, ema = "momentum" if recipe is recipes.fine_tune_recipe else "adamw", False
    # A device has its share of each batch.
    share = -(-data.batch_size // machine.devices)
    memory = costs.training_memory(model, share, optimizer, ema)
    macs = costs.forward_macs(model)
    if macs is None and settings.model in VARIANTS:  # convolutions, or a Mixer
        macs = planner.forward_macs(settings.model, settings.image_size, len(data.class_names))
    parameters = model.count_params()
    images = data.batch_size * settings.accumulate
    passes = steps * images / data.num_train
    facts: dict[str, Any] = {
        **machine.facts,
        "data": f"{data.name}: {data.num_train} training and {data.num_validation} validation "
        f"images, {len(data.class_names)} classes",
        "steps": f"{steps} of {images} images ({passes:.1f} passes)",
        "parameters": f"{parameters:,}",
        "FLOPs per step": "not known for this model"
        if macs is None
        else f"{6 * macs * images:.4g} (forward {2 * macs:,} per image)",
        "memory, estimated": f"{memory['total'] / 2**20:.0f} MiB at the peak: "
        + ", ".join(f"{name} {n / 2**20:.0f}" for name, n in memory.items() if name != "total"),
    }
    values = dataclasses.asdict(settings) | {"dtype": asked}
    recipe_lines = [f"  {line}" for line in lines]
    return "\n".join(["settings", *_table(values), "recipe", *recipe_lines, "run", *_table(facts)])


def _short(recipe: Any, steps: int, settings: settings.Settings) -> list[str]:
    """The lines of a recipe that is a function."""
    made = recipe(steps, settings.learning_rate, settings.warmup_steps)
    schedule = made["optimizer"]._learning_rate  # the schedule, not its value
    kind = "fine-tuning (ViT paper)" if settings.weights else "from scratch (AugReg)"
    values = {
        "short": f"for {kind}: train.{recipe.__name__}",
        "optimizer": type(made["optimizer"]).__name__,
        "learning_rate": f"{schedule.learning_rate:g}",
        "warmup_steps": schedule.warmup_steps,
        "schedule": "cosine",
    }
    return [line.strip() for line in _table(values)]


def _table(values: dict[str, Any]) -> list[str]:
    width = max(map(len, values))
    return [f"  {name:<{width}}  {'-' if x is None else x}" for name, x in values.items()]
