"""Images in memory: arrays, and scikit-learn's handwritten digits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_vit.data import fingerprint, shuffling
from keras_vit.data.augment.augmentation import Augmentation
from keras_vit.data.image_data import ImageData
from keras_vit.data.labelled import LabelledImages
from keras_vit.data.pipeline import Pipeline
from keras_vit.data.random_crop import RandomCrop


def from_arrays(
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    class_names: Sequence[str],
    image_size: int | tuple[int, int] = 224,
    batch_size: int = 32,
    *,
    crop_area: tuple[float, float] = (0.05, 1.0),
    flip: bool = True,
    resize: str = "squash",
    seed: int = 0,
    augmentation: str | Augmentation | None = None,
    transform: Any = None,
    interpolation: str = "bilinear",
    name: str = "arrays",
) -> ImageData:
    """Images that are in memory, as `keras.datasets.cifar10.load_data()` gives them.

    Args:
        train: Images, uint8 `[N, rows, columns, 3]`, and their labels, integers `[N]` or `[N, 1]`.
        validation: The same to validate on.
        class_names: Names of the labels 0, 1, ...
        image_size: Pixels to bring them to, one number or (rows, columns).
        batch_size: Images per batch.
        crop_area: Least and largest share of a training image's area to cut out.
        flip: Whether to mirror half of the training images; not for text or digits.
        resize: To validate, `"squash"` to the size (the original) or `"crop"` the middle.
        seed: Of the crops and the order.
        augmentation: As in `from_folder`.
        transform: As in `from_folder`.
        interpolation: As in `from_folder`.
        name: For people to read; a run is taken up with data of the same name only.

    Returns:
        The data, ready for `keras_vit.training.fine_tune` or `model.fit`.

    Raises:
        ValueError: If images and labels do not fit each other or the class names, or an option is
            out of its range.
        TypeError: If images are not uint8, or labels not integers.
    """
    pipeline = Pipeline(
        image_size, batch_size, crop_area, flip, resize, seed, augmentation, transform,
        interpolation,
    )  # fmt: skip
    return find_arrays(train, validation, class_names, name).batches(pipeline)


def find_arrays(
    train: tuple[Any, Any], validation: tuple[Any, Any], class_names: Sequence[str], name: str
) -> LabelledImages:
    """Arrays as a source; see `from_arrays`."""
    classes = len(class_names)
    checked = [
        _checked_arrays(what, *pair, classes)
        for what, pair in (("train", train), ("validation", validation))
    ]
    train_source, validation_source = map(shuffling.of_arrays, checked)
    return LabelledImages(
        validation_source,
        _read,
        tuple(class_names),
        name,
        train_source,
        fingerprint=fingerprint.of_arrays(*checked[0], *checked[1]),
    )


def _read(image: Any, label: Any, crop: RandomCrop | None = None) -> Any:
    return image if crop is None else crop.cut(image), label, 0


def _checked_arrays(
    what: str, pixels: Any, labels: Any, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = np.asarray(pixels), np.asarray(labels)
    if labels.shape == (len(pixels), 1):
        labels = labels[:, 0]
    if pixels.dtype != "uint8" or not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(
            f"`{what}` must be uint8 images in [0, 255] and integer labels. Received: "
            f"{pixels.dtype} and {labels.dtype}"
        )
    if pixels.ndim != 4 or pixels.shape[3] != 3 or labels.shape != pixels.shape[:1]:
        raise ValueError(
            f"`{what}` must be images [N, rows, columns, 3] and labels [N]. Received: shapes "
            f"{pixels.shape} and {labels.shape}"
        )
    if not len(labels) or labels.min() < 0 or labels.max() >= classes:
        span = f"{labels.min()} to {labels.max()}" if len(labels) else "none"
        raise ValueError(
            f"`{what}` must have labels from 0 to {classes - 1}, the places of `class_names`. "
            f"Received: {span}"
        )
    return pixels, labels.astype("int32")


def digits(
    image_size: int | tuple[int, int] = 40,
    batch_size: int = 64,
    *,
    crop_area: tuple[float, float] = (0.8, 1.0),
    seed: int = 0,
    augmentation: str | Augmentation | None = None,
    transform: Any = None,
) -> ImageData:
    """scikit-learn's 1,797 handwritten digits: data that need no download.

    The 8x8 grey images get a margin of one pixel, so that a random crop is a small shift, and
    are enlarged to 40x40. The split is fixed, 1,437 to train and 360 to test, and stratified;
    the same people wrote both. Source: the UCI set "Optical Recognition of Handwritten
    Digits" (its test part).

    Args:
        image_size: Pixels, one number or (rows, columns).
        batch_size: Images per batch.
        crop_area: Least and largest share of a training image's area to cut out.
        seed: Of the crops and the order.
        augmentation: As in `from_folder`.
        transform: As in `from_folder`.

    Returns:
        The data, ready for `keras_vit.training.fine_tune` or `model.fit`.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If an option is out of its range.
    """
    return find_digits().prepare(
        image_size,
        batch_size,
        crop_area=crop_area,
        seed=seed,
        augmentation=augmentation,
        transform=transform,
    )


def find_digits() -> LabelledImages:
    """The digits as a source; see `digits`."""
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ImportError(
            "The digits come with scikit-learn: pip install keras-vit-applications[digits]"
        ) from error
    import tensorflow as tf

    grey, labels = load_digits(return_X_y=True)  # [1797, 64] in [0, 16]
    grey = np.pad(grey.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    pixels = np.repeat(grey[..., None] * (255 / 16), 3, axis=-1)  # [1797, 10, 10, 3]
    pixels = np.clip(tf.image.resize(pixels, (40, 40), "bicubic").numpy(), 0, 255).astype("uint8")
    parts: Any = train_test_split(
        pixels, labels.astype("int32"), test_size=360, stratify=labels, random_state=0
    )
    train, test, train_labels, test_labels = parts
    names = tuple(str(digit) for digit in range(10))
    found = find_arrays((train, train_labels), (test, test_labels), names, "digits")
    return dataclasses.replace(found, flip=False, crop_area=(0.8, 1.0))
