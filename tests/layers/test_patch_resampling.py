"""The kernel of the patches for another patch size (FlexiViT, arXiv 2212.08013, section 3)."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from keras_vit.layers import PatchEmbed
from keras_vit.layers.patch_resampling import patch_matrix, resample_patch_kernel

pytestmark = pytest.mark.any_backend


def _resized(patches, size):
    """`[N, rows, columns, C]` to another size, as Keras does it."""
    return ops.convert_to_numpy(
        ops.image.resize(patches, (size, size), "bilinear", data_format="channels_last")
    )


@pytest.mark.parametrize(("old", "new"), [(4, 7), (4, 8), (6, 3), (5, 4), (3, 1)])
def test_the_kernel_is_the_pseudo_inverse_of_the_resize(old, new):
    """Equation 5, with the matrix of the resize taken from images of one white pixel each."""
    pixels = np.eye(old * old, dtype="float32").reshape(-1, old, old, 1)
    resize = _resized(pixels, new).reshape(old * old, new * new)  # B transposed
    kernel = np.random.default_rng(0).normal(size=(old, old, 2, 3))
    expected = np.linalg.pinv(resize.astype("float64")) @ kernel.reshape(old * old, -1)
    found = resample_patch_kernel(kernel, new)
    np.testing.assert_allclose(found, expected.reshape(new, new, 2, 3), atol=1e-5)


def test_by_hand():
    """One pixel that becomes two: each has half the weight. Two that become one: their mean."""
    np.testing.assert_allclose(patch_matrix(1, 2), [[0.5], [0.5]])
    np.testing.assert_allclose(patch_matrix(2, 1), [[1, 1]])
    np.testing.assert_allclose(patch_matrix(3, 3, "bicubic"), np.eye(3), atol=1e-12)


@pytest.mark.parametrize("size", [6, 9])
def test_tokens_of_larger_patches_are_the_same(size):
    patches = np.random.default_rng(0).normal(size=(5, 4, 4, 3)).astype("float32")
    small, large = (PatchEmbed(side, 8) for side in (4, size))
    expected = ops.convert_to_numpy(small(patches))
    upsampled = _resized(patches, size)
    large(upsampled)
    kernel, bias = (ops.convert_to_numpy(weight) for weight in small.weights)
    large.set_weights([resample_patch_kernel(kernel, size), bias])
    np.testing.assert_allclose(ops.convert_to_numpy(large(upsampled)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"patch_size": 0}, "patch_size"), ({"patch_size": 2, "interpolation": "cubic"}, "bicubic")],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        resample_patch_kernel(np.zeros((4, 4, 3, 2)), **options)
