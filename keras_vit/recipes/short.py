"""Two short recipes for any number of steps: fine-tuning, and training from scratch."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_vit.recipes import papers
from keras_vit.recipes.recipe import Recipe
from keras_vit.recipes.schedules import WarmupCosine


def learning_rate_schedule(
    steps: int, learning_rate: float, warmup_steps: int | None = None
) -> WarmupCosine:
    """Linear warmup from zero, then half a cosine to zero (paper, appendix B.1.1).

    Args:
        steps: Number of steps in all, at least 1.
        learning_rate: The highest, reached after the warmup; positive.
        warmup_steps: In [0, `steps`). Default: a tenth of `steps`, at most 500.

    Raises:
        ValueError: If an argument is out of its range.
    """
    return WarmupCosine(learning_rate, steps, _warmup(steps, warmup_steps))


def fine_tune_recipe(
    steps: int = 500,
    learning_rate: float | None = None,
    warmup_steps: int | None = None,
    *,
    from_logits: bool = False,
    one_hot: bool = False,
    accumulate: int = 1,
) -> dict[str, Any]:
    """How the paper fine-tunes (Table 4): `model.compile(**fine_tune_recipe(steps=500))`.

    `keras_vit.recipes.get("vit-finetune", ...)` for any number of steps: SGD with momentum .9
    and the learning rate outside the momentum as in the original, a cosine with warmup, gradients
    clipped to a global norm of 1, no weight decay; the model has a new head that starts at zero
    (`new_head=True`). The paper takes batches of 512, 500 steps for sets of a few thousand images
    (20,000 for ImageNet), and the best learning rate of .003, .01, .03 and .06 (.001 to .03 for
    the small sets).

    Args:
        steps: Number of steps in all.
        learning_rate: The highest. Default: .01.
        warmup_steps: Default: a tenth of `steps`, at most the paper's 500.
        from_logits: Whether the model ends in logits; else in a softmax.
        one_hot: Whether labels are `[B, classes]` (`ImageData.one_hot`); else `[B]`.
        accumulate: Batches per step.

    Returns:
        Arguments of `keras.Model.compile`.

    Raises:
        ValueError: If an argument is out of its range.
    """
    rate = 0.01 if learning_rate is None else learning_rate
    schedule = learning_rate_schedule(steps, rate, warmup_steps)
    recipe = papers.get("vit-finetune", "pets")
    return _compile_args(recipe, schedule, from_logits, one_hot, accumulate)


def from_scratch_recipe(
    steps: int = 1000,
    learning_rate: float | None = None,
    warmup_steps: int | None = None,
    *,
    from_logits: bool = False,
    one_hot: bool = False,
    accumulate: int = 1,
) -> dict[str, Any]:
    """How AugReg trains from random weights, for any number of steps.

    `keras_vit.recipes.get("augreg", ...)`: Adam with b1 = .9 and b2 = .999, a cosine with warmup,
    gradients clipped to a global norm of 1, and a decay of the kernels by .1 times the learning
    rate: a small set wants many passes over it.

    Args:
        steps: Number of steps in all.
        learning_rate: The highest. Default: .002, for small models; the papers' are .0002 to
            .003 at batches of 4096.
        warmup_steps: Default: a tenth of `steps`, at most 500.
        from_logits: Whether the model ends in logits; else in a softmax.
        one_hot: Whether labels are `[B, classes]` (`ImageData.one_hot`); else `[B]`.
        accumulate: Batches per step.

    Returns:
        Arguments of `keras.Model.compile`.

    Raises:
        ValueError: If an argument is out of its range.
    """
    rate = 0.002 if learning_rate is None else learning_rate
    schedule = learning_rate_schedule(steps, rate, warmup_steps)
    recipe = papers.get("augreg", "imagenet")
    return _compile_args(recipe, schedule, from_logits, one_hot, accumulate)


def _warmup(steps: Any, warmup_steps: int | None) -> int:
    if warmup_steps is not None or not isinstance(steps, (int, np.integer)):
        return warmup_steps or 0  # what `steps` must be, the schedule says
    return max(min(int(steps) // 10, 500), 0)


def _compile_args(
    recipe: Recipe, schedule: WarmupCosine, from_logits: bool, one_hot: bool, accumulate: int
) -> dict[str, Any]:
    # On a GPU "auto" compiles with XLA, on a CPU not: there XLA gains nothing. ViT-Ti/16 at
    # 224 px, batch 32, two cores: 1.8 s a step in float32 with and without it; 1.9 s with
    # and 1.2 s without in mixed_bfloat16; and it takes 5 s longer to start.
    return recipe.replace(
        steps=schedule.steps,
        warmup_steps=schedule.warmup_steps,
        learning_rate=schedule.learning_rate,
        labels="one_hot" if one_hot else "integer",
    ).compile_args(from_logits, "auto", accumulate if accumulate > 1 else None)
