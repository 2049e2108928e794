"""One module a library, and `engines` for the files that they export.

`build(**task)` gives a step to time, and facts of what it computes.

A task has `model` (a name in `keras_vit.VARIANTS`), `size` (pixels), `batch`, `precision`
(`"float32"`, `"bfloat16"` or `"int8"`), `mode` (the library's own), `training`, and `folder`: where
`weights.py` has put the same weights for everybody.
"""

import numpy as np

CLASSES = 1000


def images(batch: int, size: int) -> np.ndarray:
    """[B, size, size, 3] float32 in [-1, 1]; the first is the same for any B."""
    return np.random.default_rng(0).uniform(-1, 1, (batch, size, size, 3)).astype("float32")


def labels(batch: int) -> np.ndarray:
    """[B] int32."""
    return np.random.default_rng(1).integers(0, CLASSES, batch).astype("int32")


def facts(logits) -> dict:
    """What goes back for the comparison: the first logits of the first image."""
    return {"logits": [float(value) for value in np.asarray(logits, "float64")[0, :50]]}
