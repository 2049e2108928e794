"""Cuts an image into patches and projects each onto a token."""

from __future__ import annotations

import warnings
from typing import Any

import keras

from keras_vit.layers.composite import Composite
from keras_vit.layers.initializers import random_start
from keras_vit.layers.loss_scaling import check_loss_is_scaled
from keras_vit.utils.backend import ops
from keras_vit.utils.checks import check_choice

BORDERS = ("drop", "pad", "error")


def patches_along(pixels: Any, patch_size: int, border: str = "drop") -> Any:
    """How many patches fit along a side: whole ones, or one more for the rest with `"pad"`."""
    return -(-pixels // patch_size) if border == "pad" else pixels // patch_size


@keras.saving.register_keras_serializable(package="keras_vit")
class PatchEmbed(Composite):
    """Cuts an image into patches and projects each to a token, as one strided convolution.

    Args:
        patch_size: Side of a patch in pixels.
        width: Channels of a token, `D`.
        border: What to do with a border that the patches do not cover: `"drop"` it (the
            original), `"pad"` the image with zeros evenly around, or `"error"`.
        return_grid: Also return the patches as they lie in the image, for the layers that
            must know the number of rows and columns.
        use_bias: Whether the projection has a bias; CLIP's has none.

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
        use_bias: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.patch_size = patch_size
        self.width = width
        self.border = check_choice("border", border, BORDERS)
        self.return_grid = return_grid
        self.use_bias = use_bias
        self.projection = self.part(
            keras.layers.Conv2D,
            width,
            patch_size,
            strides=patch_size,
            padding="same" if border == "pad" else "valid",
            data_format="channels_last",
            use_bias=use_bias,
            kernel_initializer=random_start("lecun_normal"),
            name="projection",
        )

    def build(self, input_shape: Any) -> None:
        check_image_size(input_shape[1:3], self.patch_size, self.border)
        self.projection.build(input_shape)

    def call(self, images: Any) -> Any:
        check_loss_is_scaled(self)
        if self.border != "pad":  # `build` knows no size where the model leaves it open
            check_has_a_patch(images.shape[1:3], self.patch_size)
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
            "use_bias": self.use_bias,
        }


def check_has_a_patch(image_size: Any, patch_size: int) -> None:
    """Refuses an image without a whole patch, as far as its sides are known."""
    if any(side is not None and side < patch_size for side in image_size):
        raise ValueError(
            f"The image must be at least one patch ({patch_size} pixels) on each side. "
            f'Resize it, or build the model with border="pad". '
            f"Received: image size={tuple(image_size)}"
        )


def check_image_size(image_size: Any, patch_size: int, border: str) -> None:
    """Refuses an image without a whole patch; says what happens to a border that is left over."""
    if border == "pad":
        return
    check_has_a_patch(image_size, patch_size)
    if not any(side is not None and side % patch_size for side in image_size):
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
