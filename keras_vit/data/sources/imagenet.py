"""Folders of images to evaluate on, above all ImageNet's validation set.

    val/n01440764/ILSVRC2012_val_00000293.JPEG   a folder for each class, by its WordNet id
    val/0/..., val/999/...                       or by its index
    val/ILSVRC2012_val_00000001.JPEG             all in one folder, and a file of `TRUTHS` near it
    000_n01440764_tench.JPEG                     the class in the name of the file

and any other folder of class folders. Nothing is guessed: what a name or a file does not say is an
error.
"""

from __future__ import annotations

import csv
import fnmatch
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_vit.data import image_files, shuffling
from keras_vit.data.image_files import ENDINGS, find_images
from keras_vit.data.labelled import LabelledImages
from keras_vit.data.preprocessing import labels
from keras_vit.data.sources.folders import (
    ON_ERROR,
    VALIDATION_NAMES,
    class_folders,
    find_splits,
    folders_in,
    read_labelled,
    report_unreadable,
)
from keras_vit.utils.checks import check_choice

# `000_n01440764_tench.JPEG`, `n01440764_10026.JPEG`.
_CLASS_FIRST = re.compile(r"((?:\d+_)?n\d{8})_.*")
META_FILE = "meta.mat"
DEVKIT = "ILSVRC2012_devkit_t12/data"


# In Python's language of patterns and in that of `tf.strings`.
NUMBERED = r"ILSVRC2012_val_(\d{8})"
IMAGES = 50_000


def image_number(name: str) -> int:
    """The number in the name of a validation image, 1 to 50,000; 0 of any other file."""
    found = re.search(NUMBERED, name)
    number = int(found[1]) if found else 0
    return number if number <= IMAGES else 0


def find_images_to_evaluate(
    folder: str | Path,
    *,
    truth: str | Path | None = None,
    on_error: str = "raise",
    progress: bool | None = None,
) -> LabelledImages:
    """A folder of labelled images as a source to evaluate on.

    Args:
        folder: As in `find_labelled`.
        truth: As in `find_labelled`.
        on_error: `"raise"` an error that names all files that cannot be read, or `"skip"` them
            with a warning that does.
        progress: Whether to show a progress bar while looking at the files. Default: when the
            output is a terminal.

    Raises:
        ValueError: If no image can be read, or as `find_labelled`.
    """
    check_choice("on_error", on_error, ON_ERROR)
    folder = Path(folder)
    found = find_labelled(folder, None if truth is None else Path(truth))
    class_of = dict(found.images)
    photos, unreadable = image_files.check_images(list(class_of), progress=progress)
    if unreadable:
        report_unreadable(found.folder, unreadable, on_error)
    if not photos:
        raise ValueError(f"None of the {len(class_of)} images of {found.folder} can be read.")
    known = sorted({name for name in class_of.values() if name is not None})
    index: dict[str | None, int] = {None: -1, **{name: i for i, name in enumerate(known)}}
    arrays = image_files.photo_arrays(photos, [index[class_of[photo.path]] for photo in photos])
    numbers = np.array([image_number(photo.path.name) for photo in photos], "int32")
    name = found.folder.resolve().name
    if found.folder != folder:  # a split in it
        name = f"{folder.resolve().name}/{name}"
    by = "" if found.truth is None else f", classes of {found.truth.name}"
    return LabelledImages(
        shuffling.of_arrays((*arrays, numbers)),
        read_labelled,
        tuple(known),
        name + by,
        unreadable=tuple(str(path.relative_to(found.folder)) for path in unreadable),
        find_damage=lambda: image_files.first_damaged(photos),
    )


class Labelled(NamedTuple):
    """Paths of images, sorted, and the name of the class of each; see `find_labelled`."""

    images: list[tuple[Path, str | None]]
    folder: Path
    truth: Path | None = None


