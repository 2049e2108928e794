"""Sizes in patches, and the resampling of position embeddings to another size.

The paper (section 3.2) fine-tunes at a higher resolution by interpolating the pre-trained
position embeddings in 2-D. The original code does it with `scipy.ndimage.zoom(order=1)`, which
is separable linear interpolation with aligned corners: the outermost positions keep their values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_vit.backend import ops

BORDERS = ("drop", "pad", "error")


def as_pair(size: Any, name: str) -> tuple[int, int]:
    """`224` -> `(224, 224)`; `(192, 256)` stays (rows first, then columns)."""
    pair = (size, size) if isinstance(size, (int, np.integer)) else size
    if (
        not isinstance(pair, (tuple, list))
        or len(pair) != 2
        or not all(isinstance(n, (int, np.integer)) and n > 0 for n in pair)
    ):
        raise ValueError(
            f"`{name}` must be a positive integer or a pair (rows, columns) of positive "
            f"integers. Received: {name}={size!r}"
        )
    return int(pair[0]), int(pair[1])


def patches_along(pixels: Any, patch_size: int, border: str = "drop") -> Any:
    """How many patches fit along a side: whole ones, or one more for the rest with `"pad"`."""
    return -(-pixels // patch_size) if border == "pad" else pixels // patch_size


def interpolation_matrix(old: int, new: Any, xp: Any, dtype: str) -> Any:
    """Linear interpolation with aligned corners from `old` to `new` points, as a matrix.

    Output point i lies at `i * (old - 1) / (new - 1)` of the old points, and takes each old
    point by how near it is: `max(0, 1 - distance)`.

    Args:
        old: Number of old points.
        new: Number of new points; may be a tensor when `xp` is `keras.ops`.
        xp: `numpy` or `keras.ops`.
        dtype: Floating-point dtype of the result.

    Returns:
        A `[new, old]` matrix whose rows sum to 1.
    """
    target = xp.arange(new, dtype=dtype)
    span = xp.maximum(xp.cast(new, dtype) if xp is ops else new, 2) - 1  # new = 1 reads point 0
    position = target * ((old - 1) / span)
    distance = xp.abs(position[:, None] - xp.arange(old, dtype=dtype)[None, :])
    return xp.maximum(1 - distance, 0)


def resample_position_embedding(
    embedding: Any,
    old_grid: tuple[int, int],
    new_grid: tuple[int, int],
    num_prefix_tokens: int = 1,
) -> np.ndarray:
    """Resamples a position embedding to another grid, as the original loader does.

    Source: `interpolate_posembed` of google-research/vision_transformer, which takes square
    grids; this takes any.

    Args:
        embedding: `[1, num_prefix_tokens + rows * columns, D]`, floating point.
        old_grid: (rows, columns) of `embedding`, in patches.
        new_grid: (rows, columns) wanted.
        num_prefix_tokens: How many leading positions belong to no patch (the class token);
            they are kept as they are.

    Returns:
        A NumPy array `[1, num_prefix_tokens + new_rows * new_columns, D]` of the same dtype.

    Raises:
        ValueError: If `embedding` does not have the positions that `old_grid` says.
    """
    array = np.asarray(embedding)
    (rows, columns), (new_rows, new_columns) = (
        as_pair(old_grid, "old_grid"),
        as_pair(new_grid, "new_grid"),
    )
    if array.ndim != 3 or array.shape[1] != num_prefix_tokens + rows * columns:
        raise ValueError(
            f"Expected a position embedding of shape [1, {num_prefix_tokens} + {rows} * "
            f"{columns}, D] for old_grid={(rows, columns)}. Received: shape={array.shape}"
        )
    if (rows, columns) == (new_rows, new_columns):
        return array
    prefix, grid = array[:, :num_prefix_tokens], array[:, num_prefix_tokens:]
    grid = grid.reshape(rows, columns, -1).astype("float64")
    vertical = interpolation_matrix(rows, new_rows, np, "float64")
    horizontal = interpolation_matrix(columns, new_columns, np, "float64")
    grid = np.einsum("Rr,rcd,Cc->RCd", vertical, grid, horizontal, optimize=True)
    grid = grid.reshape(1, new_rows * new_columns, -1).astype(array.dtype)
    return np.concatenate([prefix, grid], axis=1)


def resample_in_graph(grid: Any, new_rows: Any, new_columns: Any) -> Any:
    """The same for a `[rows, columns, D]` tensor inside a model; the new size may be a tensor.

    Returns:
        `[1, new_rows * new_columns, D]`.
    """
    rows, columns, width = grid.shape
    vertical = interpolation_matrix(rows, new_rows, ops, "float32")  # [R, r]
    horizontal = interpolation_matrix(columns, new_columns, ops, "float32")  # [C, c]
    grid = ops.matmul(vertical, ops.reshape(grid, (rows, columns * width)))  # [R, c * D]
    grid = ops.matmul(horizontal, ops.reshape(grid, (-1, columns, width)))  # [R, C, D]
    return ops.reshape(grid, (1, -1, width))
