"""MLP-Mixer: the original's numbers, every size of the paper, options, saving, errors."""

from __future__ import annotations

import gzip
import json
import math

import keras
import numpy as np
import pytest
from keras import ops
from support.paths import TABLES

import keras_vit
from keras_vit import layers
from keras_vit.applications.manifest import manifest

pytestmark = pytest.mark.any_backend

PAPER_NAMES = {"Mixer_B16": "Mixer-B_16", "Mixer_B32": "Mixer-B_32", "Mixer_L16": "Mixer-L_16"}
TINY = {
    "patch_size": 4, "width": 12, "depth": 2, "tokens_mlp_dim": 7, "channels_mlp_dim": 20,
    "classes": 5,
}  # fmt: skip


def _numpy(x):
    return ops.convert_to_numpy(x)


def _images(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")


def test_every_intermediate_and_the_logits_of_the_original(golden):
    fixture = golden("mixer")
    model = keras_vit.from_checkpoint(fixture.checkpoint)
    arrays, images = fixture.arrays, fixture.arrays["images"]
    outputs = {
        "stem": model.get_layer("stem").output[1],
        "block_0": model.get_layer("mixer_block_0").output,
        "encoded": model.get_layer("norm").output,
        "logits": model.output,
    }
    for name, value in keras.Model(model.input, outputs)(images).items():
        expected = arrays[name]
        atol = 1e-5 * max(np.abs(expected).max(), 1)
        np.testing.assert_allclose(_numpy(value), expected, atol=atol, err_msg=name)
    assert model.count_params() == fixture.facts["params"]
    features = keras_vit.from_checkpoint(fixture.checkpoint, include_top=False, pooling="avg")
    expected = arrays["encoded"].mean(axis=1)
    np.testing.assert_allclose(_numpy(features(images)), expected, atol=1e-5)


@pytest.mark.one_backend
@pytest.mark.parametrize("variant", PAPER_NAMES)
def test_parameter_counts_and_manifests_of_the_original(variant):
    counts = json.loads((TABLES / "param_counts.json").read_text())["vit"][PAPER_NAMES[variant]]
    released = json.loads(gzip.decompress((TABLES / "released_key_manifests.json.gz").read_bytes()))
    config = keras_vit.VARIANTS[variant]
    expected = {k: tuple(v) for k, v in released[PAPER_NAMES[variant]].items()}
    assert manifest(config, classes=21843) == expected
    for classes, column in [(21843, "21843"), (1000, "1000"), (None, "no_head")]:
        shapes = manifest(config, classes=classes)
        assert sum(math.prod(shape) for shape in shapes.values()) == counts[column]


def test_every_variant_has_a_row():
    configs = keras_vit.VARIANTS.items()
    assert set(PAPER_NAMES) == {n for n, c in configs if isinstance(c, keras_vit.MixerConfig)}


@pytest.mark.one_backend
def test_a_built_model_has_the_parameters_of_its_manifest():
    assert keras_vit.Mixer_B32(weights=None).count_params() == 60_293_428


def test_the_block_is_two_mlps_of_the_paper():
    block = layers.MixerBlock(7, 11)
    x = _images(2, 5, 3)
    block.build(x.shape)
    random = np.random.default_rng(1)
    block.set_weights([random.normal(size=w.shape) for w in block.get_weights()])

    def norm(x, layer):
        deviation = np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        x = (x - x.mean(-1, keepdims=True)) / deviation
        return x * _numpy(layer.gamma) + _numpy(layer.beta)

    def mlp(x, layer):
        first, second = layer.dense_1, layer.dense_2
        x = x @ _numpy(first.kernel) + _numpy(first.bias)
        x = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return x @ _numpy(second.kernel) + _numpy(second.bias)

    mixed = mlp(norm(x, block.token_norm).transpose(0, 2, 1), block.token_mixing)
    expected = x + mixed.transpose(0, 2, 1)
    expected = expected + mlp(norm(expected, block.channel_norm), block.channel_mixing)
    np.testing.assert_allclose(_numpy(block(x)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_saved_and_reloaded_bit_for_bit(policy, tmp_path):
    model = keras_vit.Mixer(
        (8, 20),
        **TINY,
        stochastic_depth_rate=0.2,
        gelu="exact",
        include_preprocessing=True,
        classifier_activation="softmax",
        dtype=policy,
    )
    model.get_layer("head").kernel.assign(np.random.default_rng(0).normal(size=(12, 5)))
    x = np.random.default_rng(0).integers(0, 256, (2, 8, 20, 3)).astype("uint8")
    y = _numpy(model(x))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.sum(-1), 1, atol=1e-6)
    rates = [model.get_layer(f"mixer_block_{i}").stochastic_depth_rate for i in range(2)]
    assert rates == [0, 0.2]
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(_numpy(keras.models.load_model(tmp_path / "model.keras")(x)), y)


def test_the_feature_map_lies_as_the_image_does():
    """Before any block a pixel changes its own place alone; after one, every place."""
    x = _images(1, 12, 20, 3)
    y = x.copy()
    y[0, 5, 17] += 1  # row 1, column 4 of the 3 x 5 patches
    for depth in (0, 1):
        model = keras_vit.Mixer((12, 20), **{**TINY, "depth": depth}, include_top=False)
        changed = np.abs(_numpy(model(x)) - _numpy(model(y))).max(axis=(0, 3))
        assert changed.shape == (3, 5)
        assert changed[1, 4] > 1e-3
        assert (changed > 0).sum() == (15 if depth else 1)


def test_pooling_and_a_border():
    with pytest.warns(UserWarning, match="not a multiple"):
        model = keras_vit.Mixer((9, 10), **TINY, include_top=False)
    assert model.output_shape == (None, 2, 2, 12)
    padded = keras_vit.Mixer((9, 10), **TINY, include_top=False, border="pad")
    assert padded.output_shape == (None, 3, 3, 12)
    x = _images(2, 8, 8, 3)
    model = keras_vit.Mixer(8, **TINY, include_top=False)
    feature_map = _numpy(model(x))
    for pooling, expected in [
        ("avg", feature_map.mean(axis=(1, 2))),
        ("max", feature_map.max(axis=(1, 2))),
    ]:
        pooled = keras_vit.Mixer(8, **TINY, include_top=False, pooling=pooling)
        pooled.set_weights(model.get_weights())
        np.testing.assert_allclose(_numpy(pooled(x)), expected, atol=1e-5)


def test_stochastic_depth_drops_whole_branches_of_an_image():
    block = layers.MixerBlock(3, 4, stochastic_depth_rate=0.5)
    x = _images(64, 5, 6)
    block.build(x.shape)
    assert np.abs(_numpy(block(x)) - x).max(axis=(1, 2)).min() > 1e-3
    change = np.abs(_numpy(block(x, training=True)) - x).max(axis=(1, 2))
    assert 4 <= (change == 0).sum() <= 32  # both branches, a quarter of the images


def test_it_learns():
    keras.utils.set_random_seed(0)
    model = keras_vit.Mixer(8, **TINY)
    x = _images(64, 8, 8, 3)
    y = (x[:, :4].mean(axis=(1, 2, 3)) > x[:, 4:].mean(axis=(1, 2, 3))).astype("int32")
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    before, *_, after = model.fit(x, y, epochs=20, verbose=0).history["loss"]
    assert after < 0.5 * before


def test_the_file_of_another_number_of_patches(golden):
    path = golden("mixer").checkpoint  # 4 x 4 patches of 8
    with pytest.raises(ValueError, match=r"cannot be resized.*16 patches.*\(64, 64\)"):
        keras_vit.from_checkpoint(path, image_size=64)
    assert keras_vit.from_checkpoint(path, image_size=(16, 64)).input_shape == (None, 16, 64, 3)
    with pytest.raises(ValueError, match="cannot be resized"):
        keras_vit.from_checkpoint(path, input_shape=(64, 64, 3))
    larger = keras_vit.Mixer(64, 8, 32, 2, 24, 64, classes=10)
    with pytest.raises(ValueError, match=r"(?s)nothing was loaded.*cannot be resized"):
        keras_vit.load_weights(larger, path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": (None, None, 3)}, r"one size.*\(224, 224, 3\).*\(None, None, 3\)"),
        ({"input_shape": (32, None, 3), "include_top": False}, "one size"),
        ({"pooling": "token", "include_top": False}, "None, avg, max. A Mixer has no class token"),
        ({"tokens_mlp_dim": 0}, "tokens_mlp_dim=0"),
        ({"depth": -1}, "depth=-1"),
        ({"classes": 0}, "classes=0"),
        ({"stochastic_depth_rate": 1.0}, "stochastic_depth_rate=1.0"),
        ({"gelu": "erf"}, "gelu='erf'"),
        ({"image_size": 8, "patch_size": 16}, "at least one patch"),
        ({"image_size": 20, "patch_size": 16, "border": "error"}, "not a multiple"),
    ],
)
def test_bad_arguments_say_what_was_expected(options, message):
    with pytest.raises(ValueError, match=message):
        keras_vit.Mixer(**{"image_size": 16, **TINY, **options})


def test_the_block_wants_to_know_the_number_of_tokens():
    with pytest.raises(ValueError, match=r"number must be known.*\(None, None, 6\)"):
        layers.MixerBlock(3, 4)(keras.Input((None, 6)))