def find_labelled(folder: Path, truth: Path | None = None) -> Labelled:
    """The images of a folder, and the name of the class of each.

    Args:
        folder: As above; or one that holds such a folder called `validation`, `val` or `test`.
        truth: A file that says what the images of a flat folder show. Default: that one of
            `TRUTHS` which lies where the archives of ImageNet put it.

    Returns:
        (path, name of the class) of each image, the folder that they are in, and the file that
        says so, if there is one. The names are `None` if only the numbers of the images are
        known, by which they have ReaL labels.

    Raises:
        ValueError: If the folder is none of these, or the class of an image is not to be found.
    """
    folder = _evaluated(folder)
    flat = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in ENDINGS]
    in_name = [_CLASS_FIRST.fullmatch(path.stem) for path in flat]
    if truth is not None or (flat and all(image_number(path.name) for path in flat)):
        if not flat:
            raise ValueError(
                "`truth` goes with a folder that holds the images themselves. Received: "
                f"{folder}, without images, and truth={str(truth)!r}"
            )
        return _by_truth(flat, folder, truth)
    if flat and all(in_name):
        return Labelled([(p, m[1]) for p, m in zip(flat, in_name, strict=True) if m], folder)
    if flat and not folders_in(folder):
        strange = next(p for p, m in zip(flat, in_name, strict=True) if not m)
        raise ValueError(
            f"{folder} holds {len(flat)} images and no class folders, and the file names do not "
            f"say the classes: {strange.name} for example. Put the images into a folder for each "
            "class, or pass `truth` (--truth), a file with a file name and its class in each line."
        )
    pairs = [
        (path, name) for name, of_class in class_folders(folder).items()
        for path in find_images(of_class)
    ]  # fmt: skip
    if not pairs:
        raise ValueError(
            f"The class folders of {folder} hold no images ({', '.join(ENDINGS)}). Put some in."
        )
    if all(image_number(path.name) and _is_index(name) for path, name in pairs):
        # Indices of ImageNet's classes, whatever the head of the model.
        pairs = [(path, _wordnet_id(name, folder)) for path, name in pairs]
    return Labelled(list(pairs), folder)


def _evaluated(folder: Path) -> Path:
    """The folder itself, or the validation folder in it."""
    find_splits(folder)  # says what is wrong with a file, or with none
    by_name = {path.name.lower(): path for path in folders_in(folder)}
    for name in VALIDATION_NAMES:
        inside = by_name.get(name)
        # A class may be called "test": then there are images in it whose names say nothing.
        if inside is not None and (
            folders_in(inside) or any(image_number(path.name) for path in inside.iterdir())
        ):
            return inside
    train = by_name.get("train")
    if train is not None and folders_in(train):
        raise ValueError(
            f"{folder} has no folder to evaluate on ({', '.join(VALIDATION_NAMES)}), only "
            f"`train`. Pass {train} to evaluate on the images to train on."
        )
    return folder


def _by_truth(paths: Sequence[Path], folder: Path, truth: Path | None) -> Labelled:
    if truth is None:
        near = [
            folder / place / name for place in PLACES for name in TRUTHS
            if (folder / place / name).is_file()
        ]  # fmt: skip
        found = [(path, read) for path in near if (read := _read_truth(path)) is not None]
        if not found:
            return Labelled([(path, None) for path in paths], folder)
        truth, classes = found[0]
    elif not truth.is_file():
        raise ValueError(f"There is no file {truth}. Received: truth={str(truth)!r}")
    else:
        classes = _read_truth(truth)
        if classes is None:
            raise ValueError(
                f"{truth} numbers the images and does not say their classes. (ImageSets/CLS-LOC/"
                "val.txt is such a file.) Pass LOC_val_solution.csv of the same download."
            )
    missing = [path.name for path in paths if path.stem not in classes]
    if missing:
        raise ValueError(
            f"{truth} must say the class of each image. Not in it: {', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}, {len(missing)} of {len(paths)}."
        )
    return Labelled([(path, classes[path.stem]) for path in paths], folder, truth)


