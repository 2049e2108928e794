"""`data.open`: one name, the right source, and options that go with it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from support.colour_photos import write_photos

from keras_vit import data


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path / "photos", 10, classes=2)


def levels(batches):
    return np.concatenate([pixels for pixels, _ in batches.as_numpy_iterator()])


def test_every_kind_gives_what_its_own_function_gives(photos, tmp_path):
    records = data.write_records(photos, tmp_path / "records", progress=False)
    for opened, expected in (
        (data.open("digits"), data.digits(8, 4)),
        (data.open(photos), data.from_folder(photos, 8, 4)),
        (data.open(records), data.from_records(records, 8, 4)),
    ):
        found = opened.prepare(8, 4)
        assert found.class_names == expected.class_names
        assert (found.num_train, found.num_validation) == (
            expected.num_train,
            expected.num_validation,
        )
        np.testing.assert_array_equal(levels(found.validation), levels(expected.validation))
        first, other = (next(iter(part.training(3)))[0] for part in (found, expected))
        np.testing.assert_array_equal(first, other)


def test_digits_are_not_mirrored():
    found = data.open("digits")
    assert (found.flip, found.crop_area) == (False, (0.8, 1.0))


def test_to_evaluate_needs_no_images_to_train_on(photos):
    found = data.open(photos, to_evaluate=True)
    assert (found.train, found.validation.count) == (None, 20)
    image, label, number = found.read(*next(iter(found.validation.dataset)))
    assert (image.shape[-1], int(label), int(number)) == (3, 0, 0)
    with pytest.raises(ValueError, match="photos was opened to evaluate on"):
        found.prepare()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "digits",
            {"validation_share": 0.1},
            "goes with a folder of images. Leave it out, or pass other data. Received: "
            "data='digits', scikit-learn's digits, and validation_share='0.1'$",
        ),
        ("digits", {"split": "test"}, "`split` goes with images to evaluate on"),
        ("photos", {"data_dir": "x"}, "`data_dir` goes with the name of a TensorFlow data set"),
        ("photos", {"to_evaluate": True, "validation_share": 0.1}, "goes with images to train on"),
        ("photos", {"to_evaluate": True, "train_split": "train"}, "goes with images to train on"),
        ("photos", {"train_split": "train"}, "goes with the name of a TensorFlow data set"),
    ],
)
def test_an_option_of_another_kind_is_refused(photos, monkeypatch, name, options, message):
    monkeypatch.chdir(photos.parent)
    with pytest.raises(ValueError, match=message):
        data.open(name, **options)


def test_a_missing_library_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r"no folder 'pets'.*\[tfds\]"):
        data.open("pets")
