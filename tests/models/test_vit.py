"""`ViT(...)`: every variant's exact size, and what each argument does."""

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
from keras_vit.applications.manifest import manifest

pytestmark = pytest.mark.any_backend

PAPER_NAMES = {
    "ViT_Ti16": "ViT-Ti_16",
    "ViT_S16": "ViT-S_16",
    "ViT_S32": "ViT-S_32",
    "ViT_B8": "ViT-B_8",
    "ViT_B16": "ViT-B_16",
    "ViT_B32": "ViT-B_32",
    "ViT_L16": "ViT-L_16",
    "ViT_L32": "ViT-L_32",
    "ViT_H14": "ViT-H_14",
    "R_Ti16": "R+ViT-Ti_16",
    "R26_ViT_S32": "R26+ViT-S_32",
    "R26_ViT_B32": "R26+ViT-B_32",
    "R50_ViT_B16": "R50+ViT-B_16",
    "R50_ViT_L32": "R50+ViT-L_32",
}
TINY = {"patch_size": 4, "width": 12, "depth": 2, "num_heads": 3, "mlp_dim": 20, "classes": 5}


def _images(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")


def _numpy(x):
    return ops.convert_to_numpy(x)


def test_every_variant_has_a_row():
    configs = keras_vit.VARIANTS.items()
    assert set(PAPER_NAMES) == {n for n, c in configs if isinstance(c, keras_vit.ViTConfig)}
    assert set(PAPER_NAMES) <= set(keras_vit.__all__)


@pytest.mark.filterwarnings("ignore:The image size .384, 384. is not a multiple")  # H/14
@pytest.mark.parametrize("variant", PAPER_NAMES)
def test_parameter_counts_and_manifests_of_the_original(variant):
    counts = json.loads((TABLES / "param_counts.json").read_text())["vit"][PAPER_NAMES[variant]]
    config = keras_vit.VARIANTS[variant]

    def count(**options):
        return sum(math.prod(shape) for shape in manifest(config, **options).values())

    assert count(classes=1000) == counts["1000"]
    assert count(classes=1000, image_size=384) == counts["1000_at_384"]
    assert count(classes=None) == counts["no_head"]
    assert (
        count(classes=21843, representation_size=config.width)
        == counts["21843_with_pre_logits(hidden)"]
    )
    released = json.loads(gzip.decompress((TABLES / "released_key_manifests.json.gz").read_bytes()))
    expected = {k: tuple(v) for k, v in released[PAPER_NAMES[variant]].items()}
    assert manifest(config, classes=21843) == expected
    assert count(classes=21843) == counts["21843"]


def test_a_built_model_has_the_parameters_of_its_manifest():
    assert keras_vit.ViT_Ti16(weights=None).count_params() == 5_717_416
    gap = keras_vit.ViT_S32(weights=None, classifier="gap")
    assert gap.count_params() == 22_878_184  # ViT-S_32-gap-norep of the table


def test_non_square_images_and_every_option_at_once():
    model = keras_vit.ViT(
        (8, 20),
        **TINY,
        classifier="gap",
        representation_size=7,
        registers=2,
        dropout_rate=0.1,
        stochastic_depth_rate=0.2,
        gelu="exact",
        include_preprocessing=True,
        classifier_activation="softmax",
        dtype="mixed_bfloat16",
        name="everything",
    )
    assert model.input_shape == (None, 8, 20, 3)
    y = _numpy(model(np.full((2, 8, 20, 3), 200, "uint8")))
    assert y.shape == (2, 5) and y.dtype == np.float32
    np.testing.assert_allclose(y.sum(-1), 1, atol=1e-6)
    rates = [layer.stochastic_depth_rate for layer in model.layers if "block_" in layer.name]
    assert rates == [0.0, 0.2]


def test_the_model_is_saved_and_reloaded_bit_for_bit(tmp_path):
    model = keras_vit.ViT((8, 20), **TINY, registers=1, stochastic_depth_rate=0.1, dropout_rate=0.1)
    x = _images(2, 8, 20, 3)
    model.save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(_numpy(model(x)), _numpy(reloaded(x)))


@pytest.mark.parametrize("registers", [0, 3])
def test_feature_map_lies_as_the_image_does(registers):
    """Changing one pixel before the first block changes its own place of the map most."""
    model = keras_vit.ViT((12, 20), **{**TINY, "depth": 0}, registers=registers, include_top=False)
    x = _images(1, 12, 20, 3)
    y = x.copy()
    y[0, 5, 17] += 1  # row 1, column 4 of the 3 x 5 patches
    changed = np.abs(_numpy(model(x)) - _numpy(model(y))).max(axis=(0, 3))
    assert changed.shape == (3, 5)
    assert changed[1, 4] > 1e-3
    changed[1, 4] = 0
    np.testing.assert_allclose(changed, 0, atol=1e-6)


def test_poolings_are_the_class_token_the_mean_and_the_maximum():
    options = {**TINY, "registers": 2, "include_top": False}
    keras.utils.set_random_seed(1)
    feature_map = keras_vit.ViT(16, **options)
    x = _images(2, 16, 16, 3)
    tokens = _numpy(keras.Model(feature_map.input, feature_map.get_layer("encoder_norm").output)(x))
    assert tokens.shape == (2, 1 + 2 + 16, 12)
    expected = {
        "token": tokens[:, 0],
        "avg": tokens[:, 3:].mean(axis=1),
        "max": tokens[:, 3:].max(axis=1),
    }
    expected["token+avg"] = np.concatenate([expected["token"], expected["avg"]], axis=1)
    for pooling, value in expected.items():
        model = keras_vit.ViT(16, **options, pooling=pooling)
        model.set_weights(feature_map.get_weights())
        np.testing.assert_allclose(_numpy(model(x)), value, atol=1e-6)


def test_one_head_on_two_tokens_is_the_mean_of_two_heads():
    """Distilled DeiT (arXiv 2012.12877)."""
    model = keras_vit.ViT(16, **TINY, classifier="token+distillation")
    random = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(random.normal(size=variable.shape) * 0.3)
    x = _images(2, 16, 16, 3)
    tokens = _numpy(keras.Model(model.input, model.get_layer("encoder_norm").output)(x))
    assert tokens.shape == (2, 2 + 16, 12)
    kernel, bias = (_numpy(w) for w in model.get_layer("head").weights)
    heads = [2 * tokens[:, n] @ kernel[12 * n : 12 * (n + 1)] + bias for n in range(2)]
    np.testing.assert_allclose(_numpy(model(x)), (heads[0] + heads[1]) / 2, atol=1e-5)


@pytest.mark.parametrize("size", [(16, 16), (20, 8), (31, 17)])
@pytest.mark.filterwarnings("ignore:The image size .* is not a multiple")
def test_an_open_size_equals_a_model_built_at_that_size(size):
    model = keras_vit.ViT(16, **TINY, input_shape=(None, None, 3), include_top=False)
    x = _images(2, *size, 3)
    fixed = keras_vit.resize_model(model, size)
    expected = _numpy(fixed(x))
    assert model.output_shape == (None, None, None, 12)
    np.testing.assert_allclose(_numpy(model(x)), expected, atol=1e-5)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)


