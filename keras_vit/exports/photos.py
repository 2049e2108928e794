"""Photos to calibrate with and to compare on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_vit.data.image_files import check_images, find_images, fitted_photos
from keras_vit.utils.checks import as_pair


def photos_of(
    folder: str | os.PathLike[str],
    image_size: int | tuple[int, int],
    class_names: Sequence[str] = (),
    resize: str = "squash",
    interpolation: str = "bilinear",
) -> tuple[np.ndarray, np.ndarray | None]:
    """Photos of a folder at the size of a model, as `keras_vit.predict` prepares them.

    Args:
        folder: With photos, or with a folder of them for each class.
        image_size: Pixels, one number or (rows, columns).
        class_names: Of the model. Where every photo lies in a folder of one of these names, that
            is its class.
        resize: How a photo gets this size, `"squash"` or `"crop"`.
        interpolation: How it is resampled for that, `"bilinear"` or `"bicubic"`.

    Returns:
        uint8 `[N, rows, columns, 3]`, and int `[N]` or `None`.

    Raises:
        ValueError: If there is no photo, or one cannot be read.
    """
    paths = find_images(Path(folder))
    if not paths:
        raise ValueError(f"There is no photo in {str(folder)!r} (JPEG, PNG, BMP, GIF or WebP).")
    photos, unreadable = check_images(paths, progress=False)
    for path, reason in unreadable.items():
        raise ValueError(f"{path} cannot be read: {reason}. Repair or remove it.")
    size = as_pair(image_size, "image_size")
    fitted = fitted_photos(photos, size, resize, interpolation).as_numpy_iterator()
    pixels = np.stack([np.rint(image).astype("uint8") for image in fitted])
    index = {name: i for i, name in enumerate(class_names)}
    folders = [path.parent.name for path in paths]
    known = all(name in index for name in folders)
    return pixels, np.array([index[name] for name in folders]) if known else None
