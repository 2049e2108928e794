"""Rotary positions: queries and keys are turned by angles that say where a patch lies."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from keras_vit.utils.backend import ops

# DINOv3's (arXiv 2508.10104).
ROTARY_BASE = 100.0


def rotated(heads: Any, rotation: Any) -> Any:
    """Turns each pair of channels, one of the first half and one of the second, by its angle.

    Args:
        heads: Queries or keys, `[B, H, N, d]`.
        rotation: What `RotaryEmbedding` gives, `[1, N, d]`.

    Returns:
        `[B, H, N, d]`.
    """
    cos, sin = ops.split(rotation, 2, axis=-1)  # [1, N, d / 2]
    first, second = ops.split(heads, 2, axis=-1)  # [B, H, N, d / 2]
    return ops.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


@keras.saving.register_keras_serializable(package="keras_vit")
class RotaryEmbedding(keras.layers.Layer):
    """The angles of rotary positions (arXiv 2104.09864) in two axes, as DINOv3 has them.

    The score of a query and a key then depends on how far their patches lie from each other. The
    centres of the patches run from -1 to 1 along each side of the image, whatever its size. Half
    of the pairs of channels are turned by the row of the patch and half by its column: pair i by
    2 pi times it, divided by `base ** (4 i / d)`. Tokens that are no patches are not turned. There
    are no weights.

    Args:
        num_heads: Attention heads; d = D / `num_heads` is a multiple of 4.
        num_prefix_tokens: Leading tokens that are no patches: the class token and the registers.
        base: 100 in DINOv3.

    Input: the `[B, rows, columns, D]` grid of `PatchEmbed`.
    Output: `[1, P + rows * columns, d]`, for each token d / 2 cosines and then d / 2 sines.

    Raises:
        ValueError: If d is not a multiple of 4.
    """

    def __init__(
        self, num_heads: int, num_prefix_tokens: int = 1, base: float = ROTARY_BASE, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.num_prefix_tokens = num_prefix_tokens
        self.base = base

    @property
    def grid_size(self) -> tuple[int, int] | None:
        """(rows, columns) in patches that the model is built for; `None` for any."""
        rows, columns = self.input.shape[1:3]  # pyright: ignore[reportAttributeAccessIssue]
        return None if None in (rows, columns) else (rows, columns)

    def build(self, grid_shape: Any) -> None:
        width = grid_shape[-1]
        if width % (4 * self.num_heads) != 0:
            raise ValueError(
                "Rotary positions need a multiple of 4 channels in each head, a quarter for each "
                f"of cosine and sine of row and column. Received: width={width}, "
                f"num_heads={self.num_heads}"
            )

    def call(self, grid: Any) -> Any:
        _, rows, columns, width = ops.shape(grid)
        count = width // self.num_heads // 4  # of frequencies
        exponents = np.arange(count, dtype="float32") / count
        frequencies = ops.convert_to_tensor(2 * math.pi / np.float32(self.base) ** exponents)
        vertical, horizontal = (_centres(side)[:, None] * frequencies for side in (rows, columns))
        shape = (rows, columns, count)
        angles = ops.concatenate(
            [
                ops.broadcast_to(vertical[:, None], shape),
                ops.broadcast_to(horizontal[None], shape),
            ],
            axis=-1,
        )  # [rows, columns, d / 2]
        angles = ops.reshape(angles, (1, -1, 2 * count))
        angles = ops.pad(angles, ((0, 0), (self.num_prefix_tokens, 0), (0, 0)))
        rotation = ops.concatenate([ops.cos(angles), ops.sin(angles)], axis=-1)
        return ops.cast(rotation, self.compute_dtype)

    def table(self) -> np.ndarray:
        """The output for the grid that the model is built for, `[P + rows * columns, d]` float32.

        Raises:
            ValueError: If the model takes images of any size.
        """
        if self.grid_size is None:
            raise ValueError(
                "The model takes images of any size, and this is for one. Use "
                "`keras_vit.resize_model(model, (rows, columns))` first."
            )
        grid = ops.zeros((1, *self.input.shape[1:]))  # pyright: ignore[reportAttributeAccessIssue]
        return ops.convert_to_numpy(ops.cast(self(grid), "float32"))[0]

    def compute_output_shape(self, grid_shape: Any) -> Any:
        _, rows, columns, width = grid_shape
        tokens = None if None in (rows, columns) else self.num_prefix_tokens + rows * columns
        return (1, tokens, width // self.num_heads)

    def save_own_variables(self, store: Any) -> None:
        # No array of the weights shows it, and a file must not open as another model.
        store["rotary_base"] = np.array(self.base, "float64")

    def load_own_variables(self, store: Any) -> None:
        """The layer has no variables; what is stored is compared before."""

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "num_prefix_tokens": self.num_prefix_tokens,
            "base": self.base,
        }


def _centres(side: Any) -> Any:
    """The centres of that many patches along a side of the image, which goes from -1 to 1."""
    steps = ops.arange(side, dtype="float32")
    return (steps + 0.5) * (2 / ops.cast(side, "float32")) - 1