def test_border_is_dropped_padded_or_refused():
    x = _images(1, 10, 8, 3)
    with pytest.warns(UserWarning, match=r"\(8, 8\) and \(12, 8\)"):
        dropped = keras_vit.ViT((10, 8), **TINY, include_top=False)
    assert dropped.output_shape == (None, 2, 2, 12)
    other = x.copy()
    other[:, 8:] = 0
    np.testing.assert_array_equal(_numpy(dropped(x)), _numpy(dropped(other)))
    padded = keras_vit.ViT((10, 8), **TINY, include_top=False, border="pad")
    assert padded.output_shape == (None, 3, 2, 12)
    assert np.abs(_numpy(padded(x)) - _numpy(padded(other))).max() > 1e-3
    with pytest.raises(ValueError, match=r"\(8, 8\) and \(12, 8\)"):
        keras_vit.ViT((10, 8), **TINY, border="error")


def test_preprocessing_in_the_model_equals_preprocess_input():
    keras.utils.set_random_seed(1)
    outside = keras_vit.ViT(8, **TINY, include_top=False)
    inside = keras_vit.ViT(8, **TINY, include_top=False, include_preprocessing=True)
    inside.set_weights(outside.get_weights())
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("uint8")
    np.testing.assert_allclose(
        _numpy(inside(pixels)), _numpy(outside(keras_vit.preprocess_input(pixels))), atol=1e-5
    )


def test_mixed_precision_is_near_float32_and_ends_in_float32():
    model = keras_vit.ViT(16, **TINY)
    model.get_layer("head").kernel.assign(_images(12, 5))
    x = _images(4, 16, 16, 3)
    expected = _numpy(model(x))
    for policy, atol in [("mixed_bfloat16", 0.1), ("mixed_float16", 0.02)]:
        mixed = keras_vit.ViT(16, **TINY, dtype=policy)
        mixed.set_weights(model.get_weights())
        y = _numpy(mixed(x))
        assert y.dtype == np.float32
        assert 0 < np.abs(y - expected).max() < atol


def test_the_model_learns_with_fit():
    """Bright left half against bright right half: nothing works if a layer's gradient does not."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 64)
    images = random.normal(size=(64, 8, 8, 1)).astype("float32") * 0.3
    images[labels == 0, :, :4] += 1
    images[labels == 1, :, 4:] += 1
    model = keras_vit.ViT(
        8, **{**TINY, "classes": 2}, input_shape=(8, 8, 1), dropout_rate=0.1,
        stochastic_depth_rate=0.1, classifier_activation="softmax",
    )  # fmt: skip
    model.compile(
        keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.fit(images, labels, epochs=20, batch_size=16, verbose=0)
    assert model.evaluate(images, labels, verbose=0)[1] > 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classifier": "mean"}, "classifier"),
        ({"normalisation": "half"}, "one of .*'imagenet'.* Received: normalisation='half'"),
        ({"normalisation": ([0.5] * 3, [0.5, 0, 0.5])}, "mean and the standard deviation"),
        ({"pooling": "mean", "include_top": False}, "pooling"),
        ({"pooling": "token", "classifier": "gap", "include_top": False}, "need a class token"),
        ({"classifier": "token+avg", "class_token": False}, "need a class token"),
        ({"pooling": "token+distillation", "include_top": False}, "needs a distillation token"),
        ({"classifier": "gap", "distillation_token": True}, "a class token before it"),
        ({"image_size": 0}, "image_size"),
        ({"image_size": (8, 8, 3)}, "image_size"),
        ({"input_shape": (8, 8)}, "tuple of three"),
        ({"input_tensor": np.zeros((1, 8, 8, 3))}, "Keras tensor"),
        ({"num_heads": 5}, "num_heads=5"),
        ({"depth": -1}, "`depth` must be an integer of at least 0"),
        ({"registers": 1.5}, r"registers=1.5"),
        ({"classes": "ten"}, "classes='ten'"),
        ({"dropout_rate": 1}, r"`dropout_rate` must be a number in \[0, 1\)"),
        ({"border": "mirror"}, "border"),
    ],
)
def test_bad_arguments_say_what_was_expected(options, message):
    with pytest.raises(ValueError, match=message):
        keras_vit.ViT(**{"image_size": 8, **TINY, **options})
