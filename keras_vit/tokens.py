"""From an image to tokens, and from tokens back to a feature map or one vector (paper, eq. 1).

Shape letters: B images, H and W pixels, C channels, N patches, P prefix tokens (the class token
and the registers), D width; rows and columns count patches.
"""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np

from keras_vit.backend import ops
from keras_vit.initializers import random_start
from keras_vit.position import (
    BORDERS,
    as_pair,
    patches_along,
    resample_in_graph,
    resample_position_embedding,
)

POOLINGS = ("token", "avg", "max")


@keras.saving.register_keras_serializable(package="keras_vit")
class PatchEmbed(keras.layers.Layer):
    """Cuts an image into patches and projects each to a token, as one strided convolution.

    Args:
        patch_size: Side of a patch in pixels.
        width: Channels of a token, `D`.
        border: What to do with a border that the patches do not cover: `"drop"` it (the
            original), `"pad"` the image with zeros evenly around, or `"error"`.
        return_grid: Also return the patches as they lie in the image, for the layers that
            must know the number of rows and columns.

    Input: `[B, H, W, C]`, float.
    Output: `[B, N, D]`; with `return_grid`, a pair of it and `[B, rows, columns, D]`.

    Raises:
        ValueError: If the image is smaller than a patch, or not a multiple of it when
            `border="error"`.
    """

    def __init__(
        self,
        patch_size: int,
        width: int,
        border: str = "drop",
        return_grid: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if border not in BORDERS:
            raise ValueError(f"`border` must be one of {BORDERS}. Received: border={border!r}")
        self.patch_size = patch_size
        self.width = width
        self.border = border
        self.return_grid = return_grid
        self.projection = keras.layers.Conv2D(
            width,
            patch_size,
            strides=patch_size,
            padding="same" if border == "pad" else "valid",
            data_format="channels_last",
            kernel_initializer=random_start("lecun_normal"),
            dtype=self.dtype_policy,
            name="projection",
        )

    def build(self, input_shape: Any) -> None:
        check_image_size(input_shape[1:3], self.patch_size, self.border)
        self.projection.build(input_shape)

    def call(self, images: Any) -> Any:
        grid = self.projection(images)  # [B, rows, columns, D]
        _, rows, columns, _ = ops.shape(grid)
        tokens = ops.reshape(grid, (-1, rows * columns, self.width))  # [B, N, D]
        return (tokens, grid) if self.return_grid else tokens

    def compute_output_shape(self, input_shape: Any) -> Any:
        rows, columns = (
            None if side is None else patches_along(side, self.patch_size, self.border)
            for side in input_shape[1:3]
        )
        num_patches = None if rows is None or columns is None else rows * columns
        tokens = (input_shape[0], num_patches, self.width)
        grid = (input_shape[0], rows, columns, self.width)
        return (tokens, grid) if self.return_grid else tokens

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "patch_size": self.patch_size,
            "width": self.width,
            "border": self.border,
            "return_grid": self.return_grid,
        }


