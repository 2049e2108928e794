"""The paper's measurements by hand; the grids are 2 x 3 or 3 x 5, so that swapped axes show."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import keras_vit
from keras_vit import analysis

pytestmark = pytest.mark.any_backend


def _attention(images, depth, heads, tokens, seed=0):
    """Random rows that sum to 1, `[B, depth, heads, N, N]`."""
    maps = np.random.default_rng(seed).random((images, depth, heads, tokens, tokens))
    return maps / maps.sum(axis=-1, keepdims=True)


# --- filters --------------------------------------------------------------------------------


def test_filters_of_a_kernel_of_two_directions():
    # 5 channels, 3 x 2 pixels: much of one direction, less of an orthogonal one, and a mean.
    strong, weak = np.zeros((2, 3, 2, 3))
    strong[0, 1, 2], strong[2, 0, 0] = -4, 2
    weak[1, 1, 1], weak[1, 0, 1] = 3, -1.5
    mean = np.full((3, 2, 3), 7.0)
    amounts = np.array([[3, 0], [-3, 0], [0, 1], [0, -1], [0, 0]])
    kernel = mean[..., None] + np.stack([a * strong + b * weak for a, b in amounts], axis=-1)
    for array in (kernel, ops.convert_to_tensor(kernel.astype("float32")), keras.Variable(kernel)):
        filters = keras_vit.rgb_filters(array, count=2)
        assert filters.shape == (2, 3, 2, 3) and filters.dtype == np.float32
        # Largest entry positive and 1, zero at one half.
        np.testing.assert_allclose(filters[0], 0.5 - strong / 8, atol=1e-6)
        np.testing.assert_allclose(filters[1], 0.5 + weak / 6, atol=1e-6)


def test_filters_are_those_of_a_pca_whatever_the_order_of_channels():
    kernel = np.random.default_rng(0).normal(size=(4, 3, 3, 11))
    filters = keras_vit.rgb_filters(kernel)
    assert filters.shape == (10, 4, 3, 3)  # 11 channels vary in 10 directions about their mean
    assert filters.min() >= 0 and filters.max() == 1
    np.testing.assert_allclose(keras_vit.rgb_filters(kernel[..., ::-1]), filters, atol=1e-5)
    decomposition = pytest.importorskip("sklearn.decomposition")
    components = decomposition.PCA(10, svd_solver="full").fit(kernel.reshape(36, 11).T).components_
    directions = (filters - 0.5).reshape(10, 36)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    cosines = directions @ components.T
    np.testing.assert_allclose(np.abs(cosines), np.eye(10), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 1024, 8), (2, 2, 3), (2, 2, 3, 1)])
def test_filters_of_what_is_no_rgb_kernel(shape):
    with pytest.raises(ValueError, match=r"reads RGB pixels.*Received: shape=\("):
        keras_vit.rgb_filters(np.zeros(shape))
    with pytest.raises(ValueError, match="count=0"):
        keras_vit.rgb_filters(np.zeros((2, 2, 3, 4)), 0)


# --- positions ------------------------------------------------------------------------------


def test_similarity_by_hand():
    # A class row that must not matter, then 1 x 3 positions at 0, 60 and 180 degrees.
    angles = np.radians([0, 60, 180])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=-1) * [[1], [5], [0.1]]
    embedding = np.concatenate([[[100.0, -3.0]], points])[None]
    expected = [[1, 0.5, -1], [0.5, 1, -0.5], [-1, -0.5, 1]]
    for array in (embedding, keras.Variable(embedding)):
        similarity = keras_vit.position_similarity(array, (1, 3))
        assert similarity.shape == (1, 3, 1, 3) and similarity.dtype == np.float32
        np.testing.assert_allclose(similarity[0, :, 0], expected, atol=1e-6)


def test_similarity_lies_as_the_patches_do():
    # One direction for each row of 3 x 5: all of a row are alike, none of another.
    embedding = np.repeat(np.eye(3), 5, axis=0)[None]
    similarity = keras_vit.position_similarity(embedding, (3, 5), num_prefix_tokens=0)
    rows = np.arange(3)
    expected = np.broadcast_to(rows[:, None, None, None] == rows[None, None, :, None], (3, 5, 3, 5))
    np.testing.assert_array_equal(similarity, expected)
    embedding[0, 7] = 0  # row 1, column 2
    similarity = keras_vit.position_similarity(embedding, (3, 5), num_prefix_tokens=0)
    assert not similarity[1, 2].any() and similarity[1, 1, 1, 3] == 1
    with pytest.raises(ValueError, match=r"\[1, 1 \+ 3 \* 5, D\].*shape=\(1, 15, 3\)"):
        keras_vit.position_similarity(embedding, (3, 5))


# --- distance -------------------------------------------------------------------------------


def test_distance_of_two_by_two_by_hand():
    # Patches of 10 pixels: 0 to itself, 10 to two others, 10 * sqrt(2) across.
    maps = np.zeros((1, 1, 2, 5, 5))
    maps[..., 0, 0] = 1  # the class token, whose row does not matter
    maps[0, 0, 0, 1:, 1:] = 0.25
    maps[0, 0, 1, 1:, 1:] = [[0, 1, 0, 0], [0, 1, 0, 0], [0, 0.5, 0, 0], [0, 0, 0, 0]]
    maps[0, 0, 1, 3:, 0] = 0.5, 1  # what goes to the class token is no distance
    uniform = (10 + 10 + 10 * 2**0.5) / 4
    distances = keras_vit.mean_attention_distance(maps, 2, 10)
    np.testing.assert_allclose(distances, [[uniform, (10 + 0 + 0.5 * 10 * 2**0.5 + 0) / 4]])


def test_distance_of_uniform_attention_and_of_the_identity():
    rows, columns, prefix = 3, 5, 2
    tokens = prefix + rows * columns
    maps = np.stack([np.full((tokens, tokens), 1 / tokens), np.eye(tokens)])[None, :, None]
    by_hand = np.mean(
        [
            np.hypot(7 * (r - s), 11 * (c - d))
            for r in range(rows)
            for c in range(columns)
            for s in range(rows)
            for d in range(columns)
        ]
    )
    for array in (maps, ops.convert_to_tensor(maps.astype("float32"))):
        distances = keras_vit.mean_attention_distance(array, (rows, columns), (7, 11), prefix)
        np.testing.assert_allclose(distances, [[by_hand * 15 / 17], [0]], rtol=1e-6)


def test_distance_along_rows_and_columns_and_over_images():
    # Each patch of 2 x 3 looks one patch up or down; in a second image, at itself.
    other_row = np.kron(np.array([[0, 1], [1, 0]]), np.eye(3))
    maps = np.zeros((2, 1, 1, 7, 7))
    maps[0, ..., 1:, 1:], maps[1, ..., 1:, 1:] = other_row, np.eye(6)
    assert keras_vit.mean_attention_distance(maps[:1], (2, 3), (5, 1)).item() == 5
    assert keras_vit.mean_attention_distance(maps[:1], (2, 3), (1, 5)).item() == 1
    assert keras_vit.mean_attention_distance(maps, (2, 3), (5, 1)).item() == 2.5


# --- rollout --------------------------------------------------------------------------------


def test_rollout_by_hand():
    # One block, one head, two tokens: (A + I) with rows normalised.
    maps = np.array([[0.2, 0.8], [0.6, 0.4]]).reshape(1, 1, 1, 2, 2)
    expected = np.array([[0.6, 0.4], [0.3, 0.7]])
    np.testing.assert_allclose(keras_vit.attention_rollout(maps)[0], expected)
    # A second block stands to the left; heads are averaged.
    second = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    two = np.stack([np.stack([maps[0, 0, 0]] * 2), np.stack(second)])[None]
    np.testing.assert_allclose(
        keras_vit.attention_rollout(two)[0], np.array([[0.75, 0.25], [0.25, 0.75]]) @ expected
    )


def test_rollout_of_identity_and_of_uniform_attention():
    tokens, depth = 7, 3
    identity = np.broadcast_to(np.eye(tokens), (1, depth, 2, tokens, tokens))
    np.testing.assert_allclose(keras_vit.attention_rollout(identity)[0], np.eye(tokens))
    # (U + I) / 2 to the power of 3, where U is 1 / 7 everywhere and so its own square.
    uniform = np.full((1, depth, 2, tokens, tokens), 1 / tokens)
    expected = np.eye(tokens) / 8 + np.full((tokens, tokens), 7 / 8 / tokens)
    np.testing.assert_allclose(keras_vit.attention_rollout(uniform)[0], expected)
    grids = keras_vit.rollout_grids(ops.convert_to_tensor(uniform.astype("float32")), (2, 3))
    np.testing.assert_allclose(grids, np.ones((1, 2, 3)), rtol=1e-6)


def test_grids_are_the_class_row_divided_by_its_maximum():
    maps = _attention(2, 2, 2, 1 + 15)
    rollout = keras_vit.attention_rollout(maps)
    np.testing.assert_allclose(rollout.sum(axis=-1), 1)
    grids = keras_vit.rollout_grids(maps, (3, 5))
    assert grids.dtype == np.float32
    expected = rollout[:, 0, 1:] / rollout[:, 0, 1:].max(axis=1, keepdims=True)
    np.testing.assert_allclose(grids.reshape(2, 15), expected, rtol=1e-6)
    # Without a class token, the mean over the patches that look.
    grids = keras_vit.rollout_grids(maps, (2, 8), num_prefix_tokens=0)
    expected = rollout.mean(axis=1) / rollout.mean(axis=1).max(axis=1, keepdims=True)
    np.testing.assert_allclose(grids.reshape(2, 16), expected, rtol=1e-6)


def test_masks_lie_as_the_patches_do():
    # The class token looks at the patch in row 1, column 2 of 2 x 3.
    maps = np.zeros((1, 1, 1, 7, 7))
    maps[..., 1 + 1 * 3 + 2] = 1
    mask = keras_vit.attention_masks(maps, (2, 3), (20, 30))
    assert mask.shape == (1, 20, 30)
    assert mask.max() == pytest.approx(1)
    assert np.unravel_index(mask[0].argmax(), mask[0].shape) >= (14, 24)
    assert mask[0, :10, :10].max() == 0


def test_maps_that_are_not_of_the_grid():
    maps = _attention(1, 1, 1, 7)
    for call in (
        lambda: keras_vit.mean_attention_distance(maps, (3, 5), 16),
        lambda: keras_vit.rollout_grids(maps, (3, 5)),
        lambda: keras_vit.attention_masks(maps, (3, 5), 20),
    ):
        with pytest.raises(ValueError, match=r"1 \+ 3 \* 5 tokens.*Received: maps of 7 tokens"):
            call()
    with pytest.raises(ValueError, match=r"\[B, depth, heads, N, N\].*shape=\(1, 1, 7, 7\)"):
        analysis.attention_rollout(maps[0])
