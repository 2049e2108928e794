"""Files that version 0.1 wrote, when all modules lay in one folder, still open and say the same."""

from __future__ import annotations

import json
import shutil

import keras
import numpy as np
import pytest
from support.paths import TESTS

import keras_vit  # noqa: F401  the layers register themselves
from keras_vit.predict import load_classifier

pytestmark = pytest.mark.any_backend
WRITTEN = TESTS / "fixtures" / "written_by_0_1"
ANSWERS = json.loads((WRITTEN / "answers.json").read_text())


def _check(model, expected):
    shape = (2, *model.input_shape[1:])
    pixels = np.random.default_rng(7).integers(0, 256, shape).astype("float32")
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model(pixels)), expected, rtol=0, atol=2e-6
    )


def test_a_model():
    """`keras.models.load_model` finds the layers by their registered names."""
    _check(keras.models.load_model(WRITTEN / "vit.keras"), ANSWERS["vit"])


@pytest.mark.one_backend  # what `test_a_model` does not have is the folder around it
def test_a_run_folder(tmp_path):
    classifier = load_classifier(shutil.copytree(WRITTEN / "run", tmp_path / "run"))
    assert classifier.class_names == tuple("0123456789")
    assert (classifier.image_size, classifier.resize) == ((40, 40), "squash")
    _check(classifier.model, ANSWERS["run"])