def check_image_size(image_size: Any, patch_size: int, border: str) -> None:
    """Refuses an image without a whole patch; says what happens to a border that is left over."""
    rest = False
    for side in image_size:
        if side is None:
            continue
        if side < patch_size and border != "pad":
            raise ValueError(
                f"The image must be at least one patch ({patch_size} pixels) on each side. "
                f"Received: image size={tuple(image_size)}"
            )
        rest = rest or side % patch_size != 0
    if not rest or border == "pad":
        return
    smaller = tuple(s and s // patch_size * patch_size for s in image_size)
    larger = tuple(s and -(-s // patch_size) * patch_size for s in image_size)
    message = (
        f"The image size {tuple(image_size)} is not a multiple of the patch size {patch_size}; "
        f"the nearest sizes that are: {smaller} and {larger}."
    )
    if border == "error":
        raise ValueError(f'{message} Use one of them, or border="drop" or border="pad".')
    warnings.warn(
        f"{message} The border is dropped, as the original implementation does. Use one of "
        'these sizes, or border="pad", to keep all of the image.',
        stacklevel=2,
    )


@keras.saving.register_keras_serializable(package="keras_vit")
class ClassToken(keras.layers.Layer):
    """Puts learned tokens before the others: the class token, or registers after it.

    Args:
        num_tokens: How many; 1 is the paper's class token.
        position: Where they go. Registers follow the class token, at 1.
        initializer: Initial value; zeros in the original.

    Input: `[B, N, D]`. Output: `[B, N + num_tokens, D]`.
    """

    def __init__(
        self,
        num_tokens: int = 1,
        position: int = 0,
        initializer: Any = "zeros",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_tokens = num_tokens
        self.position = position
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape: Any) -> None:
        self.token = self.add_weight(
            name="token",
            shape=(1, self.num_tokens, input_shape[-1]),
            initializer=self.initializer,
        )

    def call(self, tokens: Any) -> Any:
        learned = ops.convert_to_tensor(self.token)
        learned = ops.broadcast_to(
            learned, (ops.shape(tokens)[0], self.num_tokens, tokens.shape[-1])
        )
        if self.position == 0:
            return ops.concatenate([learned, tokens], axis=1)
        before, after = tokens[:, : self.position], tokens[:, self.position :]
        return ops.concatenate([before, learned, after], axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        batch, length, width = input_shape
        return (batch, None if length is None else length + self.num_tokens, width)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_tokens": self.num_tokens,
            "position": self.position,
            "initializer": keras.initializers.serialize(self.initializer),
        }


@keras.saving.register_keras_serializable(package="keras_vit")
class PositionEmbedding(keras.layers.Layer):
    """Adds a learned position to every token.

    The weight covers one grid of patches. For another grid it is resampled on the way
    (bilinear, aligned corners; paper section 3.2): in the graph when an image of another size
    arrives, or once when weights of another size are loaded from a Keras file.

    Args:
        grid_size: (rows, columns) of the weight, in patches.
        num_prefix_tokens: Leading tokens that are no patches (1 for the class token).
        initializer: Initial value; normal with standard deviation .02 in the original.

    Input: tokens `[B, P + N, D]`, and optionally the `[B, rows, columns, D]` grid of
    `PatchEmbed`, which says what size has arrived.
    Output: `[B, P + N, D]`.
    """

    def __init__(
        self,
        grid_size: int | tuple[int, int],
        num_prefix_tokens: int = 1,
        initializer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.grid_size = as_pair(grid_size, "grid_size")
        self.num_prefix_tokens = num_prefix_tokens
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
        patches = resample_in_graph(ops.cast(patches, "float32"), rows, columns)
        patches = ops.cast(patches, tokens.dtype)
        return tokens + ops.concatenate([prefix, patches], axis=1)

    def compute_output_shape(self, tokens_shape: Any, grid_shape: Any = None) -> Any:
        return tokens_shape

    def save_own_variables(self, store: Any) -> None:
        store["embedding"] = self.embedding
        store["grid_size"] = np.array(self.grid_size, "int32")

    def load_own_variables(self, store: Any) -> None:
        rows, columns = (int(n) for n in np.asarray(store["grid_size"]))
        self.embedding.assign(
            resample_position_embedding(
                np.asarray(store["embedding"]),
                (rows, columns),
                self.grid_size,
                self.num_prefix_tokens,
            )
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "grid_size": self.grid_size,
            "num_prefix_tokens": self.num_prefix_tokens,
            "initializer": keras.initializers.serialize(self.initializer),
        }


@keras.saving.register_keras_serializable(package="keras_vit")
class FeatureMap(keras.layers.Layer):
    """Lays the patch tokens out as they lie in the image; the prefix tokens are left out.

    Args:
        num_prefix_tokens: Leading tokens that are no patches.

    Input: tokens `[B, P + N, D]` and the `[B, rows, columns, D]` grid of `PatchEmbed`.
    Output: `[B, rows, columns, D]`.
    """

    def __init__(self, num_prefix_tokens: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_prefix_tokens = num_prefix_tokens

    def call(self, tokens: Any, grid: Any) -> Any:
        _, rows, columns, width = ops.shape(grid)
        return ops.reshape(tokens[:, self.num_prefix_tokens :], (-1, rows, columns, width))

    def compute_output_shape(self, tokens_shape: Any, grid_shape: Any) -> Any:
        return grid_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_prefix_tokens": self.num_prefix_tokens}


@keras.saving.register_keras_serializable(package="keras_vit")
class TokenPooling(keras.layers.Layer):
    """One vector for the image: the class token, or the mean or maximum of the patch tokens.

    Args:
        pooling: `"token"`, `"avg"` or `"max"`.
        num_prefix_tokens: Leading tokens that are no patches.

    Input: `[B, P + N, D]`. Output: `[B, D]`.
    """

    def __init__(self, pooling: str = "token", num_prefix_tokens: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        if pooling not in POOLINGS:
            raise ValueError(f"`pooling` must be one of {POOLINGS}. Received: pooling={pooling!r}")
        self.pooling = pooling
        self.num_prefix_tokens = num_prefix_tokens

    def call(self, tokens: Any) -> Any:
        if self.pooling == "token":
            # A slice and a reshape: TFLite delegates cannot take a slice that drops an axis.
            return ops.reshape(tokens[:, 0:1], (-1, tokens.shape[-1]))
        patches = tokens[:, self.num_prefix_tokens :]
        return ops.mean(patches, axis=1) if self.pooling == "avg" else ops.max(patches, axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pooling": self.pooling,
            "num_prefix_tokens": self.num_prefix_tokens,
        }
