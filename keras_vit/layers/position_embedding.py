"""Position embeddings: the layer, and how they are resampled to another image size."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_vit.layers.base.initializers import random_start
from keras_vit.utils.backend import ops
from keras_vit.utils.checks import as_pair, check_choice

INTERPOLATIONS = ("bilinear", "bicubic", "bicubic_antialias")


def interpolation_matrix(
    old: int, new: Any, xp: Any, dtype: str, interpolation: str = "bilinear"
) -> Any:
    """Interpolation from `old` to `new` points, as a matrix.

    `"bilinear"` aligns the corners, as Google's code does: output point i lies at
    `i * (old - 1) / (new - 1)` of the old points, and takes each by how near it is,
    `max(0, 1 - distance)`. The others align the edges, at `(i + 0.5) * old / new`, and weigh by
    Keys' cubic, as PyTorch's `interpolate` does: `"bicubic"` (Hugging Face) takes the four
    nearest points and repeats the border; `"bicubic_antialias"` (timm) widens the cubic to the
    new spacing where that is larger, and leaves out what is beyond the border.

    Args:
        old: Number of old points.
        new: Number of new points; may be a tensor when `xp` is `keras.ops`.
        xp: `numpy` or `keras.ops`.
        dtype: Floating-point dtype of the result.
        interpolation: One of `INTERPOLATIONS`.

    Returns:
        A `[new, old]` matrix whose rows sum to 1.
    """
    target = xp.arange(new, dtype=dtype)[:, None]
    source = xp.arange(old, dtype=dtype)[None, :]
    count = xp.cast(new, dtype) if xp is ops else new
    if interpolation == "bilinear":
        span = xp.maximum(count, 2) - 1  # new = 1 reads point 0
        return xp.maximum(1 - xp.abs(target * ((old - 1) / span) - source), 0)
    scale = old / count
    position = (target + 0.5) * scale - 0.5
    if interpolation == "bicubic_antialias":
        weights = _cubic((source - position) / xp.maximum(scale, 1), -0.5, xp)
        return weights / xp.sum(weights, axis=1, keepdims=True)
    first = xp.floor(position) - 1
    return sum(
        xp.where(
            xp.clip(first + n, 0, old - 1) == source, _cubic(first + n - position, -0.75, xp), 0
        )
        for n in range(4)
    )


def _cubic(distance: Any, a: float, xp: Any) -> Any:
    """Keys' cubic of a distance (IEEE ASSP 29, 1981); `a` is its slope at 1."""
    x = xp.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return xp.where(x <= 1, near, xp.where(x < 2, far, 0))


def resample_position_embedding(
    embedding: Any,
    old_grid: tuple[int, int],
    new_grid: tuple[int, int],
    num_prefix_tokens: int = 1,
    interpolation: str = "bilinear",
) -> np.ndarray:
    """Resamples a position embedding to another grid.

    `"bilinear"` is `interpolate_posembed` of google-research/vision_transformer, which takes
    square grids; this takes any. The others are timm's and Hugging Face's.

    Args:
        embedding: `[1, num_prefix_tokens + rows * columns, D]`, floating point.
        old_grid: (rows, columns) of `embedding`, in patches.
        new_grid: (rows, columns) wanted.
        num_prefix_tokens: How many leading positions belong to no patch (the class token);
            they are kept as they are.
        interpolation: As in `interpolation_matrix`.

    Returns:
        A NumPy array `[1, num_prefix_tokens + new_rows * new_columns, D]` of the same dtype.

    Raises:
        ValueError: If `embedding` does not have the positions that `old_grid` says.
    """
    check_choice("interpolation", interpolation, INTERPOLATIONS)
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
    vertical = interpolation_matrix(rows, new_rows, np, "float64", interpolation)
    horizontal = interpolation_matrix(columns, new_columns, np, "float64", interpolation)
    grid = np.einsum("Rr,rcd,Cc->RCd", vertical, grid, horizontal, optimize=True)
    grid = grid.reshape(1, new_rows * new_columns, -1).astype(array.dtype)
    return np.concatenate([prefix, grid], axis=1)


