"""MixUp, CutMix and random erasing: what they compute, and from which seed."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_vit.data.augment.mixing import cutmix, mix, mixup, random_erasing

LABELS = np.eye(5, dtype="float32")


@pytest.fixture
def images() -> np.ndarray:
    """float32 [5, 11, 7, 3], each of one level."""
    return np.broadcast_to(np.arange(10.0, 60, 10)[:, None, None, None], (5, 11, 7, 3)).astype("f")


def shares(labels) -> np.ndarray:
    """The share of its own label that each image keeps."""
    labels = np.asarray(labels)
    np.testing.assert_allclose(labels.sum(1), 1, rtol=1e-6)
    own = np.diagonal(labels)
    # The rest is the label of the one before; the first image meets the last.
    np.testing.assert_allclose(
        labels, own[:, None] * LABELS + (1 - own[:, None]) * LABELS[[4, 0, 1, 2, 3]]
    )
    return own


def test_mixup_fades_into_the_one_before(images):
    mixed, labels = mixup(images, LABELS, (0, 3), 0.5)
    (share,) = set(shares(labels))
    assert 0.5 <= share < 1
    np.testing.assert_allclose(
        mixed, share * images + (1 - share) * np.roll(images, 1, 0), rtol=1e-5
    )
    again = mixup(images, LABELS, (0, 3), 0.5)[0]
    np.testing.assert_array_equal(mixed, again)
    assert not np.array_equal(mixed, mixup(images, LABELS, (0, 4), 0.5)[0])


def own_shares(function, alpha, count=2000) -> np.ndarray:
    pixels = tf.zeros((2, 16, 16, 1))
    labels = tf.eye(2)
    seeds = tf.data.Dataset.range(count)
    dataset = seeds.map(lambda i: function(pixels, labels, tf.stack([i, 1]), alpha)[1][0, 0])
    return np.array(list(dataset.as_numpy_iterator()))


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.8])
def test_shares_of_mixup_are_from_a_beta_distribution(alpha):
    got = own_shares(mixup, alpha)
    assert np.all(np.isfinite(got))
    assert got.min() >= 0.5
    expected = np.random.default_rng(0).beta(alpha, alpha, 200_000)
    expected = np.maximum(expected, 1 - expected)
    for quantile in (0.1, 0.25, 0.5, 0.75):
        assert np.quantile(got, quantile) == pytest.approx(
            np.quantile(expected, quantile), abs=0.03
        )


def test_cutmix_pastes_a_box_of_the_one_before(images):
    seen = set()
    for number in range(30):
        mixed, labels = (np.asarray(x) for x in cutmix(images, LABELS, (1, number), 1.0))
        (share,) = {round(float(x), 6) for x in shares(labels)}
        pasted = (mixed != images).any(-1)
        assert pasted.std(0).max() == 0  # the same box for all
        rows, columns = np.flatnonzero(pasted[0].any(1)), np.flatnonzero(pasted[0].any(0))
        assert pasted[0].sum() == len(rows) * len(columns)
        if len(rows):
            assert np.all(np.diff(rows) == 1)
            assert np.all(np.diff(columns) == 1)
        assert share == pytest.approx(1 - pasted[0].mean(), abs=1e-6)
        np.testing.assert_array_equal(mixed[pasted], np.roll(images, 1, 0)[pasted])
        seen.add(share)
    assert len(seen) > 10


def test_cutmix_leaves_more_than_its_beta_as_boxes_reach_outside():
    # With alpha = 1 a share of 1/2 on average would be left if all of every box were inside.
    assert 0.55 < own_shares(cutmix, 1.0).mean() < 0.75


def test_both_take_turns(images):
    kinds = []
    for number in range(40):
        mixed, _ = mix(images, LABELS, (2, number), 0.8, 1.0)
        kinds.append(set(np.unique(np.asarray(mixed))) <= set(np.unique(images)))
    assert 8 < sum(kinds) < 32
    untouched, labels = mix(images, LABELS, (2, 0), 0.0, 0.0)
    assert untouched is images
    assert labels is LABELS


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("inf")])
@pytest.mark.parametrize("function", [mixup, cutmix])
def test_alpha_out_of_range(images, function, alpha):
    with pytest.raises(ValueError, match="`alpha` must be a positive number"):
        function(images, LABELS, (0, 0), alpha)


def test_labels_have_to_be_shares(images):
    with pytest.raises(ValueError, match=r"one-hot labels .*and \(5,\)"):
        mixup(images, np.arange(5), (0, 0), 0.2)


# --- random erasing -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_erasing_replaces_a_rectangle_by_noise(dtype):
    image = np.full((40, 30, 3), 99, dtype)
    areas, ratios = [], []
    erase = tf.function(lambda seed: random_erasing(image, seed, 1.0))
    for number in range(150):
        got = erase(tf.constant([3, number], tf.int64)).numpy()
        assert got.dtype == dtype
        changed = (got != image).any(-1)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert changed.sum() > 0.95 * height * width
        areas.append(height * width / (40 * 30))
        ratios.append(height / width)
    assert 0.01 < min(areas) < 0.05
    assert 0.28 < max(areas) < 0.36
    assert np.median(ratios) == pytest.approx(1, abs=0.25)
    np.testing.assert_array_equal(got, erase(tf.constant([3, 149], tf.int64)))
    assert 100 < got[changed].mean() < 155


def test_erasing_happens_as_often_as_asked():
    image = tf.zeros((8, 8, 3), tf.uint8)
    seeds = tf.data.Dataset.range(800)
    hits = seeds.map(lambda i: tf.reduce_any(random_erasing(image, tf.stack([i, i]), 0.25) > 0))
    assert np.mean(list(hits.as_numpy_iterator())) == pytest.approx(0.25, abs=0.05)


def test_tiny_images_are_erased_too():
    assert random_erasing(np.zeros((1, 1, 3), "uint8"), (0, 0), 1.0).shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"probability": 1.5}, "probability"),
        ({"area": (0.5, 0.1)}, "area"),
        ({"aspect": 0}, "aspect"),
    ],
)
def test_erasing_out_of_range(options, name):
    with pytest.raises(ValueError, match=f"`{name}`.*Received: {name}="):
        random_erasing(np.zeros((4, 4, 3), "uint8"), (0, 0), **options)
