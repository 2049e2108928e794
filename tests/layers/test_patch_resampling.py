"""The kernel of the patches for another patch size (FlexiViT, arXiv 2212.08013, section 3)."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import keras_vit
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


SIZES = (2, 3, 4, 6)


def _flexible(**options):
    keras.utils.set_random_seed(0)
    return keras_vit.ViT(12, 4, 16, 1, 2, 16, classes=3, patch_sizes=SIZES, **options)


def test_training_draws_a_patch_size(tmp_path):
    """The tokens of each are those of a layer of that size with the resampled kernel."""
    images = np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype("float32")
    layer = PatchEmbed(4, 5, patch_sizes=SIZES, interpolation="bicubic_antialias")
    layer(images)
    kernel, bias = (ops.convert_to_numpy(weight) for weight in layer.weights)
    expected = {}
    for size in SIZES:
        fixed = PatchEmbed(size, 5)
        fixed.build(images.shape)
        fixed.set_weights([resample_patch_kernel(kernel, size, "bicubic_antialias"), bias])
        expected[(12 // size) ** 2] = ops.convert_to_numpy(fixed(images))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(images)), expected[9], atol=1e-6)
    if keras.backend.backend() == "jax":
        with pytest.raises(ValueError, match="JAX compiles a training step for one number"):
            layer(images, training=True)
        return
    drawn = [ops.convert_to_numpy(layer(images, training=True)) for _ in range(40)]
    assert {tokens.shape[1] for tokens in drawn} == set(expected)
    for tokens in drawn:
        np.testing.assert_allclose(tokens, expected[tokens.shape[1]], atol=1e-5)


def test_a_flexible_model_trains_and_opens_at_any_patch_size(tmp_path):
    images = np.random.default_rng(0).uniform(-1, 1, (8, 12, 12, 3)).astype("float32")
    model = _flexible()
    assert tuple(model.get_layer("block_0").output.shape) == (None, 10, 16)  # as at inference
    if keras.backend.backend() == "jax":
        pytest.skip("JAX compiles a step for one number of tokens")
    before = ops.convert_to_numpy(model.get_layer("patch_embed").projection.kernel)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert not model.jit_compile
    losses = model.fit(images, np.arange(8) % 3, batch_size=2, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    after = ops.convert_to_numpy(model.get_layer("patch_embed").projection.kernel)
    assert np.abs(after - before).max() > 0
    model.save(tmp_path / "flexible.keras")
    again = keras.models.load_model(tmp_path / "flexible.keras")
    assert again.get_layer("patch_embed").patch_sizes == SIZES
    keras_vit.save_weights(model, tmp_path / "a.npz")
    for size in (4, *SIZES):
        resized = keras_vit.resize_model(again, 12, size)
        opened = keras_vit.from_checkpoint(tmp_path / "a.npz", patch_size=size, num_heads=2)
        logits = [ops.convert_to_numpy(each(images)) for each in (resized, opened)]
        np.testing.assert_allclose(*logits, atol=1e-5)
    np.testing.assert_allclose(
        ops.convert_to_numpy(again(images)), ops.convert_to_numpy(model(images)), atol=1e-6
    )


def test_one_size_keeps_static_shapes():
    """XLA may compile it, on every backend."""
    layer = PatchEmbed(4, 5, patch_sizes=[6])
    assert layer.supports_jit
    tokens = layer(np.zeros((2, 12, 12, 3), "float32"), training=True)
    assert tuple(tokens.shape) == (2, 4, 5)
