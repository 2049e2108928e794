"""The graphics card of this machine, what fits into it, and what share of its peak a speed is."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Mapping

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
# In a process of its own, which gives the card back. JAX must see it: a driver is not enough.
_QUESTION = """
import jax
card = jax.devices()[0]
memory = card.memory_stats()["bytes_limit"] if card.platform == "gpu" else 0
print(card.device_kind, memory, sep=";")
"""


@dataclasses.dataclass(frozen=True)
class Card:
    """A graphics card.

    Attributes:
        name: As the driver says it.
        memory: Bytes that JAX may take.
        device: Its row in `planner.DEVICES`, or `None` for a card that has none.
    """

    name: str
    memory: int
    device: planner.Device | None


def first_card(environment: Mapping[str, str]) -> Card:
    """The card that JAX takes.

    Args:
        environment: Variables of the processes that are to use it.

    Raises:
        ValueError: If JAX sees none.
    """
    asked = subprocess.run(
        [sys.executable, "-c", _QUESTION],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    name, _, memory = (asked.stdout.splitlines() or [""])[-1].rpartition(";")
    if not int(memory or 0):
        last = (asked.stderr.splitlines() or [""])[-1]
        raise ValueError(
            f"This needs a CUDA card that JAX sees (pip install 'jax[cuda12]'); with --tiny a "
            f"processor will do. Received: {name or last}"
        )
    return card_of(name, int(memory))


def card_of(name: str, memory: int) -> Card:
    """A card by what the driver calls it, and its bytes."""
    known = (key for key, pattern in _NAMES.items() if re.fullmatch(pattern, name))
    return Card(name, memory, planner.DEVICES.get(next(known, "")))


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
