"""Photos for the tests: classes that a glance tells apart by their colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"blå": (30, 30, 220), "green": (30, 200, 30), "red": (220, 30, 30)}


def write_photos(folder: Path, count: int, classes: int = 3, ending: str = "png") -> Path:
    """Writes `count` noisy 20x20 photos of each of the first classes of `COLOURS`."""
    rng = np.random.default_rng(0)
    for name, colour in list(COLOURS.items())[:classes]:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.clip(rng.normal(colour, 25, (20, 20, 3)), 0, 255).astype("uint8")
            Image.fromarray(pixels).save(folder / name / f"{i}.{ending}")
    return folder
