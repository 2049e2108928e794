"""Resamples the kernel of the patches to patches of another size (FlexiViT, arXiv 2212.08013)."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from keras_vit.layers.position_embedding import INTERPOLATIONS, interpolation_matrix
from keras_vit.utils.backend import ops
from keras_vit.utils.checks import check_choice, check_counts


@functools.cache
def patch_matrix(old: int, new: int, interpolation: str = "bilinear") -> np.ndarray:
    """The matrix `M` that resamples a kernel, one side at a time: `M @ kernel @ M.T`.

    If `B` is the resize of an image from `old` to `new` pixels, `M` is the pseudo-inverse of
    `B.T` (section 3.2). Where the patch becomes larger, an image that was resized by `B` has the
    tokens that it had before; where it becomes smaller, they are as near as they can be.

    Args:
        old: Side of the old patch in pixels.
        new: Side of the new one.
        interpolation: The resize, as PyTorch's `interpolate` does it, edges aligned: `"bilinear"`
            (as TensorFlow too, in Google's code), `"bicubic"` or `"bicubic_antialias"` (timm).

    Returns:
        `[new, old]`, float64.
    """
    if interpolation == "bilinear":
        position = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        resize = np.maximum(1 - np.abs(position[:, None] - np.arange(old)), 0)
    else:
        resize = interpolation_matrix(old, new, np, "float64", interpolation)
    return np.linalg.pinv(resize.T)


def resample_patch_kernel(
    kernel: Any, patch_size: int, interpolation: str = "bilinear"
) -> np.ndarray:
    """Resamples the kernel of a `PatchEmbed` to another patch size.

    Args:
        kernel: `[rows, columns, C, D]`, floating point.
        patch_size: Side of the new patch in pixels.
        interpolation: As in `patch_matrix`.

    Returns:
        A NumPy array `[patch_size, patch_size, C, D]` of the same dtype.

    Raises:
        ValueError: If an argument is out of its range.
    """
    check_counts(1, patch_size=patch_size)
    check_choice("interpolation", interpolation, INTERPOLATIONS)
    kernel = np.asarray(kernel)
    rows, columns = (patch_matrix(old, patch_size, interpolation) for old in kernel.shape[:2])
    resampled = np.einsum(
        "Rr,rcio,Cc->RCio", rows, kernel.astype("float64"), columns, optimize=True
    )
    return resampled.astype(kernel.dtype)


def resample_kernel_in_graph(kernel: Any, patch_size: int, interpolation: str = "bilinear") -> Any:
    """The same for a tensor inside a model, in float32 and returned in its dtype."""
    old, _, channels, width = kernel.shape
    if old == patch_size:
        return kernel
    matrix = ops.convert_to_tensor(patch_matrix(old, patch_size, interpolation), "float32")
    # [old, old * C * D] to [new, ...], and [new, old, C * D] to [new, new, C * D].
    rows = ops.matmul(matrix, ops.reshape(ops.cast(kernel, "float32"), (old, -1)))
    both = ops.matmul(matrix, ops.reshape(rows, (patch_size, old, channels * width)))
    both = ops.reshape(both, (patch_size, patch_size, channels, width))
    return ops.cast(both, kernel.dtype)
