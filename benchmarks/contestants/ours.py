"""keras_vit, on TensorFlow, JAX or PyTorch (`KERAS_BACKEND`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

import keras_vit
from benchmarks.contestants import CLASSES
from benchmarks.contestants.keras_training import policy, timed
from benchmarks.contestants.weights import OURS
from keras_vit.recipes.optimizers import MomentumSGD

_OPTIMIZERS = {"ours": MomentumSGD, "Keras": keras.optimizers.SGD}


def build(
    model: str,
    size: int,
    batch: int,
    precision: str,
    training: bool,
    folder: str,
    mode: str,
    rematerialise: bool = False,
    optimizer: str = "ours",
) -> Any:
    made = getattr(keras_vit, model)(
        weights=str(Path(folder, OURS)),
        input_shape=(size, size, 3),
        classes=CLASSES,
        classifier_activation=None,
        dtype=policy(precision, training),
        rematerialise=rematerialise,
    )
    return timed(made, batch, size, precision, mode, training, _OPTIMIZERS[optimizer])
