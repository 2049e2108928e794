"""What holds for every constructor of keras.applications holds for ours.

This is Keras's own test-suite (keras/src/applications/applications_test.py) over all our
constructors, with one block each so that it stays small.
"""

from __future__ import annotations

import inspect
import math
import typing

import keras
import numpy as np
import pytest
from keras import ops

import keras_vit
from keras_vit.layers.base.initializers import weights_follow

CONSTRUCTORS = {name: getattr(keras_vit, name) for name in keras_vit.VARIANTS}
VITS, BITS, MIXERS = (
    [name for name, config in keras_vit.VARIANTS.items() if isinstance(config, kind)]
    for kind in (keras_vit.ViTConfig, keras_vit.BiTConfig, keras_vit.MixerConfig)
)
FORMATS = ["channels_last", "channels_first"]

pytestmark = pytest.mark.filterwarnings("ignore:The image size .* is not a multiple")


@pytest.fixture
def structure(one_block):
    """For tests of shapes alone: random numbers take longer than all else."""
    with weights_follow():
        yield


@pytest.fixture(params=FORMATS)
def data_format(request):
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(request.param)
    yield request.param
    keras.config.set_image_data_format(before)


def _shape(data_format, rows, columns, channels):
    if data_format == "channels_first":
        return (channels, rows, columns)
    return (rows, columns, channels)


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_signature_is_that_of_keras_applications(name):
    theirs = inspect.signature(keras.applications.ResNet50V2).parameters
    ours = inspect.signature(CONSTRUCTORS[name]).parameters
    positional = {k: p.default for k, p in ours.items() if p.kind == p.POSITIONAL_OR_KEYWORD}
    expected = {k: p.default for k, p in theirs.items()} | {"name": name.lower()}
    assert list(positional.items()) == list(expected.items())
    assert CONSTRUCTORS[name].__name__ == name
    documentation = inspect.getdoc(CONSTRUCTORS[name])
    assert documentation.startswith(f"{keras_vit.VARIANTS[name].title}: ")
    assert all(f'`"{file}"`' in documentation for file in keras_vit.available(name))
    assert typing.get_type_hints(CONSTRUCTORS[name])["return"] is keras.Model


