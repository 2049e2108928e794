"""Which models fit into a given memory."""

from __future__ import annotations

import dataclasses
from typing import Any

from keras_vit.models import VARIANTS
from keras_vit.planner.architecture import parts
from keras_vit.planner.device_memory import memory
from keras_vit.planner.part import total
from keras_vit.utils.checks import check_counts, check_numbers

# Memory for a CUDA context, compiled programs and the workspaces of convolutions: an assumption,
# not a measurement.
OVERHEAD_GB = 1.0


@dataclasses.dataclass(frozen=True)
class Fit:
    """Whether a model fits; made by `fits`.

    Attributes:
        model: Name in `keras_vit.VARIANTS`.
        parameters: Trainable numbers.
        bytes: Bytes that a step needs, the overhead included.
        rematerialised_bytes: The same with rematerialisation.
        largest_batch: The most images that fit at once; 0 if not even one does.
        rematerialised_largest_batch: The same with rematerialisation.
        batch_size: The batch size that was asked for.
    """

    model: str
    parameters: int
    bytes: int
    rematerialised_bytes: int
    largest_batch: int
    rematerialised_largest_batch: int
    batch_size: int

    @property
    def answer(self) -> str:
        """`"yes"`, `"with rematerialisation"`, `"with a smaller batch"` or `"no"`."""
        if self.largest_batch >= self.batch_size:
            return "yes"
        if self.rematerialised_largest_batch >= self.batch_size:
            return "with rematerialisation"
        return "with a smaller batch" if self.rematerialised_largest_batch else "no"


def fits(
    memory_gb: float = 16,
    image_size: int = 224,
    batch_size: int = 32,
    *,
    precision: str = "mixed_bfloat16",
    optimizer: str = "momentum",
    classes: int = 1000,
    overhead_gb: float = OVERHEAD_GB,
) -> list[Fit]:
    """Which of `keras_vit.VARIANTS` can be fine-tuned in a given memory.

    A smaller batch gives the same training with `gradient_accumulation_steps`. The numbers are
    estimates, as those of `planner.memory`; leave some room.

    Args:
        memory_gb: Memory of one device, in 1e9 bytes.
        image_size: Pixels of a side. Mixers are listed only at 224, the size of their released
            weights.
        batch_size: Images that go through the model at once.
        precision: Keras dtype policy.
        optimizer: `"momentum"` (the papers' fine-tuning) or `"adamw"`.
        classes: Outputs of the head.
        overhead_gb: The part of `memory_gb` that is not for the model.

    Returns:
        A row for each model; the model that needs the least memory comes first.

    Raises:
        ValueError: If a number is not positive, or an image is smaller than a patch.
    """
    check_counts(1, batch_size=batch_size)
    check_numbers("(0, inf)", memory_gb=memory_gb)
    check_numbers("[0, inf)", overhead_gb=overhead_gb)
    room = int(1e9 * (memory_gb - overhead_gb))
    options: dict[str, Any] = {"precision": precision, "optimizer": optimizer}
    result = []
    for name, config in VARIANTS.items():
        if not config.any_size and image_size != 224:
            continue
        model_parts = parts(config, image_size, classes)
        needed, largest = [], []
        for rematerialise in (False, True):
            one, batch = (
                memory(model_parts, images, rematerialise=rematerialise, **options)
                for images in (1, batch_size)
            )
            needed.append(batch["total"] + int(1e9 * overhead_gb))
            each, gradients = one["activations"], one["gradients"]
            # The rest stays all the time. Of gradients and activations the larger counts; with
            # rematerialisation both do.
            rest = one["weights"] + one["optimizer"] + (gradients if rematerialise else 0)
            fits_one = room >= rest + (each if rematerialise else max(gradients, each))
            largest.append((room - rest) // each if fits_one else 0)
        count = total(model_parts, "parameters")
        result.append(Fit(name, count, needed[0], needed[1], largest[0], largest[1], batch_size))
    return sorted(result, key=lambda fit: fit.bytes)
