"""The learning rates of the original code, as schedules that Keras saves with the optimiser.

Each is the product of a linear warmup from zero and of a decay. The counter starts at 0, as in
the original since it uses Optax: with a warmup, the rate of the first update is 0. (Before that
the original counted from 1; the schedule is then one step ahead.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras

from keras_vit.utils.backend import ops
from keras_vit.utils.checks import check_counts, check_numbers


class _Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Highest rate, number of steps and warmup, which all of them have."""

    def __init__(
        self, learning_rate: float, steps: int, warmup_steps: int, batches_per_step: int
    ) -> None:
        super().__init__()
        check_counts(1, steps=steps, batches_per_step=batches_per_step)
        check_numbers("(0, inf)", learning_rate=learning_rate)
        if not 0 <= warmup_steps < steps:
            raise ValueError(
                "`warmup_steps` must be in [0, steps): fewer of them, or more steps. Received: "
                f"warmup_steps={warmup_steps!r}, steps={steps}"
            )
        self.learning_rate = float(learning_rate)
        self.steps = int(steps)
        self.warmup_steps = int(warmup_steps)
        self.batches_per_step = int(batches_per_step)

    def __call__(self, step: Any) -> Any:
        # In float32 whatever Keras's default is: bfloat16 cannot count beyond 256.
        step = ops.cast(step, "float32")
        if self.batches_per_step > 1:
            step = ops.floor(step / self.batches_per_step)
        rate = self.decayed(step)
        if self.warmup_steps:
            rate = rate * ops.minimum(1.0, step / self.warmup_steps)
        return rate

    def decayed(self, step: Any) -> Any:
        """The rate without the warmup; `step` is a float32 scalar."""
        raise NotImplementedError

    def progress(self, step: Any) -> Any:
        """How much of the decay is over, in [0, 1]; it begins when the warmup ends."""
        return ops.clip((step - self.warmup_steps) / (self.steps - self.warmup_steps), 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": self.learning_rate,
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
            "batches_per_step": self.batches_per_step,
        }


@keras.saving.register_keras_serializable(package="keras_vit")
class WarmupCosine(_Schedule):
    """Linear warmup, then half a cosine to zero (ViT paper, appendix B.1.1; AugReg).

    Args:
        learning_rate: The highest; positive.
        steps: Number of updates in all, at least 1. The rate is 0 from there on.
        warmup_steps: Updates until the highest rate, in [0, `steps`).
        batches_per_step: Batches per update: Keras counts batches, so with
            `gradient_accumulation_steps=k` of the optimiser pass `k` here too.

    Raises:
        ValueError: If an argument is out of its range.

    Source: `create_learning_rate_schedule` of google-research/vision_transformer
    (`vit_jax/utils.py`), `decay_type="cosine"`.
    """

    def __init__(
        self, learning_rate: float, steps: int, warmup_steps: int = 0, batches_per_step: int = 1
    ) -> None:
        super().__init__(learning_rate, steps, warmup_steps, batches_per_step)

    def decayed(self, step: Any) -> Any:
        return self.learning_rate * 0.5 * (1.0 + ops.cos(math.pi * self.progress(step)))


@keras.saving.register_keras_serializable(package="keras_vit")
class WarmupLinear(_Schedule):
    """Linear warmup, then a straight line to `end` (ViT paper, Table 3: JFT and ImageNet-21k).

    Args:
        learning_rate: The highest; positive.
        steps: Number of updates in all, at least 1. The rate is `end` from there on.
        warmup_steps: Updates until the highest rate, in [0, `steps`).
        end: The last rate, in [0, `learning_rate`].
        batches_per_step: Batches per update, as in `WarmupCosine`.

    Raises:
        ValueError: If an argument is out of its range.

    Source: `create_learning_rate_schedule` as above, `decay_type="linear"`, whose `linear_end`
    is 1e-5.
    """

    def __init__(
        self,
        learning_rate: float,
        steps: int,
        warmup_steps: int = 0,
        end: float = 1e-5,
        batches_per_step: int = 1,
    ) -> None:
        super().__init__(learning_rate, steps, warmup_steps, batches_per_step)
        check_numbers(f"[0, {learning_rate}]", end=end)
        self.end = float(end)

    def decayed(self, step: Any) -> Any:
        return self.end + (self.learning_rate - self.end) * (1.0 - self.progress(step))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "end": self.end}


@keras.saving.register_keras_serializable(package="keras_vit")
class BiTSteps(_Schedule):
    """Linear warmup, then a tenth of the rate after each boundary (BiT HyperRule).

    The original says at the last boundary that the training is over; here the rate is 0 from
    there on, so that a step too many changes nothing.

    Args:
        learning_rate: The highest; positive.
        boundaries: Updates, strictly rising: the end of the warmup, those after which the rate
            falls, and the number of updates in all; (500, 3000, 6000, 9000, 10000) for example.
            An update with the number of a boundary still has the rate from before it.
        batches_per_step: Batches per update, as in `WarmupCosine`.

    Raises:
        ValueError: If an argument is out of its range.

    Source: `get_lr` of google-research's `big_transfer/bit_hyperrule.py`.
    """

    def __init__(
        self, learning_rate: float, boundaries: Sequence[int], batches_per_step: int = 1
    ) -> None:
        boundaries = tuple(boundaries)
        rising = all(a < b for a, b in itertools.pairwise(boundaries))
        if len(boundaries) < 2 or boundaries[0] < 0 or not rising:
            raise ValueError(
                "`boundaries` must be two or more rising numbers of steps, the end of the warmup "
                f"first and the end of the training last. Received: boundaries={boundaries}"
            )
        for boundary in boundaries[1:]:
            check_counts(1, boundaries=boundary)
        super().__init__(learning_rate, boundaries[-1], boundaries[0], batches_per_step)
        self.boundaries = tuple(int(boundary) for boundary in boundaries)

    def decayed(self, step: Any) -> Any:
        rate = ops.where(step < self.steps, self.learning_rate, 0.0)
        for boundary in self.boundaries[1:-1]:
            rate = rate * ops.where(step > boundary, 0.1, 1.0)
        return rate

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": self.learning_rate,
            "boundaries": list(self.boundaries),
            "batches_per_step": self.batches_per_step,
        }
