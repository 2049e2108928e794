"""Maps of blocks, class tokens and a pyramid on them: in every format, by their names."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from support.models_to_export import SIZE, VIT, randomised

import keras_vit
from keras_vit.exports.formats import FORMATS, format_of

pytest.importorskip("onnxruntime", reason="the extra onnx")
tflite_run = pytest.importorskip("keras_vit.exports.tflite.runtime")
pytest.importorskip("ai_edge_litert", reason="the extra tflite")

PHOTOS = np.random.default_rng(3).integers(0, 256, (2, *SIZE, 3), "uint8")


@pytest.fixture(scope="module")
def detector():
    """Maps and class tokens of two blocks, and a pyramid on the last map."""
    backbone = randomised(keras_vit.ViT(SIZE, **VIT, include_preprocessing=True))
    features = keras_vit.feature_model(backbone, [0, -1], class_token=True)
    pyramid = keras_vit.layers.SimpleFeaturePyramid(8, name="pyramid")(features.outputs[1])
    return keras.Model(features.input, [*features.outputs, *pyramid])


@pytest.fixture(scope="module")
def expected(detector):
    names = ["block_0_map", "block_1_map", "block_0_token", "block_1_token"]
    names += ["pyramid", "pyramid_2", "pyramid_3", "pyramid_4"]
    outputs = detector.predict(PHOTOS.astype("float32"), verbose=0)
    return dict(zip(names, outputs, strict=True))


@pytest.mark.parametrize("file", ["1", "m.tflite", "m.onnx"])
def test_every_format_gives_every_output(detector, expected, file, tmp_path):
    path = keras_vit.export(detector, tmp_path / file)
    _, runner = FORMATS[format_of(path)].load()
    found = runner(path)(PHOTOS)
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=1e-4 * np.abs(array).max())
    if file.endswith(".tflite"):
        seen = tflite_run.delegation(path)
        assert (seen.partitions, seen.undelegated) == (1, ())


def test_keras_s_own_export_takes_them(detector, expected, tmp_path):
    import tensorflow as tf

    detector.export(tmp_path / "keras", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "keras"))
    found = loaded.serve(PHOTOS.astype("float32"))
    for ours, theirs in zip(found, expected.values(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def test_onnx_takes_a_pyramid_of_channels_first(tmp_path):
    keras.config.set_image_data_format("channels_first")
    try:
        image = keras_vit.ViT(SIZE, **VIT, include_preprocessing=True)
        features = keras_vit.feature_model(image, [-1])
        pyramid = keras_vit.layers.SimpleFeaturePyramid(8)(features.outputs[0])
        # A list of one input, as `model.inputs` is.
        model = randomised(keras.Model(features.inputs, pyramid))
        keras_vit.export(model, tmp_path / "m.onnx")  # compares with the model
    finally:
        keras.config.set_image_data_format("channels_last")
