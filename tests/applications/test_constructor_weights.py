"""The constructors with weights: released files, files of one's own, and the real ViT-Ti/16."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import keras_vit
from keras_vit.applications.manifest import manifest

pytestmark = pytest.mark.filterwarnings("ignore:The image size .* is not a multiple")


def _write_released(folder, variant, weights, *, zero_head=False, seed=0, **options):
    """A file of random numbers with the name and the arrays of a released one."""
    released = keras_vit.applications.weights.find(variant, weights)
    random = np.random.default_rng(seed)
    shapes = manifest(keras_vit.VARIANTS[variant], released.image_size, released.classes, **options)
    arrays = {k: random.random(s, "float32") / 32 for k, s in shapes.items()}
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
    with pytest.warns(UserWarning, match="include_top=False, or a new head"):
        model = keras_vit.ViT_L32(weights="imagenet21k")
    assert tuple(model.get_layer("pre_logits").output.shape) == (None, 1024)
    recwarn.clear()
    features = keras_vit.ViT_L32(weights="imagenet21k", include_top=False, pooling="token")
    fresh = keras_vit.ViT_L32(weights="imagenet21k", classes=7, new_head=True)
    maps = keras_vit.ViT_L32(weights="imagenet21k", features=[-1])
    images = np.random.default_rng(0).normal(size=(1, 64, 96, 3)).astype("float32")
    whole = keras_vit.ViT_L32(weights="imagenet21k", include_top=False)(images)
    np.testing.assert_allclose(maps(images), whole, atol=1e-5)
    assert not recwarn.list
    assert tuple(features.output_shape) == (None, 1024)
    assert tuple(fresh.output_shape) == (None, 7)
    assert "pre_logits" not in [layer.name for layer in fresh.layers]


@pytest.mark.parametrize("weights", ["gsam-imagenet-224", "augreg-imagenet1k-224"])
def test_a_kind_of_file_that_no_one_could_open(weights, cache, one_block, monkeypatch):
    """Its arrays are checked, and a warning says that this is all."""
    class_token = weights != "gsam-imagenet-224"
    arrays = _write_released(cache / "mirror", "ViT_S16", weights, class_token=class_token)
    assert ("cls" in arrays) == class_token
    monkeypatch.setenv("KERAS_VIT_WEIGHTS_URL", f"file://{cache / 'mirror'}")
    with pytest.warns(UserWarning, match="is not verified: no such file could be opened"):
        model = keras_vit.ViT_S16(weights=weights)
    assert model.count_params() == sum(array.size for array in arrays.values())
    assert model.get_layer("position_embedding").output.shape[1] == 196 + class_token


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
    model = getattr(keras_vit, name)(weights=weights)
    assert tuple(model.output_shape) == (None, classes)
    assert tuple(model.input_shape) == (None, 224, 224, 3)
    expected = arrays["resnet/head/conv2d/kernel" if name.startswith("BiT") else "head/kernel"]
    kernel = ops.convert_to_numpy(model.get_layer("head").kernel)
    np.testing.assert_array_equal(kernel, expected.reshape(kernel.shape))
    features = getattr(keras_vit, name)(weights=weights, include_top=False, pooling="avg")
    assert tuple(features.output_shape) == (None, keras_vit.VARIANTS[name].width)
    fresh = getattr(keras_vit, name)(weights=weights, classes=7, new_head=True)
    assert tuple(fresh.output_shape) == (None, 7)
    assert not ops.convert_to_numpy(fresh.get_layer("head").kernel).any()
    with pytest.raises(ValueError, match=f"`classes` should be {classes}"):
        getattr(keras_vit, name)(weights=weights, classes=7)


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
        other = keras_vit.ViT_Ti16(weights=path, classes=5, new_head=True)
        assert not ops.convert_to_numpy(other.get_layer("head").kernel).any()
        np.testing.assert_array_equal(
            ops.convert_to_numpy(other.get_layer("block_0").mlp.dense_1.kernel),
            ops.convert_to_numpy(model.get_layer("block_0").mlp.dense_1.kernel),
        )


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
        ("ViT_B16", {"weights": None, "channel_weights": [[1, 1, 1]]}, r"weights=None has none"),
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
        getattr(keras_vit, name)(**options)


def test_released_weights_take_any_channels(cache, one_block, capsys):
    arrays = _write_released(cache, "ViT_Ti16", "imagenet", seed=1)
    kernel = arrays["embedding/kernel"]
    for channels, weights, expected in (
        (1, None, kernel.sum(2, keepdims=True)),
        (4, None, kernel[:, :, [0, 1, 2, 0]] * 3 / 4),
        (2, [[1, 0, 0], [0, 0.5, 0.5]], np.stack([kernel[:, :, 0], kernel[:, :, 1:].mean(2)], 2)),
    ):
        options = {"input_shape": (64, 64, channels), "channel_weights": weights}
        model = keras_vit.ViT_Ti16(**options)
        found = ops.convert_to_numpy(model.get_layer("patch_embed").projection.kernel)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert f"the images of the model have {channels}" in capsys.readouterr().out


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
