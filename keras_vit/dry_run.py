"""Everything about a training that can be told before it starts."""

from __future__ import annotations

import dataclasses
from typing import Any

from keras_vit import costs, runs, train
from keras_vit.recipe import Recipe


def describe(settings: runs.Settings) -> str:
    """What a run with these settings would do and need; the data are looked at, nothing is trained.

    Args:
        settings: As for `keras_vit.runs.run`.

    Returns:
        Lines: the settings, the recipe, the data, the steps, parameters, floating-point
        operations of a step (forward and twice as many backward), an estimate of its memory.

    Raises:
        ValueError: As for `run`.
    """
    data = runs.load_data(settings)
    recipe = runs.recipe_for(settings, data)
    model = runs.build(settings, len(data.class_names), recipe)
    steps = runs.steps_for(settings, data, recipe) or 0  # a recipe's own come below
    if isinstance(recipe, Recipe):
        recipe = recipe.shortened_to(steps) if steps else recipe
        steps, lines = recipe.total_steps, recipe.describe().splitlines()
        optimizer, ema = recipe.optimizer, recipe.ema is not None
    else:
        kind = "fine-tuning (ViT paper)" if settings.weights else "from scratch (AugReg)"
        lines = [f"short, for {kind}: train.{recipe.__name__}"]
        optimizer, ema = "momentum" if recipe is train.fine_tune_recipe else "adamw", False
    memory = costs.training_memory(model, data.batch_size, optimizer, ema)
    macs = costs.forward_macs(model)
    parameters = model.count_params()
    images = data.batch_size * settings.accumulate
    passes = steps * images / data.num_train
    facts: dict[str, Any] = {
        "data": f"{data.name}: {data.num_train} training and {data.num_validation} validation "
        f"images, {len(data.class_names)} classes",
        "steps": f"{steps} of {images} images ({passes:.1f} passes)",
        "parameters": f"{parameters:,}",
        "FLOPs per step": "not known for this model"
        if macs is None
        else f"{6 * macs * images:.4g} (forward {2 * macs:,} per image)",
        "memory, estimated": f"{memory['total'] / 2**20:.0f} MiB: "
        + ", ".join(f"{name} {n / 2**20:.0f}" for name, n in memory.items() if name != "total"),
    }
    values = dataclasses.asdict(settings)
    recipe_lines = [f"  {line}" for line in lines]
    return "\n".join(["settings", *_table(values), "recipe", *recipe_lines, "run", *_table(facts)])


def _table(values: dict[str, Any]) -> list[str]:
    width = max(map(len, values))
    return [f"  {name:<{width}}  {'-' if x is None else x}" for name, x in values.items()]
