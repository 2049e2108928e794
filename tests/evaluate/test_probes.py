"""Nearest neighbours and the linear probe, which take all training images: by hand."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from support.feature_clouds import clouds

from keras_vit.evaluate import linear_probe, nearest_neighbours


def test_neighbours_by_hand():
    """On a circle, by degrees; lengths do not count."""

    def at(*degrees: float) -> np.ndarray:
        angles = np.radians(degrees)
        lengths = np.arange(1, len(degrees) + 1)
        return np.column_stack([np.cos(angles), np.sin(angles)]) * lengths[:, None]

    train, labels = at(0, 10, 40, 50, 60, 180), np.array([2, 2, 1, 1, 1, 0])

    def classes(k: int, *degrees: float, temperature: float | None = None) -> list[int]:
        return nearest_neighbours(train, labels, at(*degrees), k, temperature).tolist()

    assert classes(1, 4, 30, 170, -20) == [2, 1, 0, 2]
    assert classes(3, 4, 20, 51) == [2, 2, 1]
    assert classes(5, 4, 20) == [1, 1]  # three votes of five, however far
    # Two votes each: the class of the nearest wins.
    assert classes(4, 4, 24, 26) == [2, 2, 1]
    # All six: three votes of five for 1, unless near ones count more.
    assert classes(6, 4) == [1] and classes(6, 4, temperature=0.07) == [2]
    assert classes(6, 170, temperature=1e-4) == [0]
    # Equally near: the first in order. A feature of zeros is near to none.
    assert nearest_neighbours([[1, 0], [1, 0]], [1, 0], [[2, 0], [0, 0]], k=1).tolist() == [1, 1]


def test_neighbours_of_many_images_are_those_of_each():
    train, labels = clouds(40, noise=2.0)
    test, _ = clouds(700, noise=2.0, seed=1)  # more than are taken at once
    together = nearest_neighbours(train, labels, test, k=7)
    apart = [nearest_neighbours(train, labels, row[None], k=7)[0] for row in test[::100]]
    np.testing.assert_array_equal(together[::100], apart)


def test_what_neighbours_do_not_take():
    features, labels = clouds(2)
    for options, message in (
        ({"k": 0}, "between 1 and.*6.*k=0"),
        ({"k": 7}, "k=7"),
        ({"temperature": 0.0}, "temperature=0.0"),
    ):
        with pytest.raises(ValueError, match=message):
            nearest_neighbours(features, labels, features, **options)


def test_a_probe_of_what_can_be_separated():
    probe = linear_probe(*clouds(20), *clouds(10, seed=1))
    assert probe.accuracy == 1.0
    assert [row[0] for row in probe.validation] == sorted([row[0] for row in probe.validation])[
        ::-1
    ]
    assert {row[1] for row in probe.validation} == {1.0}
    # Equally accurate: the surest.
    assert probe.l2 == min(probe.validation, key=lambda row: row[2])[0]


def test_a_probe_chooses_on_held_out_training_images_alone():
    train, test = clouds(20, width=20, noise=4.0), clouds(50, width=20, noise=4.0, seed=1)
    probe = linear_probe(*train, *test)
    best = max(row[1] for row in probe.validation)
    assert probe.l2 == min((r for r in probe.validation if r[1] == best), key=lambda r: r[2])[0]
    assert probe.l2 > 1e-3  # with so much noise
    again = linear_probe(*train, test[0], np.zeros_like(test[1]))
    assert (again.l2, again.validation) == (probe.l2, probe.validation)
    assert again.accuracy != probe.accuracy
    assert linear_probe(*train, *test) == probe
    assert linear_probe(*train, *test, seed=5).validation != probe.validation


def test_a_probe_minimises_what_it_says():
    from keras_vit.evaluate.probes import _logistic_regression

    features, labels = clouds(30, noise=2.0)
    l2 = 0.03
    fitted = _logistic_regression(features, labels, l2)
    x = (features - features.mean(0)) / features.std(0)
    error = fitted.predict_proba(features) - np.eye(3)[labels]  # [N, classes]
    slope = error.T @ x / len(x) + l2 * fitted[-1].coef_
    assert np.abs(slope).max() < 1e-4 < np.abs(l2 * fitted[-1].coef_).max() / 10
    assert np.abs(error.mean(axis=0)).max() < 1e-4  # the bias is free


def test_what_a_probe_does_not_take(monkeypatch):
    features, labels = clouds(4)
    sets = (features, labels, features, labels)
    for options, message in (
        ({"l2_grid": ()}, r"l2_grid=\(\)"),
        ({"l2_grid": (1.0, 0.0)}, r"l2_grid=\(1.0, 0.0\)"),
        ({"validation_share": 1.0}, "validation_share=1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            linear_probe(*sets, **options)
    with pytest.raises(ValueError, match="at least two classes"):
        linear_probe(features, labels * 0, features, labels)
    with pytest.raises(ValueError, match="two training images"):
        linear_probe(features[:3], [0, 1, 2], features, labels)
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(ImportError, match=r"pip install keras-vit-applications\[probes\]"):
        linear_probe(*sets)
