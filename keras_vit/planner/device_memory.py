"""The bytes that a device needs in a training step, from the parts of a model.

The rules are those of `keras_vit.costs.training_memory`, which looks at a built model.
"""

from __future__ import annotations

from collections.abc import Sequence

from keras_vit.costs import OPTIMIZERS
from keras_vit.planner.part import Part, total

FLOAT32 = 4  # weights, gradients and what an optimizer keeps, under every dtype policy


def bytes_of(precision: str) -> int:
    """Bytes of an activation under a dtype policy."""
    return 2 if precision.endswith("16") else 4


def local_parameters(model_parts: Sequence[Part], model_parallel: int = 1) -> int:
    """Parameters on one of the devices that share a model."""
    divided = total(model_parts, "divided_parameters")
    return total(model_parts, "parameters") - divided + -(-divided // model_parallel)


def memory(
    model_parts: Sequence[Part],
    images: int,
    *,
    precision: str = "float32",
    optimizer: str = "momentum",
    ema: bool = False,
    model_parallel: int = 1,
    optimizer_shards: int = 1,
    rematerialise: bool = False,
    accumulate: int = 1,
) -> dict[str, int]:
    """An estimate of the bytes on one device.

    Args:
        model_parts: Of `planner.parts`.
        images: That go through this device, or these devices of one model, at once.
        precision: Keras dtype policy.
        optimizer: `"momentum"` keeps one number per parameter, `"adamw"` two.
        ema: Whether averages of the weights are kept.
        model_parallel: Devices that share a model (`keras_vit.distribution.model_parallel`).
        optimizer_shards: Devices that share the optimizer's numbers and the averages (ZeRO stage
            1, arXiv 1910.02054).
        rematerialise: Keep what goes from block to block, and of the blocks only the inside of
            the one whose backward pass runs.
        accumulate: Parts of a batch whose gradients are summed up before an update.

    Returns:
        Bytes by what they are for: `weights`, `gradients`, `optimizer`, `activations`, `total`.
    """
    parameters = local_parameters(model_parts, model_parallel)
    inside = [(_local_inside(part, model_parallel), part.count) for part in model_parts]
    if rematerialise:
        kept_inside = max(numbers for numbers, count in inside if count)
    else:
        kept_inside = sum(numbers * count for numbers, count in inside)
    numbers = total(model_parts, "outputs") + kept_inside
    kept = parameters * (OPTIMIZERS[optimizer] + int(ema))
    result = {
        "weights": FLOAT32 * parameters,
        "gradients": FLOAT32 * parameters * (2 if accumulate > 1 else 1),
        "optimizer": FLOAT32 * -(-kept // optimizer_shards),
        "activations": images * numbers * bytes_of(precision),
    }
    return {**result, "total": sum(result.values())}


def _local_inside(part: Part, model_parallel: int) -> int:
    return part.inside - part.divided_inside + -(-part.divided_inside // model_parallel)
