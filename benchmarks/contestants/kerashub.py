"""keras-hub's ViT, which reads the files of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contestants.keras_training import policy, timed
from contestants.weights import TRANSFORMERS


def build(
    model: str, size: int, batch: int, precision: str, training: bool, folder: str, mode: str
) -> Any:
    try:
        import keras_hub
    except ImportError as error:
        raise ImportError("pip install keras-hub") from error
    made = keras_hub.models.ViTImageClassifier.from_preset(
        str(Path(folder, TRANSFORMERS)), preprocessor=None, dtype=policy(precision, training)
    )
    return timed(made, batch, size, mode, training)
