"""Resampling of position embeddings, against the original code and by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_vit.layers.position_embedding import (
    interpolation_matrix,
    resample_in_graph,
    resample_position_embedding,
)

pytestmark = pytest.mark.any_backend


def test_against_the_original(golden):
    fixture = golden("posemb")
    for case in fixture.facts["cases"]:
        n, old, new = case["case"], case["gs_old"], case["gs_new"]
        array = fixture.arrays[f"case{n}/input"]
        result = resample_position_embedding(
            array, (old, old), (new, new), num_prefix_tokens=int(case["class_token"])
        )
        assert result.dtype == array.dtype
        np.testing.assert_allclose(result, fixture.arrays[f"case{n}/output"], atol=5e-7)


def test_by_hand():
    # Rows 0, 1 become 0, .5, 1; columns 0, 2, 4 become 0, 4.
    grid = np.array([[0, 2, 4], [10, 12, 14]], "float32").reshape(1, 6, 1)
    result = resample_position_embedding(grid, (2, 3), (3, 2), num_prefix_tokens=0)
    np.testing.assert_allclose(result.reshape(3, 2), [[0, 4], [5, 9], [10, 14]])


def test_one_point_reads_the_first():
    np.testing.assert_array_equal(interpolation_matrix(6, 1, np, "float64"), np.eye(6)[:1])


@pytest.mark.parametrize("new", [(5, 3), (7, 9), (1, 1), (12, 4)])
def test_in_the_graph_equals_beforehand(new):
    random = np.random.default_rng(0)
    array = random.normal(size=(1, 15, 4)).astype("float32")
    before = resample_position_embedding(array, (5, 3), new, num_prefix_tokens=0)
    graph = resample_in_graph(ops.convert_to_tensor(array.reshape(5, 3, 4)), *new)
    np.testing.assert_allclose(ops.convert_to_numpy(graph), before, atol=2e-6)
    if new == (5, 3):
        np.testing.assert_array_equal(ops.convert_to_numpy(graph), array)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="shapes of other backends are static"
)
def test_in_the_graph_with_a_size_known_only_at_run_time():
    import tensorflow as tf

    array = np.random.default_rng(0).normal(size=(5, 3, 4)).astype("float32")

    @tf.function(
        input_signature=[tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int32)],
        jit_compile=False,
    )
    def resample(rows, columns):
        return resample_in_graph(tf.constant(array), rows, columns)

    for new in [(2, 6), (5, 3)]:
        np.testing.assert_allclose(
            resample(*new),
            resample_position_embedding(array.reshape(1, 15, 4), (5, 3), new, 0),
            atol=2e-6,
        )


def test_wrong_grid_says_both_sides():
    with pytest.raises(ValueError, match=r"1 \+ 4 \* 4.*\(1, 16, 3\)"):
        resample_position_embedding(np.zeros((1, 16, 3)), (4, 4), (2, 2))


@pytest.mark.parametrize("interpolation", ["bicubic", "bicubic_antialias"])
def test_cubic_weights_by_hand(interpolation):
    """w(d) = (a + 2) d^3 - (a + 3) d^2 + 1 up to 1, and a (d^3 - 5 d^2 + 8 d - 4) up to 2."""
    same = interpolation_matrix(5, 5, np, "float64", interpolation)
    np.testing.assert_allclose(same, np.eye(5), atol=1e-12)
    # 4 -> 12: output 4 lies at 1, output 5 a third beyond it.
    d = 1 / 3
    a = -0.75 if interpolation == "bicubic" else -0.5
    weights = [
        a * ((1 + d) ** 3 - 5 * (1 + d) ** 2 + 8 * (1 + d) - 4),
        (a + 2) * d**3 - (a + 3) * d**2 + 1,
        (a + 2) * (1 - d) ** 3 - (a + 3) * (1 - d) ** 2 + 1,
        a * ((2 - d) ** 3 - 5 * (2 - d) ** 2 + 8 * (2 - d) - 4),
    ]
    finer = interpolation_matrix(4, 12, np, "float64", interpolation)
    np.testing.assert_allclose(finer[5], weights, atol=1e-12)
    np.testing.assert_allclose(finer.sum(1), 1)


@pytest.mark.parametrize("interpolation", ["bicubic", "bicubic_antialias"])
@pytest.mark.parametrize("new", [(7, 2), (3, 9), (1, 1)])
def test_the_graph_resamples_as_the_loader_does(interpolation, new):
    array = np.random.default_rng(0).normal(size=(1, 15, 4)).astype("float32")
    before = resample_position_embedding(array, (5, 3), new, 0, interpolation)
    graph = resample_in_graph(
        ops.convert_to_tensor(array.reshape(5, 3, 4)), *new, interpolation=interpolation
    )
    np.testing.assert_allclose(ops.convert_to_numpy(graph), before, atol=1e-5)


def test_an_interpolation_that_is_not_there():
    with pytest.raises(ValueError, match="interpolation"):
        resample_position_embedding(np.zeros((1, 4, 3)), (2, 2), (3, 3), 0, "nearest")
