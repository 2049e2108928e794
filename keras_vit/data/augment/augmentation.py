"""What one augmentation consists of: AugReg's settings by name, or your own.

Source: "How to train your ViT?" (AugReg, arXiv 2106.10270), section 3.3: RandAugment with a number
of layers and a magnitude, and MixUp with its alpha.
"""

from __future__ import annotations

import dataclasses

from keras_vit.data.augment.randaugment import check_randaugment
from keras_vit.utils.checks import check_choice, check_numbers


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How strongly training images are changed.

    Attributes:
        name: Name for people to read.
        layers: Number of RandAugment operations, one after the other; 0 for none.
        magnitude: Magnitude of all operations, in [0, 30].
        mixup: Alpha of MixUp's Beta distribution; 0 for no MixUp.
        cutmix: Alpha of CutMix's; 0 for no CutMix. With both, each batch gets one of the two.
        erasing: Probability that a part of an image is erased, in [0, 1].
    """

    name: str
    layers: int
    magnitude: float
    mixup: float
    cutmix: float = 0.0
    erasing: float = 0.0

    def __post_init__(self) -> None:
        check_randaugment(self.layers, self.magnitude)
        check_numbers("[0, inf)", mixup=self.mixup, cutmix=self.cutmix)
        check_numbers("[0, 1]", erasing=self.erasing)

    def __str__(self) -> str:
        parts = [f"RandAugment({self.layers}, {self.magnitude:g})"] if self.layers else []
        for field in ("mixup", "cutmix", "erasing"):
            if getattr(self, field):
                parts.append(f"{field} {getattr(self, field):g}")
        return f"{self.name}: {', '.join(parts)}" if parts else self.name

    @property
    def mixes(self) -> bool:
        """Whether images are mixed; labels must then be shares of classes."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def distorts(self) -> bool:
        """Whether single images are changed, in uint8."""
        return self.layers > 0 or self.erasing > 0


# Source: AugReg, section 3.3 (big_vision, vit_i1k.py). Only the last is from elsewhere: the BiT
# HyperRule adds it for all but small sets.
AUGMENTATIONS = {
    row.name: row
    for row in (
        Augmentation("none", 0, 0, 0.0),
        Augmentation("light1", 2, 0, 0.0),
        Augmentation("light2", 2, 10, 0.2),
        Augmentation("medium1", 2, 15, 0.2),
        Augmentation("medium2", 2, 15, 0.5),
        Augmentation("strong1", 2, 20, 0.5),
        Augmentation("strong2", 2, 20, 0.8),
        Augmentation("mixup", 0, 0, 0.1),
    )
}


def as_augmentation(given: str | Augmentation | None) -> Augmentation:
    """An augmentation by its name; `None` means "none".

    Raises:
        ValueError: If there is no such name.
    """
    if given is None:
        return AUGMENTATIONS["none"]
    if isinstance(given, Augmentation):
        return given
    return AUGMENTATIONS[check_choice("augmentation", given, AUGMENTATIONS)]
