"""Reads the architecture of a model from the names and shapes in its checkpoint."""

from __future__ import annotations

from keras_vit.checkpoints.checkpoint import Checkpoint
from keras_vit.checkpoints.info.families import BiTInfo, MixerInfo, describe_bit, describe_mixer
from keras_vit.checkpoints.info.vit import ViTInfo, describe_vit
from keras_vit.checkpoints.names.keys import BIT, MIXER
from keras_vit.checkpoints.names.others import what_has


def describe(checkpoint: Checkpoint, num_heads: int | None = None) -> ViTInfo | BiTInfo | MixerInfo:
    """Reads the architecture off the names and shapes of a checkpoint.

    Args:
        checkpoint: An open one.
        num_heads: Heads of the attention, where the file does not say it.

    Raises:
        ValueError: If arrays are missing without which it cannot be told, or there are some by
            which an architecture is known that keras_vit does not have.
    """
    if other := what_has(checkpoint.unknown):
        shown = ", ".join(map(ascii, checkpoint.unknown[:8]))
        raise ValueError(
            f"{str(checkpoint.path)!r} does not open. {other} Arrays without a place in a "
            f"{checkpoint.format.family.name} of the format {checkpoint.format.title!r}: {shown}"
        )
    family = checkpoint.format.family
    if family is BIT:
        return describe_bit(checkpoint)
    if family is MIXER:
        return describe_mixer(checkpoint)
    return describe_vit(checkpoint, num_heads)
