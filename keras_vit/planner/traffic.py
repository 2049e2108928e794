"""How many bytes a device sends in a training step."""

from __future__ import annotations

from collections.abc import Sequence

from keras_vit.planner.costs import bytes_of
from keras_vit.planner.device_memory import FLOAT32, local_parameters
from keras_vit.planner.part import Part, total


def all_reduce(bytes_: float, devices: int) -> float:
    """What each device sends to sum up `bytes_` over a ring, `2 (n - 1) / n` of them.

    Half is for the sums (reduce-scatter), half for handing them round (all-gather). Source:
    Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms", 2009.
    """
    return 2 * (devices - 1) / devices * bytes_


def communication(
    model_parts: Sequence[Part],
    images: int,
    *,
    precision: str = "float32",
    data_parallel: int = 1,
    model_parallel: int = 1,
    shard_optimizer: bool = False,
    rematerialise: bool = False,
) -> dict[str, float]:
    """Bytes that a device sends in a step.

    Args:
        model_parts: Of `planner.parts`.
        images: Of a step, for each copy of the model.
        precision: Keras dtype policy: of the activations; gradients and weights are float32.
        data_parallel: Copies of the model.
        model_parallel: Devices that share a copy. Each sums up the two branches of a block in the
            forward pass and their inputs' gradients in the backward pass (Megatron-LM, arXiv
            1909.08053, section 3).
        shard_optimizer: Each copy updates its share of the weights and sends it to the others: a
            reduce-scatter of the gradients and an all-gather of the weights in place of an
            all-reduce, as many bytes in all.
        rematerialise: The forward sums are made twice.

    Returns:
        Bytes by what they are: `gradients`, `weights`, `activations`, `total`.
    """
    gradients = all_reduce(FLOAT32 * local_parameters(model_parts, model_parallel), data_parallel)
    weights = gradients / 2 if shard_optimizer else 0.0
    passes = 3 if rematerialise else 2
    summed = images * passes * total(model_parts, "summed") * bytes_of(precision)
    result = {
        "gradients": gradients - weights,
        "weights": weights,
        "activations": all_reduce(summed, model_parallel),
    }
    return {**result, "total": sum(result.values())}
