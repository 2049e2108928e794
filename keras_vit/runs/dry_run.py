"""Tells everything about a training that is known before it starts."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from keras_vit import planner
from keras_vit.models import VARIANTS
from keras_vit.planner import costs
from keras_vit.runs.from_settings import data_for, hardware_for, model_for, recipe_for
from keras_vit.runs.settings import Settings
from keras_vit.utils.numbers import readable


def describe(settings: Settings) -> str:
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
    machine = hardware_for(settings)
    asked, settings = settings.dtype, dataclasses.replace(settings, dtype=machine.dtype)
    data = data_for(settings)
    recipe = recipe_for(settings, data)
    model = model_for(settings, len(data.class_names), recipe)
    steps = recipe.total_steps
    # A device has its share of each batch.
    share = -(-data.batch_size // machine.devices)
    memory = costs.training_memory(model, share, recipe.optimizer, recipe.ema is not None)
    macs, trained_macs = costs.forward_macs(model), costs.forward_macs(model, trained=True) or 0
    if macs is None and settings.model in VARIANTS:  # convolutions, or a Mixer
        macs = planner.forward_macs(settings.model, settings.image_size, len(data.class_names))
        trained_macs = macs
    parameters = model.count_params()
    trained = sum(math.prod(v.shape) for v in model.trainable_variables)
    images = data.batch_size * settings.accumulate
    passes = steps * images / data.num_train
    facts: dict[str, Any] = {
        **machine.facts,
        "data": f"{data.name}: {data.num_train} training and {data.num_validation} validation "
        f"images, {len(data.class_names)} classes",
        "steps": f"{steps} of {images} images ({passes:.1f} passes)",
        "parameters": f"{parameters:,}, of which {trained:,} are trained",
        "FLOPs per step": "not known for this model"
        if macs is None
        else f"{readable((2 * macs + 4 * trained_macs) * images)} (forward {2 * macs:,} per image)",
        "memory, estimated": f"{memory['total'] / 2**20:.0f} MiB at the peak: "
        + ", ".join(f"{name} {n / 2**20:.0f}" for name, n in memory.items() if name != "total"),
    }
    values = dataclasses.asdict(settings) | {"dtype": asked}
    recipe_lines = [f"  {line}" for line in recipe.describe().splitlines()]
    return "\n".join(["settings", *_table(values), "recipe", *recipe_lines, "run", *_table(facts)])


def _table(values: dict[str, Any]) -> list[str]:
    width = max(map(len, values))
    return [f"  {name:<{width}}  {'-' if x is None else x}" for name, x in values.items()]
