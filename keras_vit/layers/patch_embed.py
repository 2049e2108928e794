"""Cuts an image into patches and projects each onto a token."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import keras

from keras_vit.layers.base.composite import Composite
from keras_vit.layers.base.initializers import random_start
from keras_vit.layers.base.loss_scaling import check_loss_is_scaled
from keras_vit.layers.patch_resampling import resample_kernel_in_graph
from keras_vit.layers.position_embedding import INTERPOLATIONS
from keras_vit.utils.backend import ops
from keras_vit.utils.checks import check_choice, check_counts

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
        use_bias: Whether the projection has a bias; CLIP's has none.
        patch_sizes: Train with one of these sizes, drawn for each step, so that the layer learns
            to cut any of them (FlexiViT, arXiv 2212.08013). The kernel, which is of `patch_size`,
            is resampled in the graph. Otherwise patches are of `patch_size`, as without.
        interpolation: How it is resampled: see `patch_resampling.patch_matrix`.
        return_grid: Also return the patches as they lie in the image, for the layers that
            must know the number of rows and columns.

    Input: `[B, H, W, C]`, float.
    Output: `[B, N, D]`; with `return_grid`, a pair of it and `[B, rows, columns, D]`.

    Raises:
        ValueError: If the image is smaller than a patch, or not a multiple of it when
            `border="error"`; or if it trains with several sizes on JAX, which compiles a step for
            one.
    """

    def __init__(
        self,
        patch_size: int,
        width: int,
        border: str = "drop",
        use_bias: bool = True,
        patch_sizes: Sequence[int] | None = None,
        interpolation: str = "bilinear",
        return_grid: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.patch_size = patch_size
        self.width = width
        self.border = check_choice("border", border, BORDERS)
        self.use_bias = use_bias
        self.interpolation = check_choice("interpolation", interpolation, INTERPOLATIONS)
        self.patch_sizes = tuple(patch_sizes or ())
        check_counts(1, **{f"patch_sizes[{i}]": size for i, size in enumerate(self.patch_sizes)})
        if len(self.patch_sizes) > 1:
            self.supports_jit = False  # XLA compiles a step for one number of tokens
            self.seed_generator = keras.random.SeedGenerator()
        self.return_grid = return_grid
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
        for patch_size in dict.fromkeys((self.patch_size, *self.patch_sizes)):
            check_image_size(input_shape[1:3], patch_size, self.border)
        self.projection.build(input_shape)

    def call(self, images: Any, training: bool | None = None) -> Any:
        check_loss_is_scaled(self)
        if self.border != "pad":  # `build` knows no size where the model leaves it open
            check_has_a_patch(images.shape[1:3], self.patch_size)
        drawn = training and self.patch_sizes
        grid = self._drawn(images) if drawn else self.projection(images)  # [B, rows, columns, D]
        _, rows, columns, _ = ops.shape(grid)
        tokens = ops.reshape(grid, (-1, rows * columns, self.width))  # [B, N, D]
        return (tokens, grid) if self.return_grid else tokens

    def _drawn(self, images: Any) -> Any:
        """The grid of patches of one of `patch_sizes`."""
        operands = (images, self.projection.kernel, self.projection.bias)
        branches = [functools.partial(self._cut, patch_size=size) for size in self.patch_sizes]
        if len(branches) == 1:
            return branches[0](*operands)
        if keras.backend.backend() == "jax":
            raise ValueError(
                "JAX compiles a training step for one number of tokens, and patches of several "
                "sizes make several. Train with one size after another, by `keras_vit.resize_model"
                "(model, image_size, patch_size)`, or on TensorFlow or PyTorch. Received: "
                f"patch_sizes={self.patch_sizes}"
            )
        index = keras.random.randint((), 0, len(branches), seed=self.seed_generator)
        return ops.switch(index, branches, *operands)

    def _cut(self, images: Any, kernel: Any, bias: Any, patch_size: int) -> Any:
        kernel = resample_kernel_in_graph(kernel, patch_size, self.interpolation)
        padding = self.projection.padding
        grid = ops.conv(images, kernel, patch_size, padding, data_format="channels_last")
        return grid if bias is None else grid + bias

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
            "use_bias": self.use_bias,
            "patch_sizes": list(self.patch_sizes),
            "interpolation": self.interpolation,
            "return_grid": self.return_grid,
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
