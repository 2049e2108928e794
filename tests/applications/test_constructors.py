"""What holds for every constructor of keras.applications holds for ours.

The first part is Keras's own test-suite (keras/src/applications/applications_test.py) over all
our constructors, with one block each so that it stays small; the second part is weights.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import typing

import keras
import numpy as np
import pytest
from keras import ops

import keras_vit
from keras_vit.applications.manifest import manifest
from keras_vit.layers.initializers import weights_follow

CONSTRUCTORS = {name: getattr(keras_vit, name) for name in keras_vit.VARIANTS}
VITS, BITS, MIXERS = (
    [name for name, config in keras_vit.VARIANTS.items() if isinstance(config, kind)]
    for kind in (keras_vit.ViTConfig, keras_vit.BiTConfig, keras_vit.MixerConfig)
)
FORMATS = ["channels_last", "channels_first"]

pytestmark = pytest.mark.filterwarnings("ignore:The image size .* is not a multiple")


@pytest.fixture
def one_block(monkeypatch):
    """Every variant with one block of a kind, which is enough for rules and shapes."""
    for name, config in list(keras_vit.VARIANTS.items()):
        small: dict = {"depth": 1}
        if getattr(config, "stem", None):
            ones = (1,) * len(config.stem.block_sizes)
            small["stem"] = dataclasses.replace(config.stem, block_sizes=ones)
        if name in BITS:  # R152x4 has a thousand million weights
            small = {"block_sizes": (1, 1, 1, 1), "width_factor": 0.5}
        monkeypatch.setitem(keras_vit.VARIANTS, name, dataclasses.replace(config, **small))


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
            "stochastic_depth_rate rematerialise gelu patch_size border",
        ),
        (BITS, ""),
        (MIXERS, "stochastic_depth_rate rematerialise gelu border"),
    ],
)
def test_options_are_those_of_the_family(names, own):
    for name in names:
        parameters = inspect.signature(CONSTRUCTORS[name]).parameters.values()
        options = {p.name for p in parameters if p.kind == p.KEYWORD_ONLY}
        assert options == {"new_head", "include_preprocessing", "dtype", *own.split()}
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


def _write_released(folder, variant, weights, *, zero_head=False, seed=0, **options):
    """A file of random numbers with the name and the arrays of a released one."""
    released = keras_vit.applications.weights.find(variant, weights)
    random = np.random.default_rng(seed)
    shapes = manifest(keras_vit.VARIANTS[variant], released.image_size, released.classes, **options)
    arrays = {k: random.normal(0, 0.02, s).astype("float32") for k, s in shapes.items()}
    if zero_head:
        arrays |= {k: np.zeros_like(v) for k, v in arrays.items() if k.startswith("head/")}
    path = folder / released.path  # where the cache keeps it
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return arrays


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_VIT_CACHE", str(tmp_path))
    return tmp_path


def test_imagenet21k_has_its_21843_classes(cache, one_block):
    arrays = _write_released(cache, "ViT_B16", "imagenet21k")
    model = keras_vit.ViT_B16(weights="imagenet21k")
    assert tuple(model.output_shape) == (None, 21843)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(model.get_layer("head").kernel), arrays["head/kernel"]
    )


def test_an_original_file_warns_of_its_zero_head(cache, one_block, recwarn):
    _write_released(cache, "ViT_L32", "imagenet21k", zero_head=True, representation_size=1024)
    with pytest.warns(UserWarning, match="include_top=False or a new head"):
        model = keras_vit.ViT_L32(weights="imagenet21k")
    assert tuple(model.get_layer("pre_logits").output.shape) == (None, 1024)
    recwarn.clear()
    features = keras_vit.ViT_L32(weights="imagenet21k", include_top=False, pooling="token")
    fresh = keras_vit.ViT_L32(weights="imagenet21k", classes=7, new_head=True)
    assert not recwarn.list
    assert tuple(features.output_shape) == (None, 1024)
    assert tuple(fresh.output_shape) == (None, 7)
    assert "pre_logits" not in [layer.name for layer in fresh.layers]


def test_the_imagenet_file_fits_the_input_shape(cache, one_block):
    small = _write_released(cache, "ViT_Ti16", "augreg-imagenet-224", seed=1)
    large = _write_released(cache, "ViT_Ti16", "augreg-imagenet-384", seed=2)
    for shape, arrays, size in [
        (None, small, 224),
        ((224, 224, 3), small, 224),
        ((384, 384, 3), large, 384),
        ((400, 352, 3), large, None),
    ]:
        model = keras_vit.ViT_Ti16(input_shape=shape)
        kernel = ops.convert_to_numpy(model.get_layer("head").kernel)
        np.testing.assert_array_equal(kernel, arrays["head/kernel"])
        assert tuple(model.input_shape[1:]) == (shape or (224, 224, 3))
        positions = ops.convert_to_numpy(model.get_layer("position_embedding").embedding)
        if size:  # nothing to resample
            np.testing.assert_array_equal(
                positions, arrays["Transformer/posembed_input/pos_embedding"]
            )


@pytest.mark.parametrize(
    ("name", "weights", "classes"),
    [
        ("BiT_R50x1", "imagenet", 1000),
        ("BiT_R50x1", "imagenet21k", 21843),
        ("BiT_R152x4", "imagenet21k+imagenet", 1000),
        ("BiT_R50x1", "distilled-imagenet-160", 1000),
        ("Mixer_B16", "imagenet", 1000),
        ("Mixer_L16", "imagenet21k", 21843),
        ("Mixer_B32", "imagenet", 1000),
        ("ViT_B16", "imagenet21k+imagenet", 1000),
    ],
)
def test_released_files_of_every_family(name, weights, classes, cache, one_block):
    arrays = _write_released(cache, name, weights)
    model = CONSTRUCTORS[name](weights=weights)
    assert tuple(model.output_shape) == (None, classes)
    assert tuple(model.input_shape) == (None, 224, 224, 3)
    expected = arrays["resnet/head/conv2d/kernel" if name in BITS else "head/kernel"]
    kernel = ops.convert_to_numpy(model.get_layer("head").kernel)
    np.testing.assert_array_equal(kernel, expected.reshape(kernel.shape))
    features = CONSTRUCTORS[name](weights=weights, include_top=False, pooling="avg")
    assert tuple(features.output_shape) == (None, keras_vit.VARIANTS[name].width)
    fresh = CONSTRUCTORS[name](weights=weights, classes=7, new_head=True)
    assert tuple(fresh.output_shape) == (None, 7)
    assert not ops.convert_to_numpy(fresh.get_layer("head").kernel).any()
    with pytest.raises(ValueError, match=f"`classes` should be {classes}"):
        CONSTRUCTORS[name](weights=weights, classes=7)


def test_sizes_with_released_weights(cache, one_block):
    _write_released(cache, "BiT_R50x1", "imagenet")
    assert keras_vit.BiT_R50x1(input_shape=(64, 96, 3)).output_shape == (None, 1000)
    assert keras_vit.BiT_R50x1(include_top=False).input_shape == (None, None, None, 3)
    _write_released(cache, "Mixer_B16", "imagenet")
    assert keras_vit.Mixer_B16(include_top=False).input_shape == (None, 224, 224, 3)
    with pytest.raises(ValueError, match="cannot be resized"):
        keras_vit.Mixer_B16(input_shape=(64, 96, 3))


def test_keras_files_and_paths(tmp_path, one_block):
    model = keras_vit.ViT_Ti16(weights=None, classes=3)
    model.get_layer("head").bias.assign([1.0, 2.0, 3.0])
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    images = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype("float32")
    expected = ops.convert_to_numpy(model(images))
    for path in (tmp_path / "model.keras", str(tmp_path / "model.weights.h5")):
        again = keras_vit.ViT_Ti16(weights=path, classes=3)
        np.testing.assert_allclose(ops.convert_to_numpy(again(images)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ViT_H14", {}, r"imagenet21k"),
        ("ViT_B16", {"weights": "imagnet21k"}, r"imagenet21k"),
        ("ViT_B16", {"weights": "jft300m"}, r"never released"),
        ("ViT_B16", {"weights": "missing.weights.h5"}, r"a path without a file.*missing"),
        ("ViT_B16", {"weights": "folder/missing.npz"}, r"a path without a file.*missing"),
        ("ViT_B16", {"weights": 7}, r"weights=7"),
        ("ViT_B16", {"classes": 10}, r"`classes` should be 1000.*new_head=True"),
        ("ViT_B16", {"weights": "imagenet21k", "classes": 1000}, r"should be 21843"),
        ("ViT_B16", {"classifier_activation": "relu"}, r"None or 'softmax'"),
        ("ViT_B16", {"input_shape": (224, 224, 1)}, r"3 channels"),
        ("ViT_B16", {"weights": None, "input_shape": (8, 8, 3)}, r"at least one patch"),
        ("ViT_B16", {"weights": None, "pooling": "min", "include_top": False}, r"pooling"),
        ("BiT_R50x1", {"classifier": "gap"}, r"BiT_R50x1\(\) got .*'classifier'.*dtype"),
        ("BiT_R50x1", {"weights": "jft300m"}, r"never released"),
        ("BiT_R50x1", {"weights": "BiT-M-R50x3.npz"}, r"holds a BiT_R50x3"),
        ("BiT_R50x1", {"weights": "bit_models/none.npz"}, r"no released weights of that name"),
        ("BiT_R152x4", {"classes": 10}, r"`classes` should be 1000.*new_head=True"),
        ("Mixer_B16", {"weights": "imagenet21k+imagenet"}, r"only \['mixer-imagenet21k'"),
        ("Mixer_B32", {"weights": "imagenet21k"}, r"only \['sam-imagenet'\]"),
        ("Mixer_L16", {"registers": 4}, r"Mixer_L16\(\) got an unexpected.*'registers'.*border"),
    ],
)
def test_bad_arguments_say_what_was_expected(name, options, message, tmp_path, monkeypatch):
    # A cache that is a file: any attempt to download would fail with another error.
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERAS_VIT_CACHE", str(tmp_path / "file"))
    with pytest.raises((ValueError, TypeError), match=message):
        CONSTRUCTORS[name](**options)


def test_a_file_of_another_variant_is_named(cache, one_block):
    _write_released(cache, "ViT_S16", "imagenet21k")
    path = next(cache.glob("augreg/S_16*"))
    with pytest.raises(ValueError, match=r"which is keras_vit\.ViT_S16"):
        keras_vit.ViT_B16(weights=path)


# The real thing.


def _squash(path, size):
    return keras.utils.img_to_array(
        keras.utils.load_img(path, target_size=(size, size), interpolation="bilinear")
    )


def test_real_weights_give_the_golden_logits(shared, monkeypatch):
    monkeypatch.setenv("KERAS_VIT_CACHE", str(shared / "weights"))
    with np.load(shared / "weights" / "vit_ti16_in1k_golden.npz") as file:
        images, expected, pre_logits = file["images"], file["logits"], file["pre_logits"]
    model = keras_vit.ViT_Ti16(classifier_activation=None, gelu="exact")
    x = keras_vit.preprocess_input(images.astype("float32"))
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-3)
    features = keras_vit.ViT_Ti16(include_top=False, pooling="token", gelu="exact")
    np.testing.assert_allclose(features.predict(x, verbose=0), pre_logits, atol=1e-3)


def test_real_weights_on_real_photos(shared, photos, monkeypatch):
    """Top-1 of 100 photos, and the label among the top 3 as Keras's own test asks."""
    monkeypatch.setenv("KERAS_VIT_CACHE", str(shared / "weights"))
    model = keras_vit.ViT_Ti16()
    images = np.stack([_squash(path, 224) for path in photos])
    scores = model.predict(keras_vit.preprocess_input(images), verbose=0)
    labels = np.array([int(path.name[:3]) for path in photos])
    assert len(labels) == 100
    assert (scores.argmax(-1) == labels).sum() >= 80
    tench = scores[[path.name.endswith("tench.JPEG") for path in photos]]
    assert "tench" in [name for _, name, _ in keras_vit.decode_predictions(tench, top=3)[0]]
