"""Features that are easy to tell apart: a cloud of points for each class."""

from __future__ import annotations

import numpy as np


def clouds(
    count: int, classes: int = 3, width: int = 5, noise: float = 0.1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """`count` features of each class around a point of its own, shuffled."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(classes), count))
    centres = np.random.default_rng(99).normal(size=(classes, width))
    return centres[labels] + noise * rng.normal(size=(len(labels), width)), labels
