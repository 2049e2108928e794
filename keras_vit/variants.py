"""The architectures, one row each. A new variant is one row here and one row in the tests."""

from __future__ import annotations

import dataclasses
from typing import Any

from keras_vit.resnet import ResNetStem

ARCHITECTURE = ("patch_size", "width", "depth", "num_heads", "mlp_dim", "stem")


@dataclasses.dataclass(frozen=True)
class ViTConfig:
    """What makes one Vision Transformer differ from another (paper, Table 1).

    Attributes:
        patch_size: Side of a square patch, in pixels of what the stem gives (of the image
            where there is no stem).
        width: Channels of a token, `D` in the paper.
        depth: Number of Transformer blocks, `L`.
        num_heads: Attention heads per block; divides `width`.
        mlp_dim: Hidden channels of the MLP.
        stem: `None`, or the ResNet that turns the image into the feature map that is cut into
            patches (the hybrids; paper section 3.1).
        title: The paper's way to write the name, for printing.
    """

    patch_size: int
    width: int
    depth: int
    num_heads: int
    mlp_dim: int
    stem: ResNetStem | None = None
    title: str = ""

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments of `ViT` that define the encoder."""
        return {name: getattr(self, name) for name in ARCHITECTURE}

    @property
    def stride(self) -> int:
        """Image pixels per token, along one side."""
        return self.patch_size * (self.stem.stride if self.stem is not None else 1)


VARIANTS: dict[str, ViTConfig] = {
    # name: patch, width, depth, heads, mlp (sources: paper Table 1; AugReg Table 2 for Ti and S)
    "ViT_Ti16": ViTConfig(16, 192, 12, 3, 768, title="ViT-Ti/16"),
    "ViT_S16": ViTConfig(16, 384, 12, 6, 1536, title="ViT-S/16"),
    "ViT_S32": ViTConfig(32, 384, 12, 6, 1536, title="ViT-S/32"),
    "ViT_B8": ViTConfig(8, 768, 12, 12, 3072, title="ViT-B/8"),
    "ViT_B16": ViTConfig(16, 768, 12, 12, 3072, title="ViT-B/16"),
    "ViT_B32": ViTConfig(32, 768, 12, 12, 3072, title="ViT-B/32"),
    "ViT_L16": ViTConfig(16, 1024, 24, 16, 4096, title="ViT-L/16"),
    "ViT_L32": ViTConfig(32, 1024, 24, 16, 4096, title="ViT-L/32"),
    "ViT_H14": ViTConfig(14, 1280, 32, 16, 5120, title="ViT-H/14"),
    # The hybrids: patches of the stem's output, 1x1 but for R+ViT-Ti/16, whose name counts the
    # stem as downscaling by two; the released model downscales by four and has 49 patches.
    "R_Ti16": ViTConfig(8, 192, 12, 3, 768, ResNetStem(), "R+ViT-Ti/16"),
    "R26_ViT_S32": ViTConfig(1, 384, 12, 6, 1536, ResNetStem((2, 2, 2, 2)), "R26+ViT-S/32"),
    "R26_ViT_B32": ViTConfig(1, 768, 12, 12, 3072, ResNetStem((2, 2, 2, 2)), "R26+ViT-B/32"),
    "R50_ViT_B16": ViTConfig(1, 768, 12, 12, 3072, ResNetStem((3, 4, 9)), "R50+ViT-B/16"),
    "R50_ViT_L32": ViTConfig(1, 1024, 24, 16, 4096, ResNetStem((3, 4, 6, 3)), "R50+ViT-L/32"),
}
