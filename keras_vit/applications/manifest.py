"""Names and shapes of the arrays in Google's released files, without building the models."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import Any

import keras

from keras_vit.checkpoints.checkpoint import Checkpoint, is_float
from keras_vit.checkpoints.model_arrays import Arrays
from keras_vit.layers.base.initializers import weights_follow
from keras_vit.models import VARIANTS, BiTConfig, MixerConfig, ViTConfig
from keras_vit.models.variants import Config


def manifest(
    config: Config,
    image_size: int = 224,
    classes: int | None = 1000,
    representation_size: int | None = None,
    class_token: bool = True,
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all arrays of a released checkpoint, without building the model.

    Args:
        config: A row of `VARIANTS`.
        image_size: Pixels of a side.
        classes: Outputs of the head; `None` for none.
        representation_size: Width of the `pre_logits` layer, or `None`. Only a ViT has one.
        class_token: Whether a ViT has one.
    """
    model = stand_in(config, image_size, classes, representation_size, class_token)
    arrays = Arrays(model, "google")
    expected = {}
    for name, shape in arrays.shapes.items():
        expected |= arrays_of(config, name, shape, classes)
    return expected


def check_released_file(path: str | os.PathLike[str], released: Any) -> None:
    """Checks that a file has exactly the arrays of a row of `released.RELEASED`.

    Args:
        path: An `.npz`.
        released: The row: `variant`, `classes` (or `None`), `image_size`, `representation_size`,
            `class_token`.

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
        options = released.representation_size, released.class_token
        expected = manifest(config, released.image_size, classes, *options)
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


# 32 channels after the root are the fewest that a GroupNorm of 32 groups takes.
_NARROW = 0.5
_FEWEST_CHANNELS = 32


def stand_in(
    config: Config,
    image_size: int,
    classes: int | None,
    representation_size: int | None,
    class_token: bool = True,
) -> keras.Model:
    """A model with one block in place of many; a BiT also has few channels and one class.

    Args:
        config: A row of `VARIANTS`.
        image_size: Pixels of a side.
        classes: Outputs of the head; `None` for none.
        representation_size: Width of the `pre_logits` layer, or `None`. Only a ViT has one.
        class_token: Whether a ViT has one.
    """
    options: dict[str, Any] = {"include_top": classes is not None, "classes": classes or 0}
    if isinstance(config, BiTConfig):
        # Of a block's units the first has a projection, and all others are alike.
        sizes = tuple(min(size, 2) for size in config.block_sizes)
        small = dataclasses.replace(config, block_sizes=sizes, width_factor=_NARROW)
        options["classes"] = 1
    else:
        small = dataclasses.replace(config, depth=min(config.depth, 1))
        if isinstance(config, ViTConfig):
            options["representation_size"] = representation_size
            options["classifier"] = "token" if class_token else "gap"
    with weights_follow():
        return config.build(image_size, **small.architecture, **options)


def arrays_of(
    config: Config, name: str, shape: tuple[int, ...], classes: int | None
) -> dict[str, tuple[int, ...]]:
    """The arrays of the whole model that one array of its stand-in tells.

    Args:
        config: The row of `VARIANTS`.
        name: Released name of the array of the stand-in.
        shape: Its shape.
        classes: Outputs of the head of the whole model.

    Returns:
        Released name -> shape.
    """
    if isinstance(config, BiTConfig):
        return _bit_arrays(config, name, shape, classes)
    block = "MixerBlock_" if isinstance(config, MixerConfig) else "Transformer/encoderblock_"
    if not name.startswith(f"{block}0/"):
        return {name: shape}
    rest = name.removeprefix(f"{block}0/")
    return {f"{block}{i}/{rest}": shape for i in range(config.depth)}


def _bit_arrays(
    config: BiTConfig, name: str, shape: tuple[int, ...], classes: int | None
) -> dict[str, tuple[int, ...]]:
    # Every number of channels is proportional to the width factor; those of the image and the
    # sides of a kernel are smaller than any of them.
    scale = config.width_factor / _NARROW
    shape = tuple(int(n * scale) if n >= _FEWEST_CHANNELS else n for n in shape)
    if name.startswith("resnet/head/") and classes is not None:
        shape = (*shape[:-1], classes)
    unit = re.fullmatch(r"(resnet/block(\d+)/unit)02(/.*)", name)
    if unit is None:
        return {name: shape}
    size = config.block_sizes[int(unit[2]) - 1]
    return {f"{unit[1]}{i:02d}{unit[3]}": shape for i in range(2, size + 1)}
