"""The features of images: what a frozen model computes before its head."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from keras_vit.distribution import default_jit
from keras_vit.models.features import feature_model
from keras_vit.utils.backend import ops
from keras_vit.utils.checks import check_counts
from keras_vit.utils.progress import Progress


def extract_features(
    model: Any,
    images: Any,
    batch_size: int = 32,
    layer: str | None = None,
    progress: bool | None = None,
) -> np.ndarray:
    """The features of images.

    Args:
        model: As in `keras_vit.feature_model`.
        images: `[N, H, W, C]`, scaled as `model` expects.
        batch_size: Images per step.
        layer: As in `keras_vit.feature_model`.
        progress: Whether to show a progress bar. Default: when the output is a terminal.

    Returns:
        `[N, D]` float32. For any batch size the same, within the rounding of float32.

    Raises:
        ValueError: As in `keras_vit.feature_model`, or if there are no images.
    """
    if len(images) == 0:
        raise ValueError("`images` must hold at least one. Received: images of length 0")
    check_counts(1, batch_size=batch_size)
    starts = range(0, len(images), batch_size)
    batches = ((images[start : start + batch_size],) for start in starts)
    return _extract(feature_model(model, layer=layer), batches, len(images), progress)[0]


def extract_labelled_features(
    model: Any,
    batches: Any,
    layer: str | None = None,
    total: int | None = None,
    progress: bool | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The features of a data set of images with labels, in its order.

    Args:
        model: As in `keras_vit.feature_model`.
        batches: A `tf.data.Dataset`, or any iterable, of (images `[B, H, W, C]`, labels `[B]`).
        layer: As in `keras_vit.feature_model`.
        total: Number of images, for the progress bar.
        progress: Whether to show the bar. Default: when the output is a terminal.

    Returns:
        `[N, D]` float32 and `[N]` int64.

    Raises:
        ValueError: As in `keras_vit.feature_model`, or if there are no images.
    """
    return _extract(feature_model(model, layer=layer), batches, total, progress)


def _extract(model: Any, batches: Any, total: int | None, progress: bool | None) -> Any:
    show = sys.stdout.isatty() if progress is None else progress
    features: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    count = 0
    model.compile(jit_compile=default_jit())
    size = 0
    with Progress(total, 1, int(show), unit="image") as bar:
        for images, *of_batch in batches:
            images = ops.convert_to_numpy(images)
            size = size or len(images)
            # The last batch is filled up: another size would be compiled again.
            missing = max(size - len(images), 0)
            full = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
            found = model.predict_on_batch(full)[: len(images)]
            features.append(np.asarray(found, "float32"))
            labels += [np.asarray(ops.convert_to_numpy(label), "int64") for label in of_batch]
            count += len(images)
            bar.show(count)
    if not features:
        raise ValueError("There must be at least one image. Received: a data set without any")
    return np.concatenate(features), np.concatenate(labels) if labels else None


def checked_examples(
    features: Any, labels: Any, name: str, dtype: str = "float64"
) -> tuple[np.ndarray, np.ndarray]:
    """Features `[N, D]` and their labels `[N]`, as NumPy arrays.

    Raises:
        ValueError: If the shapes are others, a feature is not finite, or labels are not integers
            from 0 on.
    """
    features, labels = np.asarray(features, dtype), np.asarray(labels)
    if features.ndim != 2 or labels.shape != features.shape[:1] or 0 in features.shape:
        raise ValueError(
            f"Expected features [N, D] and labels [N] to {name} on, N and D at least 1. Received: "
            f"shapes {features.shape} and {labels.shape}"
        )
    if not np.isfinite(features).all():
        raise ValueError(
            f"The features to {name} on must be finite. Received: NaN or infinity in "
            f"{int((~np.isfinite(features)).any(axis=1).sum())} of {len(features)}"
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise ValueError(
            f"The labels to {name} on must be integers from 0 on. Received: {labels.dtype}, the "
            f"least {labels.min()}"
        )
    return features, labels.astype("int64")


def check_same_width(train: np.ndarray, test: np.ndarray) -> None:
    """Raises a ValueError if features to train and to test on differ in width."""
    if train.shape[1] != test.shape[1]:
        raise ValueError(
            "Features to train and to test on must be of the same width. Received: "
            f"{train.shape[1]} and {test.shape[1]}"
        )
