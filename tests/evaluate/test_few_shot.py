"""Few-shot accuracy: by hand, by the command, and on real photos."""

from __future__ import annotations

import csv
import json
import re
import zipfile

import numpy as np
import pytest
from PIL import Image
from support.colour_photos import write_photos
from support.feature_clouds import clouds

import keras_vit
from keras_vit.data import from_folder
from keras_vit.evaluate import (
    FewShot,
    draw_shots,
    evaluate_few_shot,
    fit_least_squares,
)
from keras_vit.evaluate.few_shot_report import write_report

# --- least squares --------------------------------------------------------------------------


def test_the_classifier_by_hand():
    """Features 0, 0, 3: mean 1, standard deviation root 2, so x is -1, -1, 2 over root 2."""
    classifier = fit_least_squares([[0], [0], [3]], [0, 0, 1], l2=1.0)
    root = np.sqrt(2)
    assert classifier.mean == [1] and classifier.std == pytest.approx([root + 1e-5], rel=1e-14)
    np.testing.assert_allclose(
        classifier.inputs([[0], [0], [3]]),
        [[-1 / root, 100], [-1 / root, 100], [2 / root, 100]],
        rtol=1e-5,
    )
    # Targets 1, 1, -1 and -1, -1, 1. X'X is diagonal, 3 and 30,000; X'Y is -4 over root 2 and 100.
    expected = np.array([[-4 / root / (3 + 1)], [100 / (30_000 + 1)]])
    np.testing.assert_allclose(classifier.weights, expected * [1, -1], rtol=1e-5)
    # At 3 the first class has -4/4 + 10000/30001.
    np.testing.assert_allclose(
        classifier.scores([[3]]), [[-1 + 10_000 / 30_001, 1 - 10_000 / 30_001]], rtol=1e-5
    )


def test_a_feature_that_never_changes_counts_for_nothing():
    features, labels = clouds(5)
    constant = np.column_stack([features, np.full(len(features), 7.0)])
    np.testing.assert_allclose(fit_least_squares(constant, labels).weights[-2], 0, atol=1e-12)


