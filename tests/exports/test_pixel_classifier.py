"""Every kind of model takes pixels in an export: families, heads, precisions and sizes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from PIL import Image
from support.small_exports import COLUMNS, NAMES, ROWS, encode, pixels, randomised, small_vit

import keras_vit
from keras_vit.exports.classifier import PixelClassifier
from keras_vit.exports.saved_model.export import export_saved_model
from keras_vit.exports.saved_model.session import SessionModel
from keras_vit.models import ResNetStem

MODELS = {
    "softmax, own preprocessing": lambda: small_vit(
        include_preprocessing=True, classifier_activation="softmax"
    ),
    "sigmoid": lambda: small_vit(classifier_activation="sigmoid"),
    "mixed_bfloat16": lambda: small_vit(dtype="mixed_bfloat16", include_preprocessing=True),
    "grey levels": lambda: small_vit(input_shape=(ROWS, COLUMNS, 1)),
    "mean, pre_logits": lambda: small_vit(classifier="gap", representation_size=11),
    "hybrid": lambda: small_vit(stem=ResNetStem((1,), 0.5), patch_size=2),
    "mixer": lambda: randomised(
        keras_vit.Mixer((ROWS, COLUMNS), 16, 24, 1, 5, 40, classes=len(NAMES))
    ),
    "bit": lambda: randomised(
        keras_vit.BiT((ROWS, COLUMNS), (1, 1), 0.5, classes=len(NAMES), dtype="mixed_bfloat16")
    ),
    "one more layer": lambda: _with_softmax(small_vit()),
}


def _with_softmax(model):
    return keras.Model(model.input, keras.layers.Softmax()(model.output), name="longer")


def half(model):
    return model.layers[2].compute_dtype == "bfloat16"


@pytest.mark.parametrize("name", MODELS)
def test_every_model_takes_pixels(name):
    model = MODELS[name]()
    x = pixels(3, channels=model.input_shape[-1])
    images = x.astype("float32")
    if "preprocessing" not in {layer.name for layer in model.layers}:
        images = keras_vit.preprocess_input(images)
    expected = model(images).numpy()
    classifier = PixelClassifier(model)
    features, named, probabilities = classifier(x)
    features, outputs, probabilities = (
        y.numpy() for y in (features, named["output"], probabilities)
    )
    tolerance = 0.1 if half(model) else 1e-5
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=tolerance)
    assert features.shape == (3, classifier.features.shape[-1])
    assert {features.dtype, outputs.dtype, probabilities.dtype} == {np.dtype("float32")}
    if name == "sigmoid":
        np.testing.assert_array_equal(probabilities, outputs)
    else:
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_array_equal(probabilities.argsort(), outputs.argsort())


def test_another_family_in_mixed_precision(tmp_path):
    model = MODELS["bit"]()
    assert half(model)
    path = export_saved_model(model, tmp_path / "1", class_names=NAMES)
    assert half(model)
    x = pixels()
    expected = model(keras_vit.preprocess_input(x.astype("float32"))).numpy()
    with SessionModel(path) as session:
        outputs = session.run({"pixels": x}, "predict_pixels")["outputs"]
        file = encode(Image.fromarray(x[0]), "png")
        scores = session.run({"image_bytes": [file]})["scores"]
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=0.1)
    np.testing.assert_allclose(scores[0], -np.sort(-keras.ops.softmax(outputs[0])), atol=1e-5)


def test_channels_first():
    keras.config.set_image_data_format("channels_first")
    try:
        model = small_vit(input_shape=(3, ROWS, COLUMNS))
        found = PixelClassifier(model)(pixels())[1]["output"]
        bit = keras_vit.BiT((64, 64), (1, 1), 0.5, classes=3, input_shape=(3, None, None))
        of_any_size = [small_vit(input_shape=(3, None, None)), bit]
    finally:
        keras.config.set_image_data_format("channels_last")
    for open_model in of_any_size:  # the setting is another one by now
        assert PixelClassifier(open_model, (48, 64)).model.input_shape == (None, 3, 48, 64)
    images = keras_vit.preprocess_input(pixels().astype("float32")).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(found, model(images), atol=1e-5)


def test_open_size_needs_one():
    model = small_vit(input_shape=(None, None, 3))
    with pytest.raises(ValueError, match="image_size=224"):
        PixelClassifier(model)
    classifier = PixelClassifier(model, image_size=(48, 64))
    assert classifier.model.input_shape == (None, 48, 64, 3)
    x = pixels(rows=48, columns=64)
    expected = model(keras_vit.preprocess_input(x.astype("float32")))
    np.testing.assert_allclose(classifier(x)[1]["output"], expected, atol=1e-5)

    bit = keras_vit.BiT((64, 64), (1, 1), 0.5, classes=3, input_shape=(None, None, 3))
    classifier = PixelClassifier(bit, 64)
    assert classifier.image_size == (64, 64)
    assert classifier.model.input_shape == (None, 64, 64, 3)


def test_labels_of_imagenet():
    assert PixelClassifier(small_vit(classes=1000)).class_names[0] == "tench"
    assert PixelClassifier(small_vit()).class_names == ("class 0", "class 1", "class 2")
