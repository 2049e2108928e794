"""The bytes that a device needs in a training step, from the parts of a model.

The rules are those of `costs.training_memory`, which looks at a built model. Both use the same
functions for the bytes that a block keeps.
"""

from __future__ import annotations

from collections.abc import Sequence

from keras_vit.planner.costs import OPTIMIZERS, bytes_of, bytes_of_weight
from keras_vit.planner.part import Part, total

FLOAT32 = 4  # bytes of a weight, a gradient or an optimizer's number, under every dtype policy
IN_FLOAT32 = ("image", "head")  # images and scores are float32 under every policy too


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

    It is that of `costs.training_memory` without `program`: the graphs are in the memory of the
    host. On a CPU the host's memory is the device's, so add them there.

    Args:
        model_parts: As `planner.parts` returns them.
        images: Images that go at once through the device, or the devices that share a model.
        precision: Keras dtype policy.
        optimizer: `"momentum"` keeps one number per parameter, `"adamw"` two.
        ema: Whether averages of the weights are kept.
        model_parallel: Devices that share a model (`keras_vit.distribution.model_parallel`).
        optimizer_shards: Devices that share the optimizer's numbers and the averages (ZeRO stage
            1, arXiv 1910.02054).
        rematerialise: Whether to keep only the outputs of the blocks, and the inside of the one
            block whose backward pass runs.
        accumulate: Parts of a batch whose gradients are summed up before an update.

    Returns:
        Bytes by purpose: `weights`, with the copies that mixed precision makes of them;
        `gradients`, with the sums of them; `optimizer`; `activations`, those kept by the forward
        pass plus those that the backward pass of one block needs; `total`, the peak. Activations
        go while gradients come, so `total` counts the larger of the two and the rest. With
        rematerialisation most activations are one block's and stay to the end: it counts both.
    """
    parameters = local_parameters(model_parts, model_parallel)
    gradients = FLOAT32 * parameters
    blocks = [(part, part.kept(precision, model_parallel)) for part in model_parts if part.kept]
    blocks = [(part, kept) for part, kept in blocks if part.count]
    layers = [part for part in model_parts if not part.kept]
    outputs = sum(
        part.outputs * part.count * (FLOAT32 if part.name in IN_FLOAT32 else bytes_of(precision))
        for part in (model_parts if rematerialise else layers)
    )
    if rematerialise:
        inside = max((kept for _, kept in blocks), default=0)
    else:
        inside = sum(kept * part.count for part, kept in blocks)
    inside += max((kept for part, kept in blocks if part.gradients), default=0)
    states = parameters * (OPTIMIZERS[optimizer] + int(ema))
    result = {
        "weights": parameters * bytes_of_weight(precision),
        "gradients": gradients * (2 if accumulate > 1 else 1),
        "optimizer": FLOAT32 * -(-states // optimizer_shards),
        "activations": images * (outputs + inside),
    }
    lesser = 0 if rematerialise else min(gradients, result["activations"])
    return {**result, "total": sum(result.values()) - lesser}
