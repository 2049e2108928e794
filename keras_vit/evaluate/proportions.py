"""The share of images that are right, and its confidence interval."""

from __future__ import annotations

import dataclasses
import math

# 95 % of the normal distribution lie within this many standard deviations.
Z_95 = 1.959963984540054


@dataclasses.dataclass(frozen=True)
class Proportion:
    """How many images are right, of how many.

    Attributes:
        right: How many are right, in [0, `images`].
        images: How many there are.
    """

    right: int
    images: int

    @property
    def share(self) -> float:
        """`right / images`, in [0, 1]; NaN without images."""
        return self.right / self.images if self.images else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `share`; see `wilson_interval`."""
        return wilson_interval(self.right, self.images)

    def __str__(self) -> str:
        if not self.images:
            return "-"
        low, high = self.interval
        return f"{100 * self.share:.1f} % (95 %: {100 * low:.1f} to {100 * high:.1f})"


def wilson_interval(right: int, images: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval of a proportion.

    It is right for few images and for shares near 0 and 1 too, where "plus or minus two standard
    errors" is not. It says what other images like these would give, not another training.
    Source: E. B. Wilson (1927), "Probable inference, the law of succession, and statistical
    inference", JASA 22.

    Args:
        right: How many images are right, in [0, `images`].
        images: How many images there are.
        z: Half width in standard deviations of the normal distribution. Default: that of 95 %.

    Returns:
        (low, high) in [0, 1]; (0, 1) without images.

    Raises:
        ValueError: If `right` is not in [0, `images`].
    """
    if not 0 <= right <= images:
        raise ValueError(
            f"`right` must be in [0, `images`]. Received: right={right!r}, images={images!r}"
        )
    if images == 0:
        return 0.0, 1.0
    share = right / images
    centre = share + z**2 / (2 * images)
    half = z * math.sqrt(share * (1 - share) / images + z**2 / (4 * images**2))
    scale = 1 + z**2 / images
    # Exactly 0 and 1, because rounding could put the result beyond them.
    low = 0.0 if right == 0 else (centre - half) / scale
    high = 1.0 if right == images else (centre + half) / scale
    return low, high
