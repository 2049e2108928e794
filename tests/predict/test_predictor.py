"""A batch of photos gets the numbers of the model, whatever is among them."""

from __future__ import annotations

import os

import keras
import numpy as np
import pytest
from PIL import Image
from support.families import FAMILIES, build

import keras_vit
from keras_vit.distribution import default_jit
from keras_vit.predict import Classifier, Predictor, classify, load_classifier

pytestmark = pytest.mark.any_backend
NAMES = ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), "uint8")


@pytest.fixture(scope="module")
def photos(noise, tmp_path_factory) -> list:
    """Five photos, and behind the second what is none."""
    folder = tmp_path_factory.mktemp("noise")
    paths = [folder / f"{i}\udcff.png" for i in range(5)]
    for path, pixels in zip(paths, noise, strict=True):
        Image.fromarray(pixels).save(path)
    (folder / "bad.jpg").write_text("no photo")
    return [*paths[:2], folder / "bad.jpg", *paths[2:], folder / "none.jpg"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("activation", [None, "softmax"])
def test_it_gives_what_the_model_gives(family, activation, photos, noise):
    options = {"include_preprocessing": True, "classifier_activation": activation}
    model = build(family, **options)
    predictor = Predictor(Classifier(model, NAMES, (32, 32)), top=9, features=True, batch_size=3)
    sizes, forward = [], predictor._forward
    predictor._forward = lambda batch: (sizes.append(len(batch)), forward(batch))[1]
    columns = predictor({"photo": np.array([os.fsencode(path) for path in photos], object)})
    # Where each size is compiled, bad photos leave places that are filled up.
    assert sizes == ([3, 3] if default_jit() else [2, 3])
    good = [0, 1, 3, 4, 5]
    scores = model(noise.astype("float32"))
    scores = scores if activation else keras.ops.softmax(scores)
    expected = np.asarray(keras.ops.convert_to_numpy(scores))
    vectors = keras_vit.feature_model(model)(noise.astype("float32"))
    np.testing.assert_allclose(
        columns["features"][good], keras.ops.convert_to_numpy(vectors), atol=1e-4
    )
    for rank in range(1, 6):
        classes = [NAMES.index(name) for name in columns[f"class_{rank}"][good]]
        assert classes == [*np.argsort(-expected)[:, rank - 1]]
        shares = np.sort(expected)[:, -rank]
        np.testing.assert_allclose(columns[f"probability_{rank}"][good], shares, atol=1e-6)
    assert "class_6" not in columns
    assert columns["photo"][0] == os.fspath(photos[0]).replace("\udcff", "\\udcff")
    assert [bool(error) for error in columns["error"]] == [i not in good for i in range(7)]
    assert "No such file" in columns["error"][6]
    assert np.isnan(columns["features"][[2, 6]]).all() and columns["class_1"][2] == ""


@pytest.mark.one_backend
def test_features_of_a_model_around_one(photos, noise):
    """The scaling is outside of it."""
    inner = build("vit", classifier_activation="softmax")
    model = keras.Sequential([
        keras.Input((32, 32, 3)), keras.layers.Rescaling(1 / 127.5, offset=-1), inner,
    ])  # fmt: skip
    found = Predictor(Classifier(model, NAMES, (32, 32)), features=True)
    (row,) = found.predict(photos[:1])
    expected = keras_vit.feature_model(inner)(noise[:1] / 127.5 - 1)
    np.testing.assert_allclose(row.features, expected[0], atol=1e-4)


@pytest.mark.one_backend
def test_few_photos_are_not_filled_up(photos, tmp_path):
    model = build("vit", include_preprocessing=True)
    model.save(tmp_path / "model.keras")
    predictor = Predictor(tmp_path / "model.keras", batch_size=32)
    assert predictor.classifier.class_names == load_classifier(tmp_path / "model.keras").class_names
    sizes, forward = [], predictor._forward
    predictor._forward = lambda batch: (sizes.append(len(batch)), forward(batch))[1]
    one, two = predictor.predict(photos[:2])
    again, bad = predictor.predict(photos[1:3])
    assert sizes == [2, 1] and one.top != two.top
    assert dict(two.top) == pytest.approx(dict(again.top), abs=1e-5)
    assert (bad.top, bad.features) == ((), None) and bad.error
    assert classify(predictor.classifier, photos[2:3])[0].error == bad.error
    assert classify(predictor.classifier, []) == []
    for wrong in ({"top": 0}, {"batch_size": 0}):
        with pytest.raises(ValueError, match="must be a positive integer"):
            Predictor(predictor.classifier, **wrong)
