"""Two short recipes for any number of steps: fine-tuning, and training from scratch."""

from __future__ import annotations

from keras_vit.recipes import papers
from keras_vit.recipes.recipe import Recipe
from keras_vit.recipes.schedules import WarmupCosine


def fine_tune_recipe(
    steps: int = 500, learning_rate: float = 0.01, warmup_steps: int | None = None
) -> Recipe:
    """How the ViT paper fine-tunes (Table 4), for any number of steps.

        model.compile(**fine_tune_recipe(steps=500).compile_args())

    SGD with momentum .9 and the learning rate outside the momentum as in the original, a cosine
    with warmup, gradients clipped to a global norm of 1, no weight decay; the model has a new head
    that starts at zero (`new_head=True`). The paper takes batches of 512, 500 steps for sets of a
    few thousand images (20,000 for ImageNet), and the best learning rate of .003, .01, .03 and .06
    (.001 to .03 for the small sets).

    Args:
        steps: Number of steps in all.
        learning_rate: The highest.
        warmup_steps: Default: a tenth of `steps`, at most the paper's 500.

    Raises:
        ValueError: If an argument is out of its range.
    """
    paper = papers.get("vit-finetune", "pets")
    return _short("short fine-tuning", paper, steps, learning_rate, warmup_steps)


def from_scratch_recipe(
    steps: int = 1000, learning_rate: float = 0.002, warmup_steps: int | None = None
) -> Recipe:
    """How AugReg trains from random weights, for any number of steps.

    Adam with b1 = .9 and b2 = .999, a cosine with warmup, gradients clipped to a global norm of 1,
    and a decay of the kernels by .1 times the learning rate: a small set wants many passes over it.

    Args:
        steps: Number of steps in all.
        learning_rate: The highest. The default is for small models; the papers have .0002 to .003
            at batches of 4096.
        warmup_steps: Default: a tenth of `steps`, at most 500.

    Raises:
        ValueError: If an argument is out of its range.
    """
    paper = papers.get("augreg", "imagenet")
    return _short("short, from scratch", paper, steps, learning_rate, warmup_steps)


def _short(
    name: str, paper: Recipe, steps: int, learning_rate: float, warmup_steps: int | None
) -> Recipe:
    if warmup_steps is None and isinstance(steps, int):
        warmup_steps = max(min(steps // 10, 500), 0)
    # Says what is out of range in the words of the schedule.
    schedule = WarmupCosine(learning_rate, steps, warmup_steps or 0)
    return paper.replace(
        name=name,
        learning_rate=schedule.learning_rate,
        learning_rates=(),
        steps=schedule.steps,
        warmup_steps=schedule.warmup_steps,
    )
