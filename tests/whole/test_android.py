"""What examples/android/Classifier.kt relies on in a file, with the same calls in Python.

Kotlin itself is not compiled or run here.
"""

from __future__ import annotations

import re
import zipfile

import keras
import numpy as np
import pytest
from support.paths import ROOT

import keras_vit

SOURCE = ROOT / "examples" / "android" / "Classifier.kt"
NAMES = ["tench", "vélo", "great grey owl"]


def test_the_names_and_shapes_that_the_kotlin_file_expects(tmp_path):
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="the extra tflite")
    tflite = pytest.importorskip("keras_vit.exports.tflite.export", reason="the TFLite export")
    constants = dict(re.findall(r'const val (\w+) = "(\w+)"', SOURCE.read_text("utf-8")))
    keras.utils.set_random_seed(0)
    model = keras_vit.ViT((32, 48), 8, 32, 1, 4, 64, classes=3)
    model.get_layer("head").kernel.assign(np.random.default_rng(0).normal(0, 1, (32, 3)))
    path = tflite.export_tflite(model, tmp_path / "vit.tflite", uint8_input=True, class_names=NAMES)

    run = litert.Interpreter(str(path)).get_signature_runner(constants["SIGNATURE"])
    image = run.get_input_details()[constants["INPUT"]]
    assert (image["dtype"], image["shape"].tolist()) == (np.uint8, [1, 32, 48, 3])
    pixels = np.random.default_rng(1).integers(0, 256, (1, 32, 48, 3), "uint8")
    scores = run(**{constants["INPUT"]: pixels})[constants["OUTPUT"]]
    expected = model.predict(keras_vit.preprocess_input(pixels), verbose=0)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(scores, expected, atol=1e-4)

    with zipfile.ZipFile(path) as archive:  # behind the flatbuffer, in the same file
        assert archive.read("labels.txt").decode().splitlines() == NAMES
