"""The graphics card of this machine, what fits into it, and what share of its peak a speed is."""

from __future__ import annotations

import dataclasses
import re
import subprocess

from benchmarks.contestants import CLASSES
from keras_vit import VARIANTS, planner

# What the driver calls the cards of `planner.DEVICES`. "NVIDIA H100 PCIe" and "NVIDIA H200 NVL" are
# slower than the modules that have a row there.
_NAMES = {
    "H200": r"NVIDIA H200",
    "H100": r"NVIDIA H100 80GB HBM3",
    "A100-80": r"NVIDIA A100.*80GB.*",
    "A100-40": r"NVIDIA A100.*40GB.*",
    "L4": r"NVIDIA L4",
    "T4": r"(NVIDIA |Tesla )+T4",
    "V100-32": r"Tesla V100-SXM2-32GB",
    "V100-16": r"Tesla V100-SXM2-16GB",
}
_QUERY = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]


@dataclasses.dataclass(frozen=True)
class Card:
    """A graphics card.

    Attributes:
        name: As the driver says it.
        memory: Bytes.
        device: Its row in `planner.DEVICES`, or `None` for a card that has none.
    """

    name: str
    memory: int
    device: planner.Device | None


def first_card() -> Card:
    """The first card of this machine.

    Raises:
        ValueError: If there is none.
    """
    try:
        said = subprocess.run(_QUERY, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ValueError(
            f"This needs a CUDA card, which `nvidia-smi` names; with --tiny a processor will do. "
            f"Received: {error}"
        ) from error
    return card_of(said.splitlines()[0])


def card_of(line: str) -> Card:
    """A card from a line of `nvidia-smi`: the name, a comma, MiB."""
    name, mib = line.rsplit(", ", 1)
    known = (key for key, pattern in _NAMES.items() if re.fullmatch(pattern, name))
    return Card(name, int(mib) * 2**20, planner.DEVICES.get(next(known, "")))


def flops(model: str, size: int, training: bool) -> int:
    """Floating-point operations for one image, as the planner counts them.

    A training step has three times those of a forward pass. What rematerialisation computes again
    is not counted, as it does not bring the training on.
    """
    if training:
        return planner.training_flops(planner.parts(VARIANTS[model], size, CLASSES))
    return 2 * planner.forward_macs(model, size, CLASSES)


def share_of_peak(
    images_per_second: float, model: str, size: int, training: bool, card: Card
) -> float | None:
    """The share of the card's peak for dense bfloat16, in [0, 1]; `None` where it is not known."""
    peak = card.device.peak.get("mixed_bfloat16") if card.device else None
    return peak and images_per_second * flops(model, size, training) / peak


def largest_batch(model: str, size: int, rematerialise: bool, memory: float, most: int) -> int:
    """The largest power of two with which the planner expects a training step to fit.

    Args:
        model: A name in `keras_vit.VARIANTS`.
        size: Pixels of a side.
        rematerialise: Whether only the inputs of the blocks are kept.
        memory: Bytes to fill.
        most: No larger batch than this, a power of two.

    Returns:
        At least 1.
    """
    model_parts = planner.parts(VARIANTS[model], size, CLASSES)
    batch = most
    while batch > 1:
        needs = planner.memory(
            model_parts, batch, precision="mixed_bfloat16", rematerialise=rematerialise
        )
        if needs["total"] <= memory:
            break
        batch //= 2
    return batch
