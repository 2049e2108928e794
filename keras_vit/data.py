"""Image data sets to train and validate on: a folder of photos, a TFDS name, or the digits.

Each becomes an `ImageData`, whose `tf.data` pipelines give float32 images in [0, 255] and
integer labels, for models with `include_preprocessing=True`. What happens at random follows
from one `seed`, whatever the number of threads.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from keras_vit import images
from keras_vit.folders import class_folders, find_splits, hold_out
from keras_vit.pipeline import ImageData, Pipeline

__all__ = ["ImageData", "digits", "from_folder", "from_tfds"]


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

    Returns:
        The data, ready for `keras_vit.train.fine_tune` or `model.fit`.

    Raises:
        ValueError: If the folder is not as described, a class has no image that can be read,
            an image cannot be read, or an option is out of its range.
    """
    pipeline = Pipeline.checked(image_size, batch_size, crop_area, flip, resize, seed)
    if on_error not in ("raise", "skip"):
        raise ValueError(f"`on_error` must be 'raise' or 'skip'. Received: on_error={on_error!r}")
    if not 0 < validation_share < 1:
        raise ValueError(
            f"`validation_share` must be in (0, 1). Received: validation_share={validation_share!r}"
        )
    folder = Path(folder)
    train_folder, validation_folder = find_splits(folder)
    classes = class_folders(train_folder)
    files = {train_folder: {name: images.find_images(path) for name, path in classes.items()}}
    if validation_folder is not None:
        others = class_folders(validation_folder)
        if set(others) != set(classes):
            raise ValueError(
                f"{train_folder.name} and {validation_folder.name} must hold the same classes. "
                f"Only in {train_folder.name}: {sorted(set(classes) - set(others))}; only in "
                f"{validation_folder.name}: {sorted(set(others) - set(classes))}"
            )
        files[validation_folder] = {n: images.find_images(p) for n, p in others.items()}

    paths = [path for of_class in files.values() for found in of_class.values() for path in found]
    photos, unreadable = images.check_images(paths, progress=progress)
    if unreadable:
        _report_unreadable(folder, unreadable, on_error)
    readable = {photo.path: photo for photo in photos}
    sets = []
    for split, of_class in files.items():
        for name, found in of_class.items():
            if not any(path in readable for path in found):
                reason = "its files cannot be read" if found else "it holds no images"
                raise ValueError(
                    f"The class folder {split / name} has no image to use: {reason}. Put images "
                    f"({', '.join(images.ENDINGS)}) into it, or remove it."
                )
        sets.append(
            [
                (readable[path], label)
                for label, found in enumerate(of_class.values())
                for path in found
                if path in readable
            ]
        )
    if validation_folder is None:
        sets = hold_out(sets[0], validation_share, seed)
        if not sets[1]:
            raise ValueError(
                "Every class has one image only, so that none is left to validate on. Add "
                f"images, or a `validation` folder beside `train`. Received: folder={folder}"
            )
    train, validation = (images.photo_dataset(*zip(*pairs, strict=True)) for pairs in sets)

    def read(path: Any, orientation: Any, by_pillow: Any, label: Any) -> Any:
        return images.read_photo(path, orientation, by_pillow), label

    return pipeline.data(
        train,
        validation,
        read,
        len(sets[0]),
        len(sets[1]),
        class_names=tuple(classes),
        name=folder.resolve().name,
        unreadable=tuple(str(path.relative_to(folder)) for path in unreadable),
    )


def _report_unreadable(folder: Path, unreadable: dict[Path, str], on_error: str) -> None:
    names = "".join(f"\n  {p.relative_to(folder)}: {why}" for p, why in unreadable.items())
    if on_error == "raise":
        raise ValueError(
            f"{len(unreadable)} images in {folder} cannot be read. Mend or remove them, or pass "
            f"on_error='skip' (--on-error skip) to leave them out:{names}"
        )
    warnings.warn(
        f"{len(unreadable)} images in {folder} cannot be read and are left out:{names}",
        stacklevel=3,
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

    Returns:
        The data, ready for `keras_vit.train.fine_tune` or `model.fit`.

    Raises:
        ImportError: If tensorflow-datasets is not installed.
        ValueError: If there is no such data set or split, it has no images with one label
            each, or an option is out of its range.
    """
    from keras_vit import tfds_source

    pipeline = Pipeline.checked(image_size, batch_size, crop_area, flip, resize, seed)
    source = tfds_source.load(name, train_split, validation_split, data_dir)
    return pipeline.data(
        source.train,
        source.validation,
        source.read,
        source.num_train,
        source.num_validation,
        class_names=source.class_names,
        name=name,
    )


def digits(
    image_size: int | tuple[int, int] = 40,
    batch_size: int = 64,
    *,
    crop_area: tuple[float, float] = (0.8, 1.0),
    seed: int = 0,
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

    pipeline = Pipeline.checked(image_size, batch_size, crop_area, False, "squash", seed)
    grey, labels = load_digits(return_X_y=True)  # [1797, 64] in [0, 16]
    grey = np.pad(grey.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    pixels = np.repeat(grey[..., None] * (255 / 16), 3, axis=-1)  # [1797, 10, 10, 3]
    pixels = np.clip(tf.image.resize(pixels, (40, 40), "bicubic").numpy(), 0, 255).astype("uint8")
    train, test, train_labels, test_labels = train_test_split(
        pixels, labels.astype("int32"), test_size=360, stratify=labels, random_state=0
    )
    return pipeline.data(
        tf.data.Dataset.from_tensor_slices((train, train_labels)),
        tf.data.Dataset.from_tensor_slices((test, test_labels)),
        lambda image, label: (image, label),
        len(train),
        len(test),
        class_names=tuple(str(digit) for digit in range(10)),
        name="digits",
    )
