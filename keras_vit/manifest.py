"""Names and shapes of the arrays of Google's released files, without building the models."""

from __future__ import annotations

import os
from typing import Any

from keras_vit.arrays import Arrays
from keras_vit.reading import Checkpoint, is_float
from keras_vit.stand_ins import arrays_of, stand_in
from keras_vit.variants import VARIANTS, Config


def manifest(
    config: Config,
    image_size: int = 224,
    classes: int | None = 1000,
    representation_size: int | None = None,
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all arrays of a released checkpoint, without building the model.

    Args:
        config: A row of `VARIANTS`.
        image_size: Pixels of a side.
        classes: Outputs of the head; `None` for none.
        representation_size: Width of the `pre_logits` layer, or `None`. Only a ViT has one.
    """
    arrays = Arrays(stand_in(config, image_size, classes, representation_size), "google")
    expected = {}
    for name, shape in arrays.shapes.items():
        expected |= arrays_of(config, name, shape, classes)
    return expected


def check_released_file(path: str | os.PathLike[str], released: Any) -> None:
    """Checks that a file has exactly the arrays of a row of `released.RELEASED`.

    Args:
        path: An `.npz`.
        released: The row: `variant`, `classes` (or `None`), `image_size`, `representation_size`.

    Raises:
        ValueError: If a name, a shape or the dtype of an array is not that of the row, or an
            array is damaged.
    """
    config = VARIANTS[released.variant]
    with Checkpoint(path) as checkpoint:
        classes = released.classes
        if classes is None:  # only the file says it
            head = checkpoint.shapes.get("head/bias")
            classes = head[0] if head else None
        expected = manifest(config, released.image_size, classes, released.representation_size)
        shapes = checkpoint.arrays
        lines = [f"  missing: {name}" for name in expected if name not in shapes]
        lines += [f"  unexpected: {name}" for name in shapes if name not in expected]
        lines += [
            f"  wrong shape: {name} is {shapes[name]}, expected {shape}"
            for name, shape in expected.items()
            if name in shapes and _squeezed(shapes[name]) != _squeezed(shape)
        ]
        lines += [
            f"  not floating-point: {name} is {checkpoint.dtype_of(name)}"
            for name in shapes
            if not is_float(checkpoint.dtype_of(name))
        ]
        if lines:
            raise ValueError(
                f"{str(path)!r} does not have the arrays of {released.variant}:\n"
                + "\n".join(sorted(lines))
            )
        checkpoint.verify()


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A GroupNorm is stored with or without leading ones."""
    return shape[-1:] if shape[:-1] == (1, 1, 1) else shape
