"""Compares an exported file with the Keras model, on images that would show what is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_vit.exports.classifier import PixelClassifier

# As a share of the range of the outputs: the same sums, added in another order.
TOLERANCE = 1e-4
# Quantised outputs may differ by this much: it finds broken files. Photos tell how good a file is.
ROUGH_TOLERANCE = 0.5


def example_pixels(classifier: PixelClassifier, count: int = 4) -> np.ndarray:
    """uint8 `[count, rows, columns, channels]`, up to 4: colours, noise, dark, bright.

    They fill [0, 255], so that another scaling gives other outputs, and are so different that a
    model of one number gives several.
    """
    rows, columns = classifier.image_size
    across, down = np.linspace(0, 255, columns), np.linspace(0, 255, rows)[:, None]
    colours = np.stack(np.broadcast_arrays(across, down, (across + down) / 2), axis=-1)
    noise = np.random.default_rng(0).integers(0, 256, (rows, columns, 3))
    images = np.stack([colours, noise, colours[::-1, ::-1] / 4, 255 - noise / 4])
    return images[:count, ..., : classifier.channels].astype("uint8")


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, as a part of the range of what is expected."""
    largest = float(np.abs(expected).max())
    # A single number has no range.
    span = max(float(np.ptp(expected)), 0.1 * largest) or 1.0
    return float(np.abs(found - expected).max()) / span


def check_same(
    found: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    what: str,
    tolerance: float = TOLERANCE,
) -> None:
    """Refuses a file whose outputs differ from those of the model.

    Raises:
        ValueError: If an output differs by more than `tolerance` of its range.
    """
    for name, values in expected.items():
        size = difference(found[name], values)
        if not size <= tolerance:
            raise ValueError(
                f"The {what} differs from the model by {size:.1e} of the range of {name!r}, more "
                f"than {tolerance:.0e}. Nothing was written."
            )


def facts(classifier: PixelClassifier) -> dict[str, Any]:
    """What the file says about its inputs and outputs, for programs that use it."""
    return {
        "input_range": list(classifier.input_range),
        "outputs": list(classifier.output_names),
        "scores": classifier.scores,
        "resize": classifier.resize,
        "interpolation": classifier.interpolation,
    }


def facts_json(classifier: PixelClassifier) -> str:
    return json.dumps(facts(classifier), indent=2) + "\n"
