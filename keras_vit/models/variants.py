"""The architectures, one row each. A new variant is one row here and one row in the tests."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from keras_vit.models.bit import BiT
from keras_vit.models.mixer import Mixer
from keras_vit.models.resnet_stem import ResNetStem
from keras_vit.models.vit import ViT

DEFAULT_IMAGE_SIZE = 224


class Row:
    """A row of `VARIANTS`. Rows that differ only in their title are equal."""

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments of `ViT`, `BiT` or `Mixer` that define the layers."""
        return {name: value for name, value in vars(self).items() if name != "title"}


@dataclasses.dataclass(frozen=True)
class ViTConfig(Row):
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
        swiglu: Whether the MLPs are SwiGLUs.
    """

    patch_size: int
    width: int
    depth: int
    num_heads: int
    mlp_dim: int
    stem: ResNetStem | None = None
    title: str = dataclasses.field(default="", compare=False)
    swiglu: bool = False

    build: ClassVar[Any] = staticmethod(ViT)
    any_size: ClassVar[bool] = True

    @property
    def stride(self) -> int:
        """Image pixels per token, along one side."""
        return self.patch_size * (self.stem.stride if self.stem is not None else 1)

    @property
    def summary(self) -> str:
        """What sets it apart, in a sentence."""
        stem = " (after a ResNet stem)" if self.stem is not None else ""
        return (
            f"{self.title}: patches of {self.stride} pixels{stem}, width {self.width}, "
            f"{self.depth} blocks, {self.num_heads} heads."
        )


@dataclasses.dataclass(frozen=True)
class BiTConfig(Row):
    """What makes one BiT ResNet differ from another (arXiv 1912.11370, section 3.1).

    Attributes:
        block_sizes: Bottleneck units per block.
        width_factor: Scales all channels; the last number of the name.
        title: The paper's way to write the name, for printing.
    """

    block_sizes: tuple[int, ...]
    width_factor: float = 1
    title: str = dataclasses.field(default="", compare=False)

    build: ClassVar[Any] = staticmethod(BiT)
    any_size: ClassVar[bool] = True

    @property
    def width(self) -> int:
        """Channels of the features."""
        return int(64 * self.width_factor) * 4 * 2 ** (len(self.block_sizes) - 1)

    @property
    def stride(self) -> int:
        """Image pixels per pixel of the feature map, along one side."""
        return 4 * 2 ** (len(self.block_sizes) - 1)

    @property
    def summary(self) -> str:
        """What sets it apart, in a sentence."""
        return (
            f"{self.title}: a ResNet with GroupNorm, units per block {self.block_sizes}, "
            f"width x {self.width_factor}, {self.width} channels."
        )


@dataclasses.dataclass(frozen=True)
class MixerConfig(Row):
    """What makes one MLP-Mixer differ from another (arXiv 2105.01601, Table 1).

    Attributes:
        patch_size: Side of a square patch in pixels.
        width: Channels of a token, `C` in the paper.
        depth: Number of Mixer blocks.
        tokens_mlp_dim: Hidden channels of the MLP over the tokens, `D_S`.
        channels_mlp_dim: Hidden channels of the MLP over the channels, `D_C`.
        title: The paper's way to write the name, for printing.
    """

    patch_size: int
    width: int
    depth: int
    tokens_mlp_dim: int
    channels_mlp_dim: int
    title: str = dataclasses.field(default="", compare=False)

    build: ClassVar[Any] = staticmethod(Mixer)
    any_size: ClassVar[bool] = False  # the token MLP has a weight for each position

    @property
    def stride(self) -> int:
        """Image pixels per token, along one side."""
        return self.patch_size

    @property
    def summary(self) -> str:
        """What sets it apart, in a sentence."""
        return (
            f"{self.title}: patches of {self.patch_size} pixels, width {self.width}, "
            f"{self.depth} blocks of two MLPs."
        )


Config = ViTConfig | BiTConfig | MixerConfig
_R50, _R101, _R152 = (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)

VARIANTS: dict[str, Config] = {
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
    # name: units per block, width factor (BiT paper; R152x2 came with the release)
    "BiT_R50x1": BiTConfig(_R50, 1, "BiT-R50x1"),
    "BiT_R50x3": BiTConfig(_R50, 3, "BiT-R50x3"),
    "BiT_R101x1": BiTConfig(_R101, 1, "BiT-R101x1"),
    "BiT_R101x3": BiTConfig(_R101, 3, "BiT-R101x3"),
    "BiT_R152x2": BiTConfig(_R152, 2, "BiT-R152x2"),
    "BiT_R152x4": BiTConfig(_R152, 4, "BiT-R152x4"),
    # name: patch, width, depth, MLP over the tokens, over the channels (Mixer paper, Table 1)
    "Mixer_B16": MixerConfig(16, 768, 12, 384, 3072, "Mixer-B/16"),
    "Mixer_B32": MixerConfig(32, 768, 12, 384, 3072, "Mixer-B/32"),
    "Mixer_L16": MixerConfig(16, 1024, 24, 512, 4096, "Mixer-L/16"),
}


def name_of(config: Config) -> str | None:
    """The variant with the architecture of `config`, if there is one."""
    return next((name for name, row in VARIANTS.items() if row == config), None)
