"""How many bytes a device sends in a training step."""

from __future__ import annotations

from collections.abc import Sequence

from keras_vit.planner.costs import bytes_of
from keras_vit.planner.device_memory import FLOAT32, local_parameters
from keras_vit.planner.part import Part, total


def all_reduce(bytes_: float, devices: int) -> float:
    """Bytes that each of n devices sends to sum up `bytes_` over a ring: `2 (n - 1) / n` times.

    Half of them compute the sums (reduce-scatter), half distribute them (all-gather). Source:
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
        model_parts: As `planner.parts` returns them.
        images: Images of a step for each copy of the model.
        precision: Keras dtype policy of the activations. Gradients and weights are float32.
        data_parallel: Copies of the model.
        model_parallel: Devices that share a copy. They sum up the two branches of a block in the
            forward pass, and the gradients of their inputs in the backward pass (Megatron-LM,
            arXiv 1909.08053, section 3).
        shard_optimizer: Whether each copy updates its share of the weights and sends it to the
            others. A reduce-scatter of the gradients and an all-gather of the weights replace the
            all-reduce; they send as many bytes.
        rematerialise: Whether the backward pass repeats the sums of the forward pass.

    Returns:
        Bytes of `gradients`, `weights` and `activations`, and their `total`.
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