def _read_truth(path: Path) -> dict[str, str] | None:
    """Name of a file, without its ending -> name of its class; `None` of a list of files only."""
    reader = next(
        (read for name, read in TRUTHS.items() if fnmatch.fnmatch(path.name, name)), _pairs
    )
    return reader(path)


def _pairs(path: Path) -> dict[str, str] | None:
    """Lines of a file name and a class: WordNet id, any name, or ImageNet's index from 0 on."""
    classes: dict[str, str] = {}
    for number, line in enumerate(_lines(path), start=1):
        parts = line.split(maxsplit=1)
        if len(parts) != 2:
            raise ValueError(
                f"Line {number} of {path} must be a file name and a class. Received: {line!r}"
            )
        classes[_stem(parts[0])] = parts[1].strip()
    if classes and all(_is_index(c) and int(c) == image_number(s) for s, c in classes.items()):
        return None
    return {
        stem: _wordnet_id(name, path) if image_number(stem) and _is_index(name) else name
        for stem, name in classes.items()
    }


def _solution(path: Path) -> dict[str, str]:
    """Kaggle's table: `ILSVRC2012_val_00048981,n03995372 85 1 499 272`, the class before boxes."""
    classes = {}
    for row in csv.DictReader(_lines(path)):
        boxes = (row.get("PredictionString") or "").split()
        if not row.get("ImageId") or not boxes:
            raise ValueError(
                f"{path} must have the columns ImageId and PredictionString, both filled. "
                f"Received: {dict(row)}"
            )
        classes[_stem(row["ImageId"])] = boxes[0]
    return classes


def _ground_truth(path: Path) -> dict[str, str]:
    """The devkit's: a line for each image, in the order of their numbers, with an id of its own
    that only its `meta.mat` explains."""
    ids = _lines(path)
    meta = path.with_name(META_FILE)
    if not meta.is_file():
        raise ValueError(
            f"{path.name} numbers the classes in the devkit's own order, which its {META_FILE} "
            f"explains. Put this file into {path.parent}. It is in ILSVRC2012_devkit_t12.tar.gz"
        )
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ImportError(
            f"{path.name} needs {meta}, a MATLAB file. To read it: pip install scipy"
        ) from error
    try:
        rows: Any = loadmat(meta, squeeze_me=True)["synsets"]
        by_id = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows}
    except Exception as error:  # scipy raises all sorts for a damaged file
        raise ValueError(
            f"{meta} must be the devkit's table of classes. Reading it failed: {error!r}"
        ) from error
    strange = next((text for text in ids if not _is_index(text) or int(text) not in by_id), None)
    if strange is not None:
        raise ValueError(
            f"The lines of {path} must be numbers of classes in {META_FILE}. Received: {strange!r}"
        )
    return {f"ILSVRC2012_val_{i:08d}": by_id[int(text)] for i, text in enumerate(ids, start=1)}


# Name of the file -> what reads it; and where such files lie, as seen from the images. The last is
# Kaggle's, whose images are in ILSVRC/Data/CLS-LOC/val.
TRUTHS: dict[str, Callable[[Path], dict[str, str] | None]] = {
    "val_map.txt": _pairs,
    "val.txt": _pairs,
    "LOC_val_solution.csv": _solution,
    "ILSVRC2012_validation_ground_truth.txt": _ground_truth,
}

PLACES = (".", "..", DEVKIT, f"../{DEVKIT}", "../../../..")


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a text file that can be read: {error}") from error
    return [line for line in lines if line.strip()]


def _stem(name: str) -> str:
    """Without folders, and without an ending if it is that of an image."""
    name = name.replace("\\", "/").rsplit("/", maxsplit=1)[-1]
    return name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in ENDINGS else name


def _is_index(name: str) -> bool:
    return re.fullmatch(r"\d{1,8}", name) is not None


def _wordnet_id(index: str, where: Path) -> str:
    ids = labels(1000)
    if int(index) >= len(ids):
        raise ValueError(
            "ImageNet's classes have the indices 0 to 999, in the order of their WordNet ids. "
            f"Received: {index} in {where}"
        )
    return ids[int(index)][0]