def sincos2d(grid_size: tuple[int, int], width: int, num_prefix_tokens: int = 0) -> np.ndarray:
    """The positions that big_vision computes for `posemb="sincos2d"` (arXiv 2205.01580).

    A quarter of the channels each has the sine and the cosine of the column, then those of the row,
    times frequencies from 1 down to 1/10000.

    Args:
        grid_size: (rows, columns), in patches.
        width: Channels, a multiple of four, and at least eight.
        num_prefix_tokens: Tokens before the patches, whose positions are zero.

    Returns:
        `[1, num_prefix_tokens + rows * columns, width]`, float32.
    """
    if width % 4 or width < 8:
        raise ValueError(
            "sincos2d positions need a width that is a multiple of 4, and at least 8. Received: "
            f"width={width}"
        )
    rows, columns = np.indices(grid_size).reshape(2, -1, 1)
    frequencies = 10_000.0 ** -np.linspace(0, 1, width // 4)
    angles = columns * frequencies, rows * frequencies  # each [N, width / 4]
    waves = np.concatenate([wave(angle) for angle in angles for wave in (np.sin, np.cos)], axis=1)
    return np.pad(waves, ((num_prefix_tokens, 0), (0, 0)))[None].astype("float32")


def resample_in_graph(
    grid: Any, new_rows: Any, new_columns: Any, interpolation: str = "bilinear"
) -> Any:
    """The same for a `[rows, columns, D]` tensor inside a model; the new size may be a tensor.

    Returns:
        `[1, new_rows * new_columns, D]`.
    """
    rows, columns, width = grid.shape
    matrices = (
        interpolation_matrix(old, new, ops, "float32", interpolation)
        for old, new in ((rows, new_rows), (columns, new_columns))
    )
    vertical, horizontal = matrices  # [R, r] and [C, c]
    grid = ops.matmul(vertical, ops.reshape(grid, (rows, columns * width)))  # [R, c * D]
    grid = ops.matmul(horizontal, ops.reshape(grid, (-1, columns, width)))  # [R, C, D]
    return ops.reshape(grid, (1, -1, width))


@keras.saving.register_keras_serializable(package="keras_vit")
class PositionEmbedding(keras.layers.Layer):
    """Adds a learned position to every token.

    The weight covers one grid of patches. For another grid it is resampled on the way
    (paper section 3.2): in the graph when an image of another size
    arrives, or once when weights of another size are loaded from a Keras file.

    Args:
        grid_size: (rows, columns) of the weight, in patches.
        num_prefix_tokens: Leading tokens that are no patches (1 for the class token).
        initializer: Initial value; normal with standard deviation .02 in the original.
        interpolation: How it is resampled: `"bilinear"` (the original), `"bicubic"` or
            `"bicubic_antialias"`; see `interpolation_matrix`.

    Input: tokens `[B, P + N, D]`, and optionally the `[B, rows, columns, D]` grid of
    `PatchEmbed`, which says what size has arrived.
    Output: `[B, P + N, D]`.
    """

    def __init__(
        self,
        grid_size: int | tuple[int, int],
        num_prefix_tokens: int = 1,
        initializer: Any = None,
        interpolation: str = "bilinear",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.grid_size = as_pair(grid_size, "grid_size")
        self.num_prefix_tokens = num_prefix_tokens
        self.interpolation = check_choice("interpolation", interpolation, INTERPOLATIONS)
        self.initializer = keras.initializers.get(
            keras.initializers.RandomNormal(stddev=0.02) if initializer is None else initializer
        )

    def build(self, tokens_shape: Any, grid_shape: Any = None) -> None:
        rows, columns = self.grid_size
        length = self.num_prefix_tokens + rows * columns
        if grid_shape is None and tokens_shape[1] not in (None, length):
            raise ValueError(
                f"Expected {self.num_prefix_tokens} + {rows} * {columns} = {length} tokens for "
                f"grid_size={self.grid_size}. Received: tokens_shape={tuple(tokens_shape)}"
            )
        self.embedding = self.add_weight(
            name="embedding",
            shape=(1, length, tokens_shape[-1]),
            initializer=random_start(self.initializer),
        )

    def call(self, tokens: Any, grid: Any = None) -> Any:
        embedding = ops.convert_to_tensor(self.embedding)
        if grid is None or tuple(grid.shape[1:3]) == self.grid_size:
            return tokens + embedding
        _, rows, columns, width = ops.shape(grid)
        prefix = embedding[:, : self.num_prefix_tokens]
        patches = ops.reshape(embedding[:, self.num_prefix_tokens :], (*self.grid_size, width))
        patches = resample_in_graph(ops.cast(patches, "float32"), rows, columns, self.interpolation)
        patches = ops.cast(patches, tokens.dtype)
        return tokens + ops.concatenate([prefix, patches], axis=1)

    def compute_output_shape(self, tokens_shape: Any, grid_shape: Any = None) -> Any:
        return tokens_shape

    def save_own_variables(self, store: Any) -> None:
        store["embedding"] = self.embedding
        store["grid_size"] = np.array(self.grid_size, "int32")
        store["interpolation"] = np.array(INTERPOLATIONS.index(self.interpolation), "int32")

    def load_own_variables(self, store: Any) -> None:
        rows, columns = (int(n) for n in np.asarray(store["grid_size"]))
        self.embedding.assign(
            resample_position_embedding(
                np.asarray(store["embedding"]),
                (rows, columns),
                self.grid_size,
                self.num_prefix_tokens,
                self.interpolation,
            )
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "grid_size": self.grid_size,
            "num_prefix_tokens": self.num_prefix_tokens,
            "initializer": keras.initializers.serialize(self.initializer),
            "interpolation": self.interpolation,
        }
