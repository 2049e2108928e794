"""Image data sets to train on: photos in folders, a TFDS name, TFRecords, arrays, or the digits.

Each becomes an `ImageData`, whose `tf.data` pipelines give float32 images in [0, 255] and
integer labels, for models with `include_preprocessing=True`. What happens at random follows
from one `seed`, whatever the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_vit import images, sources
from keras_vit.augmentation import Augmentation
from keras_vit.folders import find_photos
from keras_vit.pipeline import ImageData, Pipeline
from keras_vit.records import from_records, write_records

__all__ = [
    "ImageData",
    "digits",
    "from_arrays",
    "from_folder",
    "from_records",
    "from_tfds",
    "write_records",
]


def from_folder(
    folder: str | Path,
    image_size: int | tuple[int, int] = 224,
    batch_size: int = 32,
    *,
    validation_share: float = 0.2,
    crop_area: tuple[float, float] = (0.05, 1.0),
    flip: bool = True,
    resize: str = "squash",
    on_error: str = "raise",
    seed: int = 0,
    progress: bool | None = None,
    augmentation: str | Augmentation | None = None,
    transform: Any = None,
) -> ImageData:
    """A folder with one folder of images per class.

    Every image is looked at once before anything else happens. Files that are no images are
    passed over; grey, transparent, palette and CMYK images become RGB; photos are turned
    upright as their EXIF data say.

    Args:
        folder: A folder of class folders; or one with a folder `train` of class folders, and
            another, `validation`, `val` or `test` (the first of these that there is), with the
            same classes. Labels are the sorted names of the class folders.
        image_size: Pixels, one number or (rows, columns).
        batch_size: Images per batch.
        validation_share: Share of every class to validate on, in (0, 1), chosen by `seed`,
            where there is no validation folder.
        crop_area: Least and largest share of a training image's area to cut out; (.05, 1) in
            the paper. Take (.5, 1) or more where the object is small or fills the image.
        flip: Whether to mirror half of the training images; not for text or digits.
        resize: To validate, `"squash"` to the size (the original) or `"crop"` the middle.
        on_error: `"raise"` an error that names all files that cannot be read, or `"skip"`
            them with a warning that does.
        seed: Of the crops, the order, and what is held out.
        progress: Whether to show a progress bar while looking at the files. Default: when the
            output is a terminal.
        augmentation: `"light1"` to `"strong2"`, the rows of AugReg (`keras_vit.augmentation`), or
            an `Augmentation` of one's own. With MixUp or CutMix, labels become `[B, classes]`
            float32, for validation too: take `CategoricalCrossentropy`. Default: none.
        transform: A Keras or KerasCV preprocessing layer, or a function, for batches of training
            images, float32 `[B, rows, columns, 3]` in [0, 255], that keeps their shape. A layer
            that mixes (`MixUp`, `CutMix`) and a function of (images, labels) get one-hot labels
            as well and give both. It comes after RandAugment and before MixUp. With KerasCV, a run
            that is taken up in the middle is not to the bit one that was not interrupted.

    Returns:
        The data, ready for `keras_vit.train.fine_tune` or `model.fit`.

    Raises:
        ValueError: If the folder is not as described, a class has no image that can be read,
            an image cannot be read, or an option is out of its range.
    """
    pipeline = Pipeline.checked(
        image_size, batch_size, crop_area, flip, resize, seed, augmentation, transform
    )
    folder = Path(folder)
    photos = find_photos(folder, validation_share, on_error, seed, progress)
    train, validation = (
        sources.of_arrays(images.photo_arrays(*zip(*pairs, strict=True)))
        for pairs in (photos.train, photos.validation)
    )

    def read(path: Any, orientation: Any, by_pillow: Any, label: Any) -> Any:
        return images.read_photo(path, orientation, by_pillow), label

    return pipeline.data(
        train,
        validation,
        read,
        photos.class_names,
        name=folder.resolve().name,
        unreadable=photos.unreadable,
        find_damage=lambda: images.first_damaged(
            [photo for photo, _ in (*photos.train, *photos.validation)]
        ),
    )


def from_tfds(
    name: str,
    image_size: int | tuple[int, int] = 224,
    batch_size: int = 32,
    *,
    train_split: str | None = None,
    validation_split: str | None = None,
    crop_area: tuple[float, float] = (0.05, 1.0),
    flip: bool = True,
    resize: str = "squash",
    seed: int = 0,
    data_dir: str | Path | None = None,
    file_format: str | None = None,
    augmentation: str | Augmentation | None = None,
    transform: Any = None,
) -> ImageData:
    """A data set of TensorFlow Datasets, by its name.

    Args:
        name: For example `"oxford_flowers102"` or `"imagenette/320px-v2"`. It is downloaded
            and prepared the first time.
        image_size: Pixels, one number or (rows, columns).
        batch_size: Images per batch.
        train_split: In the language of TFDS, `"train[:800]"` for example. Default: `"train"`,
            less its last tenth where there is no other split and `validation_split` is not
            given either.
        validation_split: Likewise. Default: `"validation"`, else `"test"`, else that tenth.
        crop_area: Least and largest share of a training image's area to cut out.
        flip: Whether to mirror half of the training images; not for text or digits.
        resize: To validate, `"squash"` to the size (the original) or `"crop"` the middle.
        seed: Of the crops and the order.
        data_dir: Where TFDS keeps its files. Default: its own choice.
        file_format: `"tfrecord"` or `"array_record"`, the format to prepare it in; the latter can
            be read at any place. Default: that of the data set, as a rule tfrecord.
        augmentation: As in `from_folder`.
        transform: As in `from_folder`.

    Returns:
        The data, ready for `keras_vit.train.fine_tune` or `model.fit`.

    Raises:
        ImportError: If tensorflow-datasets is not installed, or array_record where it is used.
        ValueError: If there is no such data set or split, it has no images with one label
            each, or an option is out of its range.
    """
    from keras_vit import tfds_source

    pipeline = Pipeline.checked(
        image_size, batch_size, crop_area, flip, resize, seed, augmentation, transform
    )
    found = tfds_source.load(name, train_split, validation_split, data_dir, file_format)
    return pipeline.data(
        found.train,
        found.validation,
        found.read,
        found.class_names,
        name=name,
        find_damage=found.find_damage,
    )


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
        name: For people to read; a run is taken up with data of the same name only.

    Returns:
        The data, ready for `keras_vit.train.fine_tune` or `model.fit`.

    Raises:
        ValueError: If images and labels do not fit each other or the class names, or an option is
            out of its range.
        TypeError: If images are not uint8, or labels not integers.
    """
    pipeline = Pipeline.checked(
        image_size, batch_size, crop_area, flip, resize, seed, augmentation, transform
    )
    classes = len(class_names)
    return pipeline.data(
        sources.of_arrays(_checked_arrays("train", *train, classes)),
        sources.of_arrays(_checked_arrays("validation", *validation, classes)),
        lambda image, label: (image, label),
        tuple(class_names),
        name=name,
    )


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
        The data, ready for `keras_vit.train.fine_tune` or `model.fit`.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If an option is out of its range.
    """
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
    return from_arrays(
        (train, train_labels),
        (test, test_labels),
        tuple(str(digit) for digit in range(10)),
        image_size,
        batch_size,
        crop_area=crop_area,
        flip=False,
        seed=seed,
        augmentation=augmentation,
        transform=transform,
        name="digits",
    )
