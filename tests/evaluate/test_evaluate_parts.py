"""What evaluations are made of, by hand: proportions, ReaL labels, scores, names of classes."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from keras_vit import evaluate
from keras_vit.data.preprocessing import labels
from keras_vit.evaluate.class_matching import Head
from keras_vit.evaluate.scores import Scores

# --- proportions ----------------------------------------------------------------------------


def test_wilson_interval_by_hand():
    # 1 of 10, z = 2: (.1 + .2 -+ 2 sqrt(.009 + .01)) / 1.4.
    half = 2 * math.sqrt(0.009 + 0.01)
    expected = ((0.3 - half) / 1.4, (0.3 + half) / 1.4)
    assert evaluate.wilson_interval(1, 10, z=2) == pytest.approx(expected, abs=1e-12)
    # 8 of 10 at 95 %: a textbook's (.490, .943).
    assert evaluate.wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=5e-5)
    # All right, z = 2: the lower end is n / (n + z^2).
    assert evaluate.wilson_interval(12, 12, z=2) == pytest.approx((12 / 16, 1), abs=1e-12)
    assert evaluate.wilson_interval(12, 12)[1] == 1
    assert evaluate.wilson_interval(0, 12, z=2) == pytest.approx((0, 4 / 16), abs=1e-12)
    assert evaluate.wilson_interval(0, 0) == (0, 1)
    with pytest.raises(ValueError, match=r"`right` must be in .* right=3, images=2"):
        evaluate.wilson_interval(3, 2)


def test_proportions_are_printed_with_their_interval():
    assert str(evaluate.Proportion(8, 10)) == "80.0 % (95 %: 49.0 to 94.3)"
    assert str(evaluate.Proportion(0, 0)) == "-"


# --- ReaL -----------------------------------------------------------------------------------


def test_real_labels_are_those_of_the_authors(shared):
    theirs = json.loads((shared / "labels" / "imagenet_real.json").read_text())
    assert [sorted(classes) for classes in theirs] == [sorted(x) for x in evaluate.real_labels()]


def test_real_accuracy_by_hand():
    # Images 1 to 4 have no class; 970 and 795; 230 and 231; 809.
    sets = [set(), {970, 795}, {230, 231}, {809}]
    assert [set(x) for x in evaluate.real_labels()[:4]] == sets
    # 795 and 809 are right, 232 is not; image 1 has an empty set and number 0 none at all.
    predictions = np.array([5, 795, 232, 809, 809])
    real = evaluate.real_accuracy(predictions, np.array([1, 2, 3, 4, 0]))
    assert real == evaluate.Proportion(2, 3)
    assert evaluate.real_accuracy(predictions[:1], np.array([1])) == evaluate.Proportion(0, 0)
    assert evaluate.real_accuracy(predictions, np.zeros(5, int)) is None


# --- scores ---------------------------------------------------------------------------------


def scores_of(outputs, labels, probabilities=False):
    numbers = np.zeros(len(labels), int)
    return Scores.of(np.array(outputs, "float32"), np.array(labels), numbers, probabilities)


def test_ranks_with_ties():
    outputs = [[1, 3, 3, 0, 2, 2, -9]] * 4
    scores = scores_of(outputs, [1, 2, 5, -1])
    np.testing.assert_array_equal(scores.predictions, [1, 1, 1, 1])  # the first of equal ones
    # 2 comes after 1, which is equal; 5 after 1, 2 and 4; an unknown class after all.
    np.testing.assert_array_equal(scores.ranks, [0, 1, 3, 7])
    np.testing.assert_array_equal(np.isnan(scores.losses), [False, False, False, True])


def test_losses_of_logits_and_of_probabilities():
    p = [[0.25, 0.7, 0.05], [0.5, 0.5, 0]]
    expected = [-math.log(0.7), -math.log(1e-7)]
    np.testing.assert_allclose(scores_of(p, [1, 2], True).losses, expected, rtol=1e-6)
    logits = np.log([[0.25, 0.7, 0.05]]) + 300  # whose exponentials overflow
    np.testing.assert_allclose(scores_of(logits, [1]).losses, expected[:1], rtol=1e-4)


def test_a_model_that_gives_nan_is_refused():
    with pytest.raises(ValueError, match=r"must be numbers.*NaN for 1 of 2 images.*diverged"):
        scores_of([[0, 1], [0, math.nan]], [0, 0])


# --- which class is which -------------------------------------------------------------------

IMAGENET = Head.of(None, 1000)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("n01440764", "n01443537"), [0, 1]),
        (("n01443537_goldfish", "n01440764_tench"), [1, 0]),
        (("001_n01443537", "000_n01440764"), [1, 0]),
        (("0", "999"), [0, 999]),
        (("000", "010"), [0, 10]),
        (("tench", "great_white_shark", "Great Grey Owl"), [0, 2, 24]),
    ],
)
def test_classes_of_imagenet_are_found(classes, expected):
    assert IMAGENET.find(classes).tolist() == expected


def test_classes_of_other_heads_are_found():
    wide = Head.of(None, 21843)
    ids = [wordnet_id for wordnet_id, _ in labels(21843)]
    assert [ids[i] for i in wide.find(["n01440764", "n01443537"])] == ["n01440764", "n01443537"]
    assert wide.imagenet_indices()[wide.find(["n01443537"])] == [1]
    own = Head.of(("n01443537", "n01440764"), 2)
    assert own.find(["n01440764"]).tolist() == [1]
    assert own.imagenet_indices().tolist() == [1, 0]
    numbered = Head.of(("0", "1", "10", "2"), 4)  # sorted as folders are: names before indices
    assert numbered.find(["10", "2"]).tolist() == [2, 3]
    unnamed = Head.of(None, 3)
    assert unnamed.find(["cat", "dog", "eel"]).tolist() == [0, 1, 2]
    assert unnamed.imagenet_indices() is None


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("tench", "rose", "tulip"), r"by their name. Not found: 'rose', 'tulip', 2 of 3"),
        (("n01440764", "n00000000"), r"by their WordNet id. Not found: 'n00000000', 1 of 2"),
        (("005_n01440764", "001_n01443537"), r"WordNet id. Not found: '005_n01440764', 1 of 2"),
        (("12", "1000"), r"by their index. Not found: '1000', 1 of 2"),
        (("crane", "tench"), r"by their name. Not found: 'crane', 1 of 2"),  # bird and machine
        (("rose", "tulip"), r"among the 1000 of the model. Not found: 'rose', 'tulip', 2 of 2"),
        (("0", "000"), r"Every class .* '0' and '000'. Received: by their index, both are 'tench'"),
    ],
)
def test_classes_that_are_not_those_of_the_model(classes, message):
    with pytest.raises(ValueError, match=message):
        IMAGENET.find(classes)
