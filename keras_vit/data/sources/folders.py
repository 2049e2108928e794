"""A folder that has one folder of images for each class."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_vit.data import fingerprint, image_files, shuffling
from keras_vit.data.augment.augmentation import Augmentation
from keras_vit.data.image_data import ImageData
from keras_vit.data.image_files import ENDINGS, Photo, check_images, find_images
from keras_vit.data.labelled import LabelledImages
from keras_vit.data.pipeline import Pipeline
from keras_vit.data.random_crop import RandomCrop
from keras_vit.utils.checks import check_choice, check_numbers
from keras_vit.utils.text import printable

# What to do about files that cannot be read.
ON_ERROR = ("raise", "skip")


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
    interpolation: str = "bilinear",
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
        augmentation: `"light1"` to `"strong2"`, the rows of AugReg
            (`keras_vit.recipes.AUGMENTATIONS`), or an `Augmentation` of one's own. With MixUp or
            CutMix, labels become `[B, classes]` float32, for validation too: take
            `CategoricalCrossentropy`. Default: none.
        transform: A Keras or KerasCV preprocessing layer, or a function, for batches of training
            images, float32 `[B, rows, columns, 3]` in [0, 255], that keeps their shape. A layer
            that mixes (`MixUp`, `CutMix`) and a function of (images, labels) get one-hot labels
            as well and give both. It comes after RandAugment and before MixUp. KerasCV's
            layers draw different random numbers after a resume.
        interpolation: How images are resampled, to train too: `"bilinear"` (Google's code) or
            `"bicubic"` (most of timm's models).

    Returns:
        The data, ready for `keras_vit.training.fine_tune` or `model.fit`.

    Raises:
        ValueError: If the folder is not as described, a class has no image that can be read,
            an image cannot be read, or an option is out of its range.
    """
    pipeline = Pipeline(
        image_size, batch_size, crop_area, flip, resize, seed, augmentation, transform,
        interpolation,
    )  # fmt: skip
    found = find_folder(
        folder,
        validation_share=validation_share,
        on_error=on_error,
        seed=seed,
        progress=progress,
    )
    return found.batches(pipeline)


def find_folder(
    folder: str | Path,
    *,
    validation_share: float = 0.2,
    on_error: str = "raise",
    seed: int = 0,
    progress: bool | None = None,
) -> LabelledImages:
    """A folder of class folders as a source; arguments as in `from_folder`."""
    folder = Path(folder)
    photos = find_photos(folder, validation_share, on_error, seed, progress)
    train, validation = (
        shuffling.of_arrays(image_files.photo_arrays(*zip(*pairs, strict=True)))
        for pairs in (photos.train, photos.validation)
    )
    return LabelledImages(
        validation,
        read_labelled,
        photos.class_names,
        folder.resolve().name,
        train,
        photos.unreadable,
        lambda: image_files.first_damaged(
            [photo for photo, _ in (*photos.train, *photos.validation)]
        ),
        fingerprint.of_files(
            folder, [photo.path for photo, _ in (*photos.train, *photos.validation)]
        ),
    )


def read_labelled(
    path: Any,
    orientation: Any,
    by_pillow: Any,
    label: Any,
    number: Any = 0,
    crop: RandomCrop | None = None,
) -> Any:
    """Reads an element of `image_files.photo_arrays`; see `LabelledImages.read`."""
    return image_files.read_photo(path, orientation, by_pillow, crop), label, number


VALIDATION_NAMES = ("validation", "val", "test")


class Photos(NamedTuple):
    """(photo, label) pairs to train and to validate on, the classes, and what cannot be read."""

    train: list[tuple[Photo, int]]
    validation: list[tuple[Photo, int]]
    class_names: tuple[str, ...]
    unreadable: tuple[str, ...]


