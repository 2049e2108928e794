"""ReaL, the reassessed labels of ImageNet's validation images (arXiv 2006.07159).

An image has a set of right classes. The set may be empty; then the image is not counted. Images are
identified by their number: `ILSVRC2012_val_00000001.JPEG` has number 1.
"""

from __future__ import annotations

import functools
import gzip
import importlib.resources

import numpy as np

from keras_vit.evaluate.proportions import Proportion


@functools.cache
def real_labels() -> tuple[frozenset[int], ...]:
    """The right classes of each of the 50,000 images, in the order of their numbers.

    Returns:
        Sets of indices into the 1,000 classes in the order of their WordNet ids; 3,163 are empty.
    """
    packed = importlib.resources.files("keras_vit") / "labels" / "imagenet_real.txt.gz"
    lines = gzip.decompress(packed.read_bytes()).decode().splitlines()
    return tuple(frozenset(map(int, line.split())) for line in lines if not line.startswith("#"))


def real_accuracy(predictions: np.ndarray, numbers: np.ndarray) -> Proportion | None:
    """How many predictions are in the set of their image; images with an empty set do not count.

    Args:
        predictions: int `[N]`, indices into ImageNet's 1,000 classes; -1 is always wrong.
        numbers: int `[N]`, the numbers of the images; images of number 0 do not count.

    Returns:
        The share; `None` if no image has a number.
    """
    if not np.any(numbers):
        return None
    sets = real_labels()
    pairs = [(int(p), sets[n - 1]) for p, n in zip(predictions, numbers, strict=True) if n > 0]
    counted = [(prediction, classes) for prediction, classes in pairs if classes]
    return Proportion(sum(prediction in classes for prediction, classes in counted), len(counted))
