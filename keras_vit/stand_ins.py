"""Small models that tell all that the table of arrays of a large one says.

The arrays of R152x4 are 3.5 GiB; their names and shapes are not worth that. A stand-in has each
kind of block once, and `arrays_of` says which arrays of the whole model one of its arrays is.
"""

from __future__ import annotations

import dataclasses
import re

import keras

from keras_vit.initializers import weights_follow
from keras_vit.variants import BiTConfig, Config, MixerConfig, ViTConfig

# 32 channels after the root are the fewest that a GroupNorm of 32 groups takes.
_NARROW = 0.5
_FEWEST_CHANNELS = 32


def stand_in(
    config: Config, image_size: int, classes: int | None, representation_size: int | None
) -> keras.Model:
    """A model with one block in place of many; a BiT also has few channels and one class.

    Args:
        config: A row of `VARIANTS`.
        image_size: Pixels of a side.
        classes: Outputs of the head; `None` for none.
        representation_size: Width of the `pre_logits` layer, or `None`. Only a ViT has one.
    """
    options = {"include_top": classes is not None, "classes": classes or 0}
    if isinstance(config, BiTConfig):
        # Of a block's units the first has a projection, and all others are alike.
        sizes = tuple(min(size, 2) for size in config.block_sizes)
        small = dataclasses.replace(config, block_sizes=sizes, width_factor=_NARROW)
        options["classes"] = 1
    else:
        small = dataclasses.replace(config, depth=min(config.depth, 1))
        if isinstance(config, ViTConfig):
            options["representation_size"] = representation_size
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