def find_photos(
    folder: Path, validation_share: float, on_error: str, seed: int, progress: bool | None
) -> Photos:
    """Looks at every image of a folder once; see `keras_vit.data.from_folder`."""
    check_choice("on_error", on_error, ON_ERROR)
    check_numbers("(0, 1)", validation_share=validation_share)
    train_folder, validation_folder = find_splits(folder)
    classes = class_folders(train_folder)
    files = {train_folder: {name: find_images(path) for name, path in classes.items()}}
    if validation_folder is not None:
        others = class_folders(validation_folder)
        if set(others) != set(classes):
            raise ValueError(
                f"{train_folder.name} and {validation_folder.name} must hold the same classes. "
                f"Only in {train_folder.name}: {sorted(set(classes) - set(others))}; only in "
                f"{validation_folder.name}: {sorted(set(others) - set(classes))}"
            )
        files[validation_folder] = {n: find_images(p) for n, p in others.items()}

    paths = [path for of_class in files.values() for found in of_class.values() for path in found]
    photos, unreadable = check_images(paths, progress=progress)
    if unreadable:
        report_unreadable(folder, unreadable, on_error)
    readable = {photo.path: photo for photo in photos}
    sets = []
    for split, of_class in files.items():
        for name, found in of_class.items():
            if not any(path in readable for path in found):
                reason = "its files cannot be read" if found else "it holds no images"
                raise ValueError(
                    f"The class folder {split / name} has no image to use: {reason}. Put images "
                    f"({', '.join(ENDINGS)}) into it, or remove it."
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
    return Photos(
        sets[0],
        sets[1],
        tuple(classes),
        tuple(str(path.relative_to(folder)) for path in unreadable),
    )


def report_unreadable(folder: Path, unreadable: dict[Path, str], on_error: str) -> None:
    names = "".join(
        f"\n  {printable(path.relative_to(folder))}: {why}" for path, why in unreadable.items()
    )
    if on_error == "raise":
        raise ValueError(
            f"{len(unreadable)} images in {folder} cannot be read. Repair or remove them, or pass "
            f"on_error='skip' (--on-error skip) to leave them out:{names}"
        )
    warnings.warn(
        f"{len(unreadable)} images in {folder} cannot be read and are left out:{names}",
        stacklevel=4,
    )


def find_splits(folder: Path) -> tuple[Path, Path | None]:
    """The folder to train on, and the one to validate on if there is one.

    Raises:
        ValueError: If `folder` is not there, or is no folder.
    """
    if not folder.exists():
        raise ValueError(f"There is no folder {folder}. Received: folder={str(folder)!r}")
    if not folder.is_dir():
        advice = ""
        if zipfile.is_zipfile(folder):
            advice = f" Unzip it first: unzip {folder} -d {folder.with_suffix('')}"
        raise ValueError(f"{folder} is a file; expected a folder of class folders.{advice}")
    by_name = {path.name.lower(): path for path in folders_in(folder)}
    train = by_name.get("train")
    # A class may be called "train": then there are images in it, and no folders.
    if train is None or not folders_in(train):
        return folder, None
    return train, next((by_name[name] for name in VALIDATION_NAMES if name in by_name), None)


def class_folders(folder: Path) -> dict[str, Path]:
    """Name and folder of every class, sorted by name.

    Raises:
        ValueError: If there are fewer than two.
    """
    classes = {path.name: path for path in folders_in(folder)}
    if len(classes) >= 2:
        return classes
    if classes:
        (only,) = classes.values()
        what = f"holds one class only, {only.name!r}"
        inside = len(folders_in(only))
        advice = f" Did you mean {only}, which holds {inside} folders?" if inside > 1 else ""
    else:
        count = sum(path.suffix.lower() in ENDINGS for path in folder.iterdir())
        what = f"holds {count} images but no class folders" if count else "holds no class folders"
        advice = ""
    raise ValueError(
        f"{folder} {what}. Expected a folder for each of at least two classes, with the images "
        f"of the class in it: {folder.name}/cat/1.jpg, {folder.name}/dog/1.jpg.{advice}"
    )


def folders_in(folder: Path) -> list[Path]:
    """Sorted; without hidden folders and what macOS leaves in zip files."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name != "__MACOSX"
    )


def hold_out(
    examples: Sequence[tuple[Any, int]], share: float, seed: int
) -> tuple[list[tuple[Any, int]], list[tuple[Any, int]]]:
    """Splits (item, label) pairs in two, class by class; the same seed splits alike.

    Args:
        examples: The pairs.
        share: Of every class, rounded, at least one, that goes into the second part. A class
            with a single image stays in the first.
        seed: Chooses which.

    Returns:
        The first part and the second, each in the order of `examples`.
    """
    labels = np.array([label for _, label in examples])
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(share * len(members))), len(members) - 1)
        held[members[:count]] = True
    first = [pair for pair, out in zip(examples, held, strict=True) if not out]
    second = [pair for pair, out in zip(examples, held, strict=True) if out]
    return first, second
