"""What a model takes and gives is what its exported files take and give, whatever is around it."""

from __future__ import annotations

import json
import zipfile

import keras
import numpy as np
import pytest
from support.combinations import slow
from support.models_to_export import VIT, randomised

import keras_vit
from keras_vit.exports.formats import FORMATS, format_of
from keras_vit.exports.report import measure
from keras_vit.models import ResNetStem
from keras_vit.models.input_and_head import check_takes_pixels
from keras_vit.models.input_range import CENTRED, PIXELS, UNIT, InputRange, input_range

onnx = pytest.importorskip("onnx", reason="the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx")
pytest.importorskip("ai_edge_litert", reason="the extra tflite")

SIZE = (32, 48)
SHAPE = (*SIZE, 3)
PHOTOS = np.random.default_rng(3).integers(0, 256, (3, *SHAPE), "uint8")
FILES = ("1", "m.tflite", "m.onnx")
NO_TOP = {"include_top": False}
VIT = {**VIT, "depth": 1}  # what is around the blocks is tested here


def _vit(**options):
    return keras_vit.ViT(SIZE, **VIT, **{"pooling": "token", **NO_TOP, **options})


FAMILIES = {
    "vit": _vit,
    "hybrid": lambda: keras_vit.ViT(
        SIZE, **{**VIT, "patch_size": 1}, stem=ResNetStem((1,), 0.5), pooling="token", **NO_TOP
    ),
    "bit": lambda: keras_vit.BiT(SIZE, (1, 1), 0.5, pooling="avg", **NO_TOP),
    "mixer": lambda: keras_vit.Mixer(SIZE, 8, 32, 1, 16, 64, pooling="avg", **NO_TOP),
}


def _adapted():
    """What `adapt` makes of pixels that fill [0, 255] evenly is not our scaling; this is."""
    return keras.layers.Normalization(mean=127.5, variance=127.5**2)


@keras.saving.register_keras_serializable("tests")
class _Scale(keras.layers.Layer):
    def call(self, x):
        return x / 127.5 - 1


def _augmented(base):
    before = keras.Sequential([keras.layers.RandomFlip("horizontal"), keras.layers.RandomZoom(0.1)])
    return [before, keras.layers.Rescaling(1 / 127.5, offset=-1), base]


# What is between the input and the model, and what the whole takes then.
SCALINGS = {
    "nothing": (lambda x: x, CENTRED),
    "rescaling": (keras.layers.Rescaling(1 / 127.5, offset=-1), PIXELS),
    "two rescalings": (
        lambda x: keras.layers.Rescaling(2, offset=-1)(keras.layers.Rescaling(1 / 255)(x)), PIXELS
    ),
    "unit": (keras.layers.Rescaling(2, offset=-1), UNIT),
    "normalization": (lambda x: _adapted()(x), PIXELS),
    "preprocess_input": (keras_vit.preprocess_input, PIXELS),
    "arithmetic": (lambda x: x / 127.5 - 1.0, PIXELS),
    "reversed arithmetic": (lambda x: -1 * (1 - x / 127.5), PIXELS),
    "unit arithmetic": (lambda x: 2 * x - 1, UNIT),
    "a layer of one's own": (lambda x: _Scale()(x), PIXELS),
}  # fmt: skip


def _around(base, scaling, head=None):
    inputs = keras.Input(SHAPE)
    features = base(SCALINGS[scaling][0](inputs))
    head = head or keras.layers.Dense(5)
    return randomised(keras.Model(inputs, head(features)))


def _outputs(path):
    _, runner = FORMATS[format_of(path)].load()
    return runner(path)(PHOTOS)


def _expected(model, taken):
    outputs = model(taken.of_pixels(PHOTOS.astype("float32")), training=False)
    return [np.asarray(x) for x in keras.tree.flatten(outputs)]


