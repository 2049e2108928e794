"""What the arrays of a checkpoint say about the model: its architecture, from shapes alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from keras_vit.keys import released_names
from keras_vit.resnet import ResNetStem

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

    @property
    def stride(self) -> int:
        """Image pixels per patch, along one side."""
        return self.patch_size * (self.stem.stride if self.stem else 1)

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments of `ViT` that define the encoder."""
        names = ("patch_size", "width", "depth", "num_heads", "mlp_dim", "stem")
        return {name: getattr(self, name) for name in names}

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


def describe(shapes: Mapping[str, tuple[int, ...]]) -> CheckpointInfo:
    """Reads the architecture off the shapes of a ViT checkpoint.

    Args:
        shapes: Array name (any of the known namings) -> shape.

    Raises:
        ValueError: If these are not the arrays of a Vision Transformer.
    """
    shape = {name: shapes[found] for name, found in released_names(shapes).items()}
    blocks = {name.split("/")[1] for name in shape if name.startswith("Transformer/encoderblock_")}
    attention = f"{_BLOCK}MultiHeadDotProductAttention_1/query/kernel"
    mlp = f"{_BLOCK}MlpBlock_3/Dense_0/kernel"
    positions = "Transformer/posembed_input/pos_embedding"
    ranks = {"embedding/kernel": 4, positions: 3, attention: 3, mlp: 2}
    optional = {"conv_root/kernel": 4, "registers": 3, "pre_logits/bias": 1, "head/bias": 1}
    ranks |= {name: rank for name, rank in optional.items() if name in shape}
    if wrong := [name for name, rank in ranks.items() if len(shape.get(name, ())) != rank]:
        raise ValueError(
            "This is not a Vision Transformer checkpoint in Google's layout: it lacks "
            f"{', '.join(map(repr, wrong))}, or they have another rank. The first arrays that it "
            f"has: {sorted(shapes)[:5]}"
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
