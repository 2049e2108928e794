"""keras-hub's ViT, which reads the files of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.contestants.keras_training import policy, timed
from benchmarks.contestants.weights import TRANSFORMERS


def build(
    model: str, size: int, batch: int, precision: str, training: bool, folder: str, mode: str
) -> Any:
    made = classifier(Path(folder), policy(precision, training))
    return timed(made, batch, size, precision, mode, training)


def classifier(folder: Path, dtype: str) -> Any:
    """Builds it and loads the weights that `contestants.weights` has written."""
    try:
        import keras_hub
    except ImportError as error:
        raise ImportError("pip install keras-hub") from error
    return keras_hub.models.ViTImageClassifier.from_preset(
        str(folder / TRANSFORMERS), preprocessor=None, dtype=dtype
    )