@pytest.mark.parametrize(("count", "width"), [(1, 7), (2, 5), (2, 6), (4, 7), (11, 3)])
@pytest.mark.parametrize("l2", [1024.0, 3.0])
def test_both_forms_are_the_formula(count, width, l2):
    """(X'X + l2 I)^-1 X'Y, inverted outright; with fewer images than features and with more."""
    features, labels = clouds(count, width=width, noise=1.0)
    x = (features - features.mean(0)) / (features.std(0) + 1e-5)
    x = np.column_stack([x, np.full(len(x), 100.0)])
    y = 2 * np.eye(3)[labels] - 1
    expected = np.linalg.inv(x.T @ x + l2 * np.eye(width + 1)) @ x.T @ y
    classifier = fit_least_squares(features, labels, l2=l2)
    np.testing.assert_allclose(classifier.weights, expected, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize(("count", "width"), [(5, 192), (25, 64)])
def test_the_classes_are_those_of_big_vision_s_eigenvalues(count, width):
    """Its way to the same weights: eigenvalues of X'X or XX', in float32."""
    features, labels = clouds(count, 12, width, noise=1.5)
    x = features.astype("float32")
    mean, std = x.mean(0), x.std(0) + np.float32(1e-5)
    x = np.pad((x - mean) / std, ((0, 0), (0, 1)), constant_values=100)
    y = (2 * np.eye(12)[labels] - 1).astype("float32")
    if len(x) >= x.shape[1]:
        eigenvalues, vectors = np.linalg.eigh(x.T @ x)
        left, right = vectors, vectors.T @ (x.T @ y)
    else:
        eigenvalues, vectors = np.linalg.eigh(x @ x.T)
        left, right = x.T @ vectors, vectors.T @ y
    weights = left / (eigenvalues + np.float32(1024)) @ right
    assert weights.dtype == np.float32

    test, _ = clouds(20, 12, width, noise=1.5, seed=1)
    scores = np.pad((test - mean) / std, ((0, 0), (0, 1)), constant_values=100) @ weights
    found = fit_least_squares(features, labels).scores(test)
    np.testing.assert_allclose(found, scores, atol=1e-3)
    np.testing.assert_array_equal(found.argmax(1), scores.argmax(1))


# --- shots ----------------------------------------------------------------------------------


def test_shots_follow_from_the_seed_and_few_are_among_many():
    labels = clouds(10)[1]
    chosen = draw_shots(labels, 4, seed=1)
    np.testing.assert_array_equal(labels[chosen], np.repeat([0, 1, 2], 4))
    assert len(set(chosen)) == 12
    np.testing.assert_array_equal(draw_shots(labels, 4, seed=1), chosen)
    assert set(draw_shots(labels, 4, seed=2)) != set(chosen)
    assert set(draw_shots(labels, 2, seed=1)) < set(chosen)
    # big_vision: one generator, a permutation of each class in turn.
    rng = np.random.default_rng(1)
    for label in range(3):
        order = rng.permutation(np.where(labels == label)[0])
        np.testing.assert_array_equal(chosen[4 * label : 4 * label + 4], order[:4])


def test_accuracies_of_shots_and_seeds():
    train, test = clouds(9), clouds(4, seed=1)
    result = evaluate_few_shot(*train, *test, shots=(5, 1, 5), seeds=2)
    assert result == FewShot((1, 5), (0, 1), ((1.0, 1.0), (1.0, 1.0)), 3, 12, 1024.0)
    # A class that test labels name wrongly: a third of them is wrong.
    names = np.where(test[1] == 2, 0, test[1])
    result = evaluate_few_shot(*train, test[0], names, shots=[3], seeds=[7])
    assert result.accuracies == ((pytest.approx(2 / 3),),) and result.seeds == (7,)
    assert result.spreads == (0.0,)
    noisy, harder = clouds(30, noise=2.0), clouds(50, noise=2.0, seed=1)
    result = evaluate_few_shot(*noisy, *harder, shots=(1, 25), seeds=3)
    assert result == evaluate_few_shot(*noisy, *harder, shots=(1, 25), seeds=3)
    assert len(set(result.accuracies[0])) > 1 and result.means[1] > result.means[0] + 0.1

    by_hand = FewShot((1, 2), (0, 1, 2), ((0.2, 0.4, 0.9), (0.5, 0.5, 0.5)), 3, 10, 1024.0)
    assert by_hand.means == pytest.approx((0.5, 0.5))
    assert by_hand.spreads == pytest.approx((0.13**0.5, 0))


def test_what_cannot_be_drawn_or_fitted():
    features, labels = clouds(4)
    few = np.append(labels, 3), np.vstack([features, features[:1]])
    with pytest.raises(ValueError, match=r"Take fewer shots, 1 at most.*1 classes with fewer, 3 "):
        draw_shots(few[0], 4, 0)
    with pytest.raises(ValueError, match=r"4 shots.*3 \(1\)"):
        evaluate_few_shot(few[1], few[0], features, labels, shots=[1, 4])
    with pytest.raises(ValueError, match=r"0 at most.*3 \(0\)"):
        draw_shots(labels, 1, 0, num_classes=4)
    with pytest.raises(ValueError, match=r"must be at least 3.*num_classes=2"):
        fit_least_squares(features, labels, num_classes=2)
    with pytest.raises(ValueError, match="l2=0"):
        fit_least_squares(features, labels, l2=0)
    sets = (features, labels, features, labels)
    for options, message in (
        ({"shots": ()}, r"shots=\(\)"),
        ({"shots": (0, 1)}, r"`shots`.*at least 1.*\(0, 1\)"),
        ({"shots": (1.5,)}, r"shots=\(1.5,\)"),
        ({"seeds": 0}, "seeds=0"),
        ({"seeds": [-1]}, r"seeds=\[-1\]"),
        ({"l2": -1.0}, "l2=-1"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_few_shot(*sets, **{"shots": [1], **options})
    for train, train_labels, message in (
        (features[:, 0], labels, r"\[N, D\].*\(12,\) and \(12,\)"),
        (features, labels[1:], r"\(12, 5\) and \(11,\)"),
        (features[:0], labels[:0], r"\(0, 5\)"),
        (features * [1, 1, 1, 1, np.nan], labels, "finite.*12 of 12"),
        (features, labels - 1, "least -1"),
        (features, labels * 1.0, "float64"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_least_squares(train, train_labels)
    with pytest.raises(ValueError, match=r"same width.*5 and 4"):
        evaluate_few_shot(features, labels, features[:, :4], labels, shots=[1])


# --- the tool -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Coloured photos, and a small model for pixels in [0, 255]."""
    folder = tmp_path_factory.mktemp("few")
    write_photos(folder / "photos" / "train", 6)
    write_photos(folder / "photos" / "test", 2)
    model = keras_vit.ViT(
        (16, 24), 8, 12, 2, 2, 20, representation_size=9, classes=7, include_preprocessing=True,
        name="small",
    )  # fmt: skip
    model.save(folder / "small.keras")
    return folder


def test_the_tool_writes_numbers_and_a_picture_and_keeps_an_old_folder(folder, tool):
    out = folder / "out"
    command = ("few_shot", folder / "photos", "--model", folder / "small.keras", "--out", out)
    code, printed, _ = tool(*command, "--shots", 5, 1, "--seeds", 2)
    assert code == 0
    assert "small on photos: 3 classes, 18 images to train on, 6 to test on" in printed
    content = json.loads((out / "few_shot.json").read_text("utf-8"))
    assert content["protocol"] == {
        "feature_width": 9, "resized_to": [18, 27], "cropped_to": [16, 24],
        "interpolation": "bilinear", "l2": 1024.0,
        "seeds": [0, 1],
    }  # fmt: skip
    assert [row["shots"] for row in content["few_shot"]] == [1, 5]
    assert content["few_shot"][1]["mean"] > 0.9  # a glance tells the colours apart
    with (out / "few_shot.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["shots"], row["seed"]) for row in rows] == [
        ("few-shot", "1", "0"), ("few-shot", "1", "1"), ("few-shot", "5", "0"),
        ("few-shot", "5", "1"), ("linear probe", "all", ""), ("5 nearest neighbours", "all", ""),
    ]  # fmt: skip
    assert re.search(rf"\n +5 +{100 * content['few_shot'][1]['accuracies'][0]:.2f} ", printed)
    with Image.open(out / "few_shot.png") as picture:
        assert picture.convert("L").getextrema()[0] < 200, "the picture is blank"

    code, _, error = tool(*command, "--shots", 1)
    assert code == 2 and "--overwrite" in error
    code, _, error = tool(*command, "--shots", 1, 25, "--overwrite")
    assert code == 2 and "25 shots" in error and "blå (6)" in error and "6 at most" in error
    assert json.loads((out / "few_shot.json").read_text("utf-8")) == content
    code, _, _ = tool(*command, "--shots", 1, "--overwrite")
    assert code == 0 and (folder / "out.old" / "few_shot.json").exists()
    assert not list(folder.glob(".out*")) + list(folder.glob("*unfinished*"))


def test_training_images_come_in_the_order_of_the_files_too(folder):
    data = from_folder(folder / "photos", 16, 4)
    labels = np.concatenate([label for _, label in data.train_in_order.as_numpy_iterator()])
    np.testing.assert_array_equal(labels, np.repeat([0, 1, 2], 6))
    ordered, shuffled = (
        sorted(image.tobytes() for image, _ in dataset.unbatch().as_numpy_iterator())
        for dataset in (data.train_in_order, data.train_as_validation)
    )
    assert ordered == shuffled


# --- the real model -------------------------------------------------------------------------


def flowers(shared, folder, train: int, test: int):
    """So many photos of each species."""
    with zipfile.ZipFile(shared / "data" / "flowers12.zip") as archive:
        names: dict[str, list[str]] = {}
        for name in sorted(archive.namelist()):
            if name.endswith(".jpg"):
                names.setdefault(name.rsplit("/", 1)[0], []).append(name)
        for place, found in names.items():
            most = train if place.startswith("train/") else test
            archive.extractall(folder, found[:most])
    return folder


def test_five_photos_of_each_species_are_enough_in_the_small(shared, ti16_path, tmp_path):
    """The 60 first photos to learn from, and 60 to test on."""
    photos = flowers(shared, tmp_path / "flowers", 5, 5)
    report = write_report(ti16_path, photos, tmp_path / "out", shots=[5], seeds=1)
    assert report.few_shot.num_test == 60 and report.width == 192
    assert report.few_shot.accuracies[0][0] >= 0.96  # at most two are wrong


@pytest.mark.slow
def test_five_photos_of_each_species_are_enough(shared, ti16_path, tmp_path):
    photos = flowers(shared, tmp_path / "flowers", 60, 20)
    report = write_report(ti16_path, photos, tmp_path / "out")
    few = report.few_shot
    assert (few.shots, few.seeds, few.num_test) == ((1, 5, 10, 25), (0, 1, 2), 240)
    assert few.means[1] >= 0.98 and few.means[0] > 0.85
    assert few.means[3] >= 0.985 and few.spreads[0] > few.spreads[1]
    assert report.probe.accuracy >= 0.98 and report.neighbours >= 0.975
