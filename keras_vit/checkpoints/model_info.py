"""What a checkpoint says about a model: what all families share, BiT and Mixer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from keras_vit.checkpoints.checkpoint import Checkpoint
from keras_vit.checkpoints.names.templates import numbers_in
from keras_vit.models import BiTConfig, MixerConfig
from keras_vit.models.variants import Config


@dataclasses.dataclass(frozen=True)
class Info:
    """What a file says about a model of any family.

    Attributes:
        config: The architecture, as a row of `VARIANTS` has it.
        classes: Outputs of the head, or `None` where the file has no head.
        channels: Of the image.
    """

    config: Config
    classes: int | None
    channels: int

    def without_head(self) -> dict[str, Any]:
        """More arguments for a file without a head."""
        return {}


class BiTInfo(Info):
    """What a file says about a BiT ResNet."""

    def image_size(self, wanted: tuple[int, int] | None) -> tuple[int, int]:
        """(rows, columns) in pixels: any will do, and the paper pre-trains at 224."""
        return wanted or (224, 224)

    def settings(self, new_head: bool) -> dict[str, Any]:
        """The other arguments of `BiT`."""
        return {"name": "bit"}


@dataclasses.dataclass(frozen=True)
class MixerInfo(Info):
    """What a file says about an MLP-Mixer.

    Attributes:
        num_tokens: Patches that the token MLPs are made for.
    """

    config: MixerConfig
    num_tokens: int

    def image_size(self, wanted: tuple[int, int] | None) -> tuple[int, int]:
        """(rows, columns) in pixels: what is wanted if it has the file's patches, or a square.

        Raises:
            ValueError: If the file is for another number of patches.
        """
        side, patch_size = math.isqrt(self.num_tokens), self.config.patch_size
        size = wanted or (side * patch_size, side * patch_size)
        if math.prod(n // patch_size for n in size) != self.num_tokens:
            raise ValueError(
                "A Mixer is made for one number of patches and cannot be resized. The file has "
                f"{self.num_tokens} patches of {patch_size} pixels. Received: "
                f"image_size={wanted}"
            )
        return size

    def settings(self, new_head: bool) -> dict[str, Any]:
        """The other arguments of `Mixer`."""
        return {"name": "mixer"}


def check_ranks(
    checkpoint: Checkpoint, needed: Mapping[str, int], optional: Mapping[str, int]
) -> None:
    """Refuses a file that lacks an array which it needs, or has one of another rank."""
    shapes = checkpoint.shapes
    # A variable is optional as long as the file has no array for it.
    ranks = dict(needed) | {name: rank for name, rank in optional.items() if name in checkpoint}
    if wrong := [name for name, rank in ranks.items() if len(shapes.get(name, ())) != rank]:
        arrays = [checkpoint.array_of(name) for name in wrong]
        raise ValueError(
            f"{str(checkpoint.path)!r} is no complete checkpoint of a "
            f"{checkpoint.format.family.name}: it lacks "
            f"{', '.join(repr(array[0]) for array in arrays if array)}, or they have another rank."
        )


def numbers_of(template: str, names: Iterable[str]) -> list[dict[str, int]]:
    """The numbers in each name that fits a template (`names/templates.py`)."""
    return [numbers for name in names if (numbers := numbers_in(template, name)) is not None]


def block_sizes(template: str, names: Iterable[str]) -> tuple[int, ...]:
    """Units of every block, from the names of one variable of each unit."""
    blocks = [numbers["b"] for numbers in numbers_of(template, names)]
    return tuple(blocks.count(b + 1) for b in range(len(set(blocks))))


def classes_of(checkpoint: Checkpoint) -> int | None:
    """Outputs of the head, or `None` where the file has no head."""
    return checkpoint.shapes["head/kernel"][-1] if "head/kernel" in checkpoint.shapes else None


def describe_bit(checkpoint: Checkpoint) -> BiTInfo:
    """Reads the architecture of a BiT ResNet."""
    check_ranks(checkpoint, {"root_conv/kernel": 4}, {"head/kernel": 2})
    *_, channels, root_width = checkpoint.shapes["root_conv/kernel"]
    return BiTInfo(
        BiTConfig(
            block_sizes=block_sizes("block{b}_unit{u:02}_a_conv/kernel", checkpoint),
            width_factor=root_width / 64,
        ),
        classes=classes_of(checkpoint),
        channels=channels,
    )


def describe_mixer(checkpoint: Checkpoint) -> MixerInfo:
    """Reads the architecture of an MLP-Mixer."""
    patches = "stem/projection/kernel"
    tokens, channels = (f"mixer_block_0/{m}_mixing/dense_1/kernel" for m in ("token", "channel"))
    check_ranks(checkpoint, {patches: 4, tokens: 2, channels: 2}, {"head/kernel": 2})
    shapes = checkpoint.shapes
    return MixerInfo(
        MixerConfig(
            patch_size=square_side(checkpoint, patches),
            width=shapes[patches][3],
            depth=len(numbers_of("mixer_block_{i}/token_norm/gamma", shapes)),
            tokens_mlp_dim=shapes[tokens][1],
            channels_mlp_dim=shapes[channels][1],
        ),
        classes=classes_of(checkpoint),
        channels=shapes[patches][2],
        num_tokens=shapes[tokens][0],
    )


def square_side(checkpoint: Checkpoint, kernel: str) -> int:
    """The side of the patches that a kernel makes tokens of."""
    rows, columns, *_ = checkpoint.shapes[kernel]
    if rows != columns:
        raise ValueError(
            f"Expected square patches. Received: a kernel of shape {checkpoint.shapes[kernel]} in "
            f"{str(checkpoint.path)!r}"
        )
    return rows
