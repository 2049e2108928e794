"""Fits the arrays of a file to a model that is made for other images."""

from __future__ import annotations

import math
import warnings
from typing import Any

import keras
import numpy as np

from keras_vit.checkpoints.info.vit import ViTInfo
from keras_vit.checkpoints.model_variables import layers_of
from keras_vit.checkpoints.names.keys import Key
from keras_vit.checkpoints.names.layouts import POSITIONS, shape_read, shape_written
from keras_vit.layers import PatchEmbed, PositionEmbedding
from keras_vit.layers.position_embedding import resample_position_embedding, sincos2d

POSITION_EMBEDDING = "position_embedding/embedding"


def positions_for(
    model: keras.Model,
    array: np.ndarray,
    info: ViTInfo,
    image_size: tuple[int, int] | None,
    trained_at: tuple[int, int] | None,
    file: str,
) -> np.ndarray:
    """The position embedding of a file, resampled to the grid of a model (paper, section 3.2).

    Args:
        model: A Vision Transformer.
        array: What the file has, `[1, rows, D]`.
        info: The architecture in the file.
        image_size: (rows, columns) in pixels that were asked for, or `None`.
        trained_at: The same, where the user says that the file was trained at that size.
        file: Its name, for a warning.

    Returns:
        `[1, positions of the model, D]`.
    """
    layer: Any = layers_of(model, PositionEmbedding)[0]
    patch_size = layers_of(model, PatchEmbed)[0].patch_size
    stride = info.config.stride // info.config.patch_size * patch_size
    here = tuple(n * stride for n in layer.grid_size)
    known = trained_at is not None
    positions, grid = info.grid_size(image_size or here, trained_at=known)
    if not (known or info.saved_grid):
        _warn_of_grids(file, grid, layer.grid_size, here)
    if positions < info.num_class_tokens:
        shape = (1, info.num_class_tokens - positions, array.shape[2])
        array = np.concatenate([np.zeros(shape, array.dtype), array], axis=1)
    return resample_position_embedding(
        array, grid, layer.grid_size, layer.num_prefix_tokens, layer.interpolation
    )


def computed_positions(model: keras.Model) -> np.ndarray:
    """The sincos2d positions of big_vision for the grid of a model, `[1, positions, D]`."""
    layer: Any = layers_of(model, PositionEmbedding)[0]
    return sincos2d(layer.grid_size, layer.embedding.shape[-1], layer.num_prefix_tokens)


def shape_needed(
    key: Key, variable: tuple[int, ...], shape: tuple[int, ...], num_heads: int
) -> tuple[int, ...] | None:
    """The shape that an array must have instead of `shape`, or `None` if that one will do."""
    needed = shape_written(key.layout, variable, num_heads)
    if key.part is not None:
        needed = (needed[0] * key.part[1], *needed[1:])
    if shape == needed:
        return None
    found = shape_read(key.layout, shape)
    if key.layout in POSITIONS and found is not None and (*found[:1], *found[2:]) == (
        variable[0], variable[2]
    ):  # fmt: skip
        return None  # another grid, which is resampled
    if key.layout in ("group_norm", "norm") and shape in (variable, (1, 1, 1, *variable)):
        return None
    return needed


def _warn_of_grids(file: str, grid: tuple[int, int], wanted: tuple[int, int], size: Any) -> None:
    """Says which of two grids is taken, where the positions fit that of the model as they are."""
    if grid == wanted or math.prod(grid) != math.prod(wanted):
        return
    (rows, columns), (new_rows, new_columns) = grid, wanted
    warnings.warn(
        f"The positions in {file!r} are taken for a grid of {rows} x {columns} "
        f"patches, and resampled to {new_rows} x {new_columns}. If the file was trained at "
        f"{new_rows} x {new_columns}, load it with `keras_vit.load_weights(model, path, "
        f"image_size={size})`.",
        stacklevel=5,
    )