def _same(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_range_is_told_from_the_graph(family, scaling):
    model = _around(FAMILIES[family](), scaling)
    taken = SCALINGS[scaling][1]
    assert input_range(model) == taken
    if taken == PIXELS:
        check_takes_pixels(model)
    else:
        with pytest.raises(ValueError, match="no scaling for pixels"):
            check_takes_pixels(model)


# Every family and every kind of scaling; `test_the_range_is_told_from_the_graph` has all pairs.
# A SavedModel holds a `PixelClassifier`, and `test_pixel_classifier.py` runs that of every family.
@pytest.mark.parametrize(
    "family, scaling, files",
    [
        ("vit", "preprocess_input", FILES),
        ("hybrid", "rescaling", FILES[1:]),
        ("bit", "unit arithmetic", FILES[1:]),
        ("mixer", "reversed arithmetic", FILES[1:]),
        slow("hybrid", "rescaling", FILES[:1]),
        slow("bit", "unit arithmetic", FILES[:1]),
        slow("mixer", "reversed arithmetic", FILES[:1]),
        slow("vit", "rescaling", FILES),
        slow("vit", "normalization", FILES),
        slow("bit", "rescaling", FILES),
        slow("bit", "unit", FILES),
        slow("mixer", "rescaling", FILES),
        slow("mixer", "nothing", FILES),
    ],
)
def test_files_take_what_the_model_takes(family, scaling, files, tmp_path):
    model = _around(FAMILIES[family](), scaling)
    taken = SCALINGS[scaling][1]
    (expected,) = _expected(model, taken)
    other = _expected(model, CENTRED if taken == PIXELS else PIXELS)[0]
    assert np.abs(other - expected).max() > 1e-2 * np.abs(expected).max()  # it would show
    for file in files:
        path = keras_vit.export(model, tmp_path / file)
        _same(_outputs(path)["output"], expected)
        measured = measure(path, model, PHOTOS, repeats=1)
        assert measured.difference < 1e-4
        assert measured.takes == ("uint8 [0, 255]" if file == "1" else f"float32 {taken}")


@pytest.mark.parametrize(
    "family, scaling",
    [
        ("vit", "preprocess_input"),
        slow("vit", "rescaling"),
        slow("vit", "unit"),
        slow("vit", "nothing"),
        slow("hybrid", "rescaling"),
        ("bit", "nothing"),
        ("mixer", "unit"),
    ],
)
def test_uint8_input(family, scaling, tmp_path):
    model = _around(FAMILIES[family](), scaling)
    path = keras_vit.export(model, tmp_path / "m.tflite", uint8_input=True)
    _same(_outputs(path)["output"], _expected(model, SCALINGS[scaling][1])[0])
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("input.json"))["input_range"] == [0, 255]


def test_augmentation_and_models_in_models(tmp_path):
    """As the README trains: augmentation, scaling, backbone and head in one Sequential."""
    model = keras.Sequential([keras.Input(SHAPE), *_augmented(_vit())])
    outer = keras.Sequential([model, keras.Sequential([keras.layers.Dense(5)])])
    outer.build((None, *SHAPE))
    randomised(outer)
    assert input_range(outer) == PIXELS
    (expected,) = _expected(outer, PIXELS)
    for file in FILES:
        _same(_outputs(keras_vit.export(outer, tmp_path / file))["output"], expected)


@pytest.mark.parametrize("family", ["vit", slow("hybrid"), "bit", slow("mixer")])
def test_another_scaling_asks(family, tmp_path):
    imagenet = keras.layers.Normalization(
        mean=[123.7, 116.3, 103.5], variance=[58.4**2, 57.1**2, 57.4**2]
    )
    inputs = keras.Input(SHAPE)
    model = keras.Model(inputs, keras.layers.Dense(5)(FAMILIES[family]()(imagenet(inputs))))
    for weight in model.layers[-1].weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    check_takes_pixels(model)  # it has a scaling, whatever it was trained for
    for file in FILES:
        with pytest.raises(ValueError, match=r"input_range=.*0 and 255 become -2\.1"):
            keras_vit.export(model, tmp_path / file)
    # `test_a_range_that_is_given_is_that_of_the_files` has the other formats.
    path = keras_vit.export(model, tmp_path / "m.onnx", input_range=(0, 255))
    _same(_outputs(path)["output"], _expected(model, PIXELS)[0])


@pytest.mark.parametrize("given", [(1, 0), (0, float("nan")), 255, "ab", (0, 1, 2)])
def test_a_range_is_two_numbers(given):
    with pytest.raises(ValueError, match="two numbers"):
        input_range(_vit(), given)


def test_ranges_by_hand():
    for taken, values in ((PIXELS, [0, 51, 255]), (UNIT, [0, 0.2, 1]), (CENTRED, [-1, -0.6, 1])):
        pixels = np.array([0, 51, 255], "float64")
        np.testing.assert_allclose(taken.of_pixels(pixels), values)
        np.testing.assert_allclose(taken.centred(np.array(values)), [-1, -0.6, 1])
    other = InputRange(-2, 3)
    np.testing.assert_allclose(other.of_pixels(np.array([0.0, 255])), [-2, 3])
    assert str(other) == "[-2, 3]"


@pytest.mark.parametrize("taken", [(-2, 3), slow((0, 1))])
def test_a_range_that_is_given_is_that_of_the_files(taken, tmp_path):
    model = _around(_vit(), "nothing")
    (expected,) = _expected(model, InputRange(*taken))
    for file in FILES:
        path = keras_vit.export(model, tmp_path / file, input_range=taken)
        _same(_outputs(path)["output"], expected)
