"""What the arrays of a checkpoint say about the model: its architecture, from shapes alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from keras_vit.bit import BiT
from keras_vit.keys import BIT, VIT, Family, released_names
from keras_vit.resnet import ResNetStem
from keras_vit.variants import ARCHITECTURE
from keras_vit.vit import ViT

_BLOCK = "Transformer/encoderblock_0/"


@dataclasses.dataclass(frozen=True)
class CheckpointInfo:
    """What the arrays of a file say about the model.

    Attributes:
        patch_size, width, depth, num_heads, mlp_dim: As in `ViT`.
        stem: The hybrid's `ResNetStem`, or `None`.
        classifier: `"token"`, or `"gap"` where the file has no class token.
        registers: Number of register tokens.
        representation_size: Width of `pre_logits`, or `None` where there is none.
        classes: Outputs of the head, or `None` where the file has no head.
        channels: Of the image.
        num_positions: Patches that the position embedding covers.
    """

    patch_size: int
    width: int
    depth: int
    num_heads: int
    mlp_dim: int
    stem: ResNetStem | None
    classifier: str
    registers: int
    representation_size: int | None
    classes: int | None
    channels: int
    num_positions: int

    family: ClassVar[Family] = VIT
    build: ClassVar[Any] = staticmethod(ViT)

    @property
    def stride(self) -> int:
        """Image pixels per patch, along one side."""
        return self.patch_size * (self.stem.stride if self.stem else 1)

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments of `ViT` that define the encoder."""
        return {name: getattr(self, name) for name in ARCHITECTURE}

    def image_size(self, wanted: tuple[int, int] | None) -> tuple[int, int]:
        """(rows, columns) in pixels: what is wanted, or what the file was trained at."""
        rows, columns = self.grid_size(wanted)
        return wanted or (rows * self.stride, columns * self.stride)

    def settings(self, new_head: bool) -> dict[str, Any]:
        """The other arguments of `ViT`; a new head comes without `pre_logits`."""
        return {
            "classifier": self.classifier,
            "registers": self.registers,
            "representation_size": None if new_head else self.representation_size,
            "name": "vit",
        }

    def grid_size(self, image_size: tuple[int, int] | None = None) -> tuple[int, int]:
        """(rows, columns) of the file: square, or that of `image_size` if its count fits.

        Raises:
            ValueError: If the number of positions is no square and `image_size` does not fit.
        """
        side = math.isqrt(self.num_positions)
        if side * side == self.num_positions:
            return side, side
        if image_size is not None:
            rows, columns = (-(-n // (self.stride // self.patch_size)) for n in image_size)
            grid = rows // self.patch_size, columns // self.patch_size
            if grid[0] * grid[1] == self.num_positions:
                return grid
        raise ValueError(
            f"The file has {self.num_positions} positions, which is not a square grid, so the "
            "image size that it was trained at must be given as `image_size=(rows, columns)`, "
            f"with {self.num_positions} patches of {self.stride} pixels. Received: "
            f"image_size={image_size}"
        )


@dataclasses.dataclass(frozen=True)
class BiTInfo:
    """What the arrays of a file say about a BiT ResNet.

    Attributes:
        block_sizes, width_factor: As in `BiT`.
        classes: Outputs of the head, or `None` where the file has no head.
        channels: Of the image.
    """

    block_sizes: tuple[int, ...]
    width_factor: float
    classes: int | None
    channels: int

    family: ClassVar[Family] = BIT
    build: ClassVar[Any] = staticmethod(BiT)

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments of `BiT` that define the layers."""
        return {"block_sizes": self.block_sizes, "width_factor": self.width_factor}

    def image_size(self, wanted: tuple[int, int] | None) -> tuple[int, int]:
        """(rows, columns) in pixels: any will do, and the paper pre-trains at 224."""
        return wanted or (224, 224)

    def settings(self, new_head: bool) -> dict[str, Any]:
        """The other arguments of `BiT`."""
        return {"name": "bit"}


def describe(shapes: Mapping[str, tuple[int, ...]]) -> CheckpointInfo | BiTInfo:
    """Reads the architecture off the shapes of a checkpoint.

    Args:
        shapes: Array name (any of the known namings) -> shape.

    Raises:
        ValueError: If these are not the arrays of a known kind of model.
    """
    shape = {name: shapes[found] for name, found in released_names(shapes).items()}
    if BIT.array in shape:
        return _describe_bit(shape)
    if VIT.array in shape:
        return _describe_vit(shape)
    raise ValueError(
        "This is no checkpoint in Google's layout of a Vision Transformer (which has "
        f"{VIT.array!r}) or of a BiT ResNet (which has {BIT.array!r}). The first arrays that it "
        f"has: {sorted(shapes)[:5]}"
    )


def _check_ranks(
    shape: Mapping[str, tuple[int, ...]],
    family: Family,
    needed: dict[str, int],
    optional: dict[str, int],
) -> None:
    ranks = needed | {name: rank for name, rank in optional.items() if name in shape}
    if wrong := [name for name, rank in ranks.items() if len(shape.get(name, ())) != rank]:
        raise ValueError(
            f"This is no complete checkpoint of a {family.name}: it lacks "
            f"{', '.join(map(repr, wrong))}, or they have another rank."
        )


def _describe_bit(shape: Mapping[str, tuple[int, ...]]) -> BiTInfo:
    _check_ranks(shape, BIT, {BIT.array: 4}, {"resnet/head/conv2d/bias": 1})
    units = {tuple(name.split("/")[1:3]) for name in shape if name.startswith("resnet/block")}
    blocks = [block for block, _ in units]
    sizes = tuple(blocks.count(f"block{b + 1}") for b in range(len(set(blocks))))
    head = shape.get("resnet/head/conv2d/bias")
    *_, channels, root_width = shape[BIT.array]
    return BiTInfo(sizes, root_width / 64, None if head is None else head[0], channels)


def _describe_vit(shape: Mapping[str, tuple[int, ...]]) -> CheckpointInfo:
    blocks = {name.split("/")[1] for name in shape if name.startswith("Transformer/encoderblock_")}
    attention = f"{_BLOCK}MultiHeadDotProductAttention_1/query/kernel"
    mlp = f"{_BLOCK}MlpBlock_3/Dense_0/kernel"
    positions = "Transformer/posembed_input/pos_embedding"
    _check_ranks(
        shape,
        VIT,
        {"embedding/kernel": 4, positions: 3, attention: 3, mlp: 2},
        {"conv_root/kernel": 4, "registers": 3, "pre_logits/bias": 1, "head/bias": 1},
    )
    patch_size, patch_columns, channels, width = shape["embedding/kernel"]
    if patch_size != patch_columns:
        raise ValueError(
            f"Expected square patches. Received: embedding/kernel of shape "
            f"{shape['embedding/kernel']}"
        )
    stem = None
    if "conv_root/kernel" in shape:
        channels, root_width = shape["conv_root/kernel"][2:]
        units = [name.split("/")[:2] for name in shape if name.endswith("/conv1/kernel")]
        blocks_of_units = [block for block, _ in units]
        sizes = [blocks_of_units.count(f"block{b + 1}") for b in range(len(set(blocks_of_units)))]
        stem = ResNetStem(tuple(sizes), root_width / 64)
    return CheckpointInfo(
        patch_size=patch_size,
        width=width,
        depth=len(blocks),
        num_heads=shape[attention][1],
        mlp_dim=shape[mlp][1],
        stem=stem,
        classifier="token" if "cls" in shape else "gap",
        registers=shape["registers"][1] if "registers" in shape else 0,
        representation_size=shape["pre_logits/bias"][0] if "pre_logits/bias" in shape else None,
        classes=shape["head/bias"][0] if "head/bias" in shape else None,
        channels=channels,
        num_positions=shape[positions][1] - ("cls" in shape),
    )