@pytest.mark.parametrize(
    ("names", "own"),
    [
        (
            VITS,
            "classifier representation_size registers dropout_rate attention_dropout_rate "
            "stochastic_depth_rate rematerialise gelu patch_size patch_sizes border",
        ),
        (BITS, ""),
        (MIXERS, "stochastic_depth_rate rematerialise gelu border"),
    ],
)
def test_options_are_those_of_the_family(names, own):
    for name in names:
        parameters = inspect.signature(CONSTRUCTORS[name]).parameters.values()
        options = {p.name for p in parameters if p.kind == p.KEYWORD_ONLY}
        assert options == {
            "new_head", "features", "channel_weights", "include_preprocessing", "dtype",
            *own.split(),
        }  # fmt: skip
        for option in options:
            assert f"\n    {option}: " in CONSTRUCTORS[name].__doc__


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_notop_variable_input_channels(name, structure, data_format):
    config = keras_vit.VARIANTS[name]
    rows, columns = (None, None) if config.any_size else (64, 96)
    expected = (rows and rows // config.stride, columns and columns // config.stride)
    for channels in (1, 3, 4):
        model = CONSTRUCTORS[name](
            weights=None,
            include_top=False,
            input_shape=_shape(data_format, rows, columns, channels),
        )
        assert tuple(model.output_shape) == (None, *_shape(data_format, *expected, config.width))


@pytest.mark.parametrize("name", MIXERS)
def test_a_mixer_has_one_size(name, structure, data_format):
    for include_top in (True, False):
        with pytest.raises(ValueError, match=r"one size of images.*Received: input_shape="):
            CONSTRUCTORS[name](
                weights=None,
                include_top=include_top,
                input_shape=_shape(data_format, None, None, 3),
            )
    model = CONSTRUCTORS[name](weights=None, include_top=False)
    assert tuple(model.input_shape) == (None, *_shape(data_format, 224, 224, 3))


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_notop_custom_input_shape(name, structure, data_format):
    config = keras_vit.VARIANTS[name]
    model = CONSTRUCTORS[name](
        weights=None, include_top=False, input_shape=_shape(data_format, 123, 123, 3)
    )
    # A ResNet rounds up wherever it halves the size; whole patches are cut.
    if name in BITS:
        side = math.ceil(123 / config.stride)
    else:
        stem = getattr(config, "stem", None)
        side = math.ceil(123 / (stem.stride if stem else 1)) // config.patch_size
    assert tuple(model.output_shape) == (None, *_shape(data_format, side, side, config.width))


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_notop_custom_input_tensor(name, structure):
    inputs = keras.Input((200, 200, 4), name="custom_input")
    x = keras.layers.Conv2D(3, (2, 2), strides=(2, 2))(inputs)
    model = CONSTRUCTORS[name](weights=None, include_top=False, input_tensor=x)
    assert model.output_shape[-1] == keras_vit.VARIANTS[name].width
    assert tuple(model.input_shape) == (None, 200, 200, 4)


@pytest.mark.parametrize("name", CONSTRUCTORS)
@pytest.mark.parametrize("pooling", ["avg", "max", "token"])
def test_pooling(name, pooling, structure):
    if pooling == "token" and name not in VITS:
        with pytest.raises(ValueError, match="`pooling` must be one of None, avg, max"):
            CONSTRUCTORS[name](weights=None, include_top=False, pooling=pooling)
        return
    model = CONSTRUCTORS[name](weights=None, include_top=False, pooling=pooling)
    assert tuple(model.output_shape) == (None, keras_vit.VARIANTS[name].width)


@pytest.mark.parametrize("name", ["ViT_B32", "R26_ViT_S32", "BiT_R50x1", "Mixer_B32"])
def test_features(name, structure, data_format):
    config = keras_vit.VARIANTS[name]
    shape = _shape(data_format, 64, 96, 3)
    model = CONSTRUCTORS[name](weights=None, features="all", input_shape=shape)
    maps = [(2, 3, config.width)]
    if name in BITS:
        maps = [(16, 24, 128), (8, 12, 256), (4, 6, 512), (2, 3, 1024)]
    assert [tuple(x.shape) for x in model.outputs] == [
        (None, *_shape(data_format, *each)) for each in maps
    ]
    without = CONSTRUCTORS[name](weights=None, include_top=False, input_shape=shape)
    assert [w.path for w in model.weights] == [w.path for w in without.weights]
    (last,) = CONSTRUCTORS[name](weights=None, features=[-1]).outputs
    sides = (None, None) if config.any_size else (7, 7)
    assert tuple(last.shape) == (None, *_shape(data_format, *sides, config.width))
    for given in ({"classes": 3}, {"new_head": True}, {"pooling": "avg"}):
        with pytest.raises(ValueError, match=r"no head and no pooling.*Leave out"):
            CONSTRUCTORS[name](weights=None, features="all", **given)
    with pytest.raises(ValueError, match="'all' or a list"):
        CONSTRUCTORS[name](weights=None, features=[5])


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_classifier_activation_and_serialisation(name, structure):
    model = CONSTRUCTORS[name](weights=None, include_top=True, classifier_activation="softmax")
    assert model.layers[-1].activation.__name__ == "softmax"
    assert tuple(model.input_shape) == (None, 224, 224, 3)
    assert tuple(model.output_shape) == (None, 1000)
    assert model.name == name.lower()
    config = keras.saving.serialize_keras_object(model)
    again = keras.saving.deserialize_keras_object(config)
    assert [tuple(w.shape) for w in again.weights] == [tuple(w.shape) for w in model.weights]


@pytest.mark.parametrize("name", ["ViT_Ti16", "BiT_R50x1", "Mixer_B16"])
def test_channels_first_equals_channels_last(name, one_block):
    images = np.random.default_rng(0).normal(size=(2, 32, 48, 3)).astype("float32")
    last = CONSTRUCTORS[name](weights=None, include_top=False, input_shape=(32, 48, 3))
    keras.config.set_image_data_format("channels_first")
    try:
        first = CONSTRUCTORS[name](weights=None, include_top=False, input_shape=(3, 32, 48))
    finally:
        keras.config.set_image_data_format("channels_last")
    first.set_weights(last.get_weights())
    expected = np.moveaxis(ops.convert_to_numpy(last(images)), -1, 1)
    result = ops.convert_to_numpy(first(np.moveaxis(images, -1, 1)))
    np.testing.assert_allclose(result, expected, atol=1e-5 * max(np.abs(expected).max(), 1))


def test_a_channels_first_model_is_resized(one_block):
    keras.config.set_image_data_format("channels_first")
    try:
        model = keras_vit.ViT_Ti16(weights=None, include_top=False)
        resized = keras_vit.resize_model(model, (32, 48))
    finally:
        keras.config.set_image_data_format("channels_last")
    assert tuple(resized.input_shape) == (None, 3, 32, 48)
    assert tuple(resized.output_shape) == (None, 192, 2, 3)
