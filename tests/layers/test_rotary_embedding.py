"""Rotary positions by hand; DINOv3's models of two libraries are in test_families.py."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_vit import layers
from keras_vit.layers.rotary_embedding import rotated

pytestmark = pytest.mark.any_backend


def _values(x):
    return ops.convert_to_numpy(x)


def _table(rows, columns, num_prefix_tokens=1, **options):
    layer = layers.RotaryEmbedding(3, num_prefix_tokens, **options)
    return _values(layer(np.zeros((2, rows, columns, 24), "float32")))


def test_the_angles_by_hand():
    """Two rows lie at -1/2 and 1/2, three columns at -2/3, 0 and 2/3; d = 8 has two frequencies."""
    table = _table(2, 3, num_prefix_tokens=2, base=9.0)
    assert table.shape == (1, 2 + 6, 8)
    np.testing.assert_array_equal(table[0, :2], [[1] * 4 + [0] * 4] * 2)  # are not turned
    places = [(y, x) for y in (-1 / 2, 1 / 2) for x in (-2 / 3, 0, 2 / 3)]
    for found, (y, x) in zip(table[0, 2:], places, strict=True):
        # 9 ** (1 / 2) = 3 turns by a third.
        angles = [2 * math.pi * y, 2 * math.pi * y / 3, 2 * math.pi * x, 2 * math.pi * x / 3]
        expected = [*map(math.cos, angles), *map(math.sin, angles)]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_pairs_are_turned_as_complex_numbers():
    random = np.random.default_rng(0)
    heads, angles = random.normal(size=(2, 3, 5, 8)), random.normal(size=(5, 4))
    table = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)[None]
    found = _values(rotated(heads.astype("float32"), table.astype("float32")))
    turned = (heads[..., :4] + 1j * heads[..., 4:]) * np.exp(1j * angles)
    expected = np.concatenate([turned.real, turned.imag], axis=-1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_scores_depend_on_how_far_patches_lie_from_each_other():
    """Of one query and one key, everywhere: 4 x 4 patches, and no class token."""
    random = np.random.default_rng(0)
    query, key = (np.tile(random.normal(size=8), (1, 1, 16, 1)) for _ in range(2))
    table = _table(4, 4, num_prefix_tokens=0)
    query, key = (_values(rotated(x.astype("float32"), table)) for x in (query, key))
    scores = (query @ key.swapaxes(-1, -2)).reshape(4, 4, 4, 4)  # [row, column, row, column]
    np.testing.assert_allclose(scores[0, 1, 2, 2], scores[1, 2, 3, 3], atol=1e-5)
    assert abs(scores[0, 1, 2, 2] - scores[0, 1, 2, 3]) > 0.01
    assert abs(scores[0, 1, 2, 2] - scores[2, 2, 0, 1]) > 0.01  # in this direction


def test_attention_turns_queries_and_keys_but_not_values():
    random = np.random.default_rng(0)
    tokens = random.normal(size=(2, 7, 12)).astype("float32")
    layer = layers.MultiHeadSelfAttention(3, key_bias=False)
    table = _values(layers.RotaryEmbedding(3)(np.zeros((1, 2, 3, 12), "float32")))
    found = _values(layer(tokens, table))
    assert layer.key.bias is None

    def heads(dense):
        return _values(dense(tokens)).reshape(2, 7, 3, 4).swapaxes(1, 2)

    query, key = (_values(rotated(heads(part), table)) for part in (layer.query, layer.key))
    scores = query @ key.swapaxes(-1, -2) / 2
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    mixed = (weights @ heads(layer.value)).swapaxes(1, 2).reshape(2, 7, 12)
    np.testing.assert_allclose(found, _values(layer.out(mixed)), atol=1e-5)
    assert np.abs(found - _values(layer(tokens))).max() > 0.01  # without positions


def test_a_16_bit_policy_computes_the_angles_in_float32():
    layer = layers.RotaryEmbedding(1, 0, dtype="mixed_bfloat16")
    found = layer(np.zeros((1, 3, 97, 8), "float32"))
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    expected = _values(layers.RotaryEmbedding(1, 0)(np.zeros((1, 3, 97, 8), "float32")))
    found = np.asarray(_values(ops.cast(found, "float32")))
    np.testing.assert_allclose(found, expected, atol=2**-8)


def test_a_head_has_a_multiple_of_four_channels():
    with pytest.raises(ValueError, match=r"multiple of 4 channels.*width=24, num_heads=4"):
        layers.RotaryEmbedding(4)(np.zeros((1, 2, 3, 24), "float32"))
