"""Photos to measure with: those of ../shared, or noise with the detail of photos."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import ROOT

SHARED = ROOT.parent / "shared"
_IMAGENET = SHARED / "data" / "in1k_100_short256.zip"


def noise(seed: int = 0) -> Image.Image:
    """500 x 375 pixels of smoothed noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (94, 125, 3), "uint8")
    return Image.fromarray(pixels).resize((500, 375), Image.Resampling.BICUBIC)


def imagenet() -> list[tuple[str, bytes]]:
    """The 100 ImageNet photos of ../shared, in the order of their classes.

    Returns:
        Name, which begins with the number of the class and `_`, and JPEG file of each; an empty
        list without ../shared.
    """
    if not _IMAGENET.is_file():
        return []
    with zipfile.ZipFile(_IMAGENET) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".JPEG"))
        return [(Path(name).name, archive.read(name)) for name in names]
