"""Photos to calibrate with and to compare on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from keras_vit.data.image_files import find_images
from keras_vit.utils.checks import as_pair


def photos_of(
    folder: str | os.PathLike[str], image_size: tuple[int, int], class_names: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray | None]:
    """Photos of a folder, squashed to a size, and their classes.

    Args:
        folder: With photos, or with a folder of them for each class.
        image_size: (rows, columns) in pixels.
        class_names: Of the model. Where every photo lies in a folder of one of these names, that
            is its class.

    Returns:
        uint8 `[N, rows, columns, 3]`, and int `[N]` or `None`.

    Raises:
        ValueError: If there is no photo.
    """
    paths = find_images(Path(folder))
    if not paths:
        raise ValueError(f"There is no photo in {str(folder)!r} (JPEG, PNG, BMP, GIF or WebP).")
    size = as_pair(image_size, "image_size")
    pixels = np.stack(
        [
            keras.utils.img_to_array(
                keras.utils.load_img(path, target_size=size, interpolation="bilinear"),
                dtype="uint8",
            )
            for path in paths
        ]
    )
    index = {name: i for i, name in enumerate(class_names)}
    folders = [path.parent.name for path in paths]
    known = all(name in index for name in folders)
    return pixels, np.array([index[name] for name in folders]) if known else None
