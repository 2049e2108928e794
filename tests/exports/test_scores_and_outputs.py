"""What files give: scores by the model's activation, numbers, features, several outputs by name."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from support.combinations import crossed, slow
from support.models_to_export import SIZE, VIT, randomised
from support.small_exports import encode, picture

import keras_vit
from keras_vit.exports.classifier import PixelClassifier
from keras_vit.exports.formats import FORMATS, format_of
from keras_vit.exports.photos import photos_of
from keras_vit.exports.saved_model.session import SessionModel

onnx = pytest.importorskip("onnx", reason="the extra onnx")
pytest.importorskip("onnxruntime", reason="the extra onnx")
pytest.importorskip("ai_edge_litert", reason="the extra tflite")

PHOTOS = np.random.default_rng(3).integers(0, 256, (3, *SIZE, 3), "uint8")
FILES = ("1", "m.tflite", "m.onnx")
VIT = {**VIT, "depth": 1}  # what is around the blocks is tested here


def _vit(**options):
    return keras_vit.ViT(SIZE, **VIT, include_top=False, **{"pooling": "token", **options})


BACKBONES = {
    "vit": _vit,
    "bit": lambda: keras_vit.BiT(SIZE, (1, 1), 0.5, include_top=False, pooling="avg"),
    "mixer": lambda: keras_vit.Mixer(SIZE, 8, 32, 1, 16, 64, include_top=False, pooling="avg"),
}


def _normalised(base):
    return keras.Model(base.input, keras.layers.UnitNormalization()(base.output))


def _several(base):
    grade = keras.layers.Dense(1, name="grade")(base.output)
    kind = keras.layers.Dense(4, activation="softmax", name="kind")(base.output)
    return keras.Model(base.input, {"kind": kind, "grade": grade, "features": base.output})


def _outputs(path):
    _, runner = FORMATS[format_of(path)].load()
    return runner(path)(PHOTOS)


def _expected(model):
    outputs = model(keras_vit.preprocess_input(PHOTOS.astype("float32")), training=False)
    return keras.tree.map_structure(np.asarray, outputs)


def _same(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


# Of a SavedModel the names are the same in every family.
@pytest.mark.parametrize(
    "family, files",
    [
        ("vit", FILES),
        *((family, FILES[1:]) for family in ("bit", "mixer")),
        *(slow(family, FILES[:1]) for family in ("bit", "mixer")),
    ],
)
def test_several_outputs_have_their_names(family, files, tmp_path):
    model = randomised(_several(BACKBONES[family]()))
    expected = _expected(model)
    for file in files:
        found = _outputs(keras_vit.export(model, tmp_path / file))
        assert set(found) == {"kind", "grade", "features"}
        for name, values in expected.items():
            _same(found[name], values)


# `test_several_outputs_have_their_names` has the pooled features of every family.
@pytest.mark.parametrize("kind", ["normalised", "feature map"])
def test_features_are_exported(kind, tmp_path):
    model = _normalised(_vit()) if kind == "normalised" else _vit(pooling=None)
    randomised(model)
    expected = _expected(model)
    for file in FILES:
        _same(_outputs(keras_vit.export(model, tmp_path / file))["output"], expected)


def test_regression_gives_numbers(tmp_path):
    model = randomised(keras.Sequential([_vit(), keras.layers.Dense(1)]))
    path = keras_vit.export(model, tmp_path / "1")
    good = encode(picture())
    with SessionModel(path) as session:
        assert set(session.signatures["predict_pixels"].outputs) == {"outputs"}
        result = session.run({"image_bytes": [good, b"no image"]})
    assert set(result) == {"outputs", "status"}
    assert result["outputs"].shape == (2, 1)
    assert result["outputs"][0] != 0
    assert result["outputs"][1] == 0
    assert json.loads((path / "assets" / "input.json").read_text()) == {
        "input_range": [-1, 1], "outputs": ["output"], "scores": "none",
        "resize": "squash", "interpolation": "bilinear",
    }  # fmt: skip
    assert not (path / "assets" / "labels.txt").exists()


@pytest.mark.parametrize(
    "activation, asked, scores",
    [
        (None, None, "softmax"),
        (None, "sigmoid", "sigmoid"),
        (None, "none", "none"),
        ("softmax", None, "softmax"),
        ("sigmoid", None, "sigmoid"),
        ("sigmoid", "none", "none"),
        ("relu", "none", "none"),
    ],
)
def test_scores_follow_the_activation(activation, asked, scores):
    model = randomised(keras.Sequential([_vit(), keras.layers.Dense(4, activation=activation)]))
    classifier = PixelClassifier(model, scores=asked)
    assert classifier.scores == scores
    _, outputs, found = classifier(PHOTOS)
    logits = np.asarray(outputs["output"], "float64")
    if scores == "none":
        assert found is None
    elif activation is not None:
        np.testing.assert_array_equal(found, outputs["output"])
    elif scores == "sigmoid":
        np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), rtol=1e-5)
    else:
        exp = np.exp(logits)
        np.testing.assert_allclose(found, exp / exp.sum(-1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("activation, asked", [("softmax", "sigmoid"), ("sigmoid", "softmax")])
def test_scores_that_contradict_the_model_are_refused(activation, asked):
    model = keras.Sequential([_vit(), keras.layers.Dense(4, activation=activation)])
    with pytest.raises(ValueError, match="the name of its activation"):
        PixelClassifier(model, scores=asked)
    with pytest.raises(ValueError, match="one of softmax, sigmoid, none"):
        PixelClassifier(model, scores="sum")
    with pytest.raises(ValueError, match=r"not \[B, classes\]"):
        PixelClassifier(_several(_vit()), scores="softmax")


LAYERS = keras.layers
HEADS = {
    "batch norm": lambda x: LAYERS.BatchNormalization()(x),
    "normalization": lambda x: LAYERS.Normalization(mean=0.3, variance=2.0)(x),
    "concatenate": lambda x: LAYERS.Concatenate()([x, LAYERS.ReLU(max_value=0.5)(x)]),
    "reshape": lambda x: LAYERS.Flatten()(LAYERS.Reshape((4, -1))(x)),
    "leaky": lambda x: LAYERS.LeakyReLU(0.3)(LAYERS.ELU(0.7)(x)),
    "noise": lambda x: LAYERS.GaussianNoise(0.5)(x),
    "unit": lambda x: LAYERS.UnitNormalization()(x),
    "arithmetic": lambda x: 3 - x * 2,
    **{
        name: lambda x, name=name: LAYERS.Dense(6, activation=name)(x)
        for name in ("gelu", "silu", "elu", "leaky_relu", "selu", "softplus", "softsign")
    },
}


@pytest.mark.parametrize("head", HEADS)
def test_onnx_takes_what_heads_have(head, tmp_path):
    base = _vit()
    model = keras.Model(base.input, LAYERS.Dense(3)(HEADS[head](base.output)))
    randomised(model)
    for layer in model.layers:
        if isinstance(layer, LAYERS.BatchNormalization):
            layer.moving_variance.assign(np.abs(layer.moving_variance) + 0.5)
    _same(_outputs(keras_vit.export(model, tmp_path / "m.onnx"))["output"], _expected(model))


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_onnx_resizes(interpolation, tmp_path):
    inputs = keras.Input((*SIZE, 3))
    x = LAYERS.Resizing(40, 32, interpolation=interpolation)(inputs)
    base = keras_vit.ViT((40, 32), **VIT, include_top=False, pooling="token")
    model = randomised(keras.Model(inputs, LAYERS.Dense(3)(base(x))))
    for file in ("m.onnx", "m.tflite"):
        _same(_outputs(keras_vit.export(model, tmp_path / file))["output"], _expected(model))


@pytest.mark.parametrize(("family", "opset"), crossed(tuple(BACKBONES), [17, 18, 20]))
def test_onnx_for_older_runtimes(family, opset, tmp_path):
    gelus = ("tanh", "exact") if family == "vit" else (None,)
    for gelu in gelus:
        options = {"gelu": gelu, "classifier": "gap", "pooling": "avg"}
        base = BACKBONES[family]() if gelu is None else _vit(**options)
        model = randomised(keras.Model(base.input, LAYERS.Dense(3)(base.output)))
        path = keras_vit.export(model, tmp_path / "m.onnx", opset=opset, overwrite=True)
        assert onnx.load(path).opset_import[0].version == opset
        _same(_outputs(path)["output"], _expected(model))


@pytest.mark.parametrize("opset", [16, 99, "21"])
def test_an_opset_that_is_not_there(opset, tmp_path):
    with pytest.raises(ValueError, match="from 17 to"):
        keras_vit.export(_vit(), tmp_path / "m.onnx", opset=opset)


# `test_augmentation_and_models_in_models` has a SavedModel of such a model, with random weights.
@pytest.mark.parametrize("files", [FILES[1:], slow(FILES[:1])])
def test_the_real_weights_with_a_scaling_of_their_own(files, ti16_path, photos, tmp_path):
    """Most photos are right in the Keras model, and in each file the same."""
    few = slice(0, 100, 10)
    vit = keras_vit.from_checkpoint(ti16_path)
    model = keras.Sequential(
        [
            keras.Input((224, 224, 3)),
            LAYERS.RandomFlip("horizontal"),
            LAYERS.Rescaling(1 / 127.5, offset=-1),
            vit,
        ]
    )
    pixels = photos_of(photos[0].parent, (224, 224))[0][few]
    classes = np.array([int(p.name[:3]) for p in photos])[few]
    expected = model.predict(pixels.astype("float32"), verbose=0).argmax(-1)
    assert (expected == classes).mean() > 0.8
    for file in files:
        options = {"uint8_input": True} if file.endswith("tflite") else {}
        _, runner = FORMATS[format_of(tmp_path / file)].load()
        found = runner(keras_vit.export(model, tmp_path / file, **options))(pixels)["output"]
        assert (found.argmax(-1) == expected).all()
