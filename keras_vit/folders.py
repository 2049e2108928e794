"""Folders of class folders: finding the splits and the classes, and holding images out."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_vit.images import ENDINGS

VALIDATION_NAMES = ("validation", "val", "test")


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
    by_name = {path.name.lower(): path for path in _folders_in(folder)}
    train = by_name.get("train")
    # A class may be called "train": then there are images in it, and no folders.
    if train is None or not _folders_in(train):
        return folder, None
    return train, next((by_name[name] for name in VALIDATION_NAMES if name in by_name), None)


def class_folders(folder: Path) -> dict[str, Path]:
    """Name and folder of every class, sorted by name.

    Raises:
        ValueError: If there are fewer than two.
    """
    classes = {path.name: path for path in _folders_in(folder)}
    if len(classes) >= 2:
        return classes
    if classes:
        (only,) = classes.values()
        what = f"holds one class only, {only.name!r}"
        inside = len(_folders_in(only))
        advice = f" Did you mean {only}, which holds {inside} folders?" if inside > 1 else ""
    else:
        count = sum(path.suffix.lower() in ENDINGS for path in folder.iterdir())
        what = f"holds {count} images but no class folders" if count else "holds no class folders"
        advice = ""
    raise ValueError(
        f"{folder} {what}. Expected a folder for each of at least two classes, with the images "
        f"of the class in it: {folder.name}/cat/1.jpg, {folder.name}/dog/1.jpg.{advice}"
    )


def _folders_in(folder: Path) -> list[Path]:
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
