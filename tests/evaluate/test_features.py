"""What comes before the head: in every family, wrapped, reloaded, and where it cannot be told."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_vit
from keras_vit.evaluate import extract_features, extract_labelled_features
from keras_vit.models import ResNetStem

TINY = {"patch_size": 4, "width": 12, "depth": 2, "num_heads": 2, "mlp_dim": 20, "classes": 5}


def images(count: int = 5, rows: int = 8, columns: int = 12) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, rows, columns, 3)).astype("float32")


def vit(**options) -> keras.Model:
    return keras_vit.ViT((8, 12), **{**TINY, **options})


def hybrid() -> keras.Model:
    stem = ResNetStem((1, 1), 0.5)
    return keras_vit.ViT(32, **{**TINY, "patch_size": 1}, stem=stem)


def with_random_head(model: keras.Model) -> keras.Model:
    """A new head is zero, and every feature would fit it."""
    kernel = model.get_layer("head").kernel
    kernel.assign(np.random.default_rng(1).normal(size=kernel.shape))
    return model


@pytest.mark.parametrize(
    ("model", "size", "width"),
    [
        (lambda: vit(), (8, 12), 12),
        (lambda: vit(classifier_activation="softmax"), (8, 12), 12),
        (lambda: vit(representation_size=7), (8, 12), 7),
        (lambda: vit(classifier="gap", norm_after_pooling=True), (8, 12), 12),
        (hybrid, (32, 32), 12),
        (lambda: keras_vit.BiT(32, (1, 1, 1, 1), 1, classes=5), (32, 32), 2048),
        (lambda: keras_vit.Mixer(8, 4, 12, 2, 6, 20, classes=5), (8, 8), 12),
    ],
    ids=["token", "softmax", "pre_logits", "gap", "hybrid", "bit", "mixer"],
)
def test_the_head_on_the_features_gives_the_outputs(model, size, width):
    model = with_random_head(model())
    pixels = images(3, *size)
    features = extract_features(model, pixels, batch_size=2)
    assert features.shape == (3, width) and features.dtype == np.float32
    assert np.abs(features[0] - features[1]).max() > 1e-3
    outputs = ops.convert_to_numpy(model.get_layer("head")(features))
    expected = ops.convert_to_numpy(model(pixels, training=False))
    np.testing.assert_allclose(outputs, expected, atol=1e-5 * np.abs(expected).max())


def test_pre_logits_are_those_of_the_original(golden):
    """What the original code computed before its head, class token and `pre_logits` layer."""
    for name in ("vit_token", "vit_token_rep24", "vit_gap"):
        fixture = golden(name)
        model = keras_vit.from_checkpoint(fixture.checkpoint)
        features = extract_features(model, fixture.arrays["images"])
        np.testing.assert_allclose(features, fixture.arrays["features"], atol=1e-5)


def test_models_reloaded_wrapped_without_a_head_and_of_the_user(tmp_path):
    model, pixels = with_random_head(vit()), images()
    expected = extract_features(model, pixels)

    model.save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(extract_features(reloaded, pixels), expected)

    headless = vit(include_top=False, pooling="token")
    for layer in headless.layers:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    np.testing.assert_allclose(extract_features(headless, pixels), expected, atol=1e-6)

    wrapped = keras.Sequential(
        [headless, layers.Dropout(0.5), layers.Dense(3), layers.Dropout(0.5), layers.Softmax()]
    )
    np.testing.assert_allclose(extract_features(wrapped, pixels), expected, atol=1e-6)

    inputs = keras.Input((8, 12, 3))
    x = layers.Conv2D(4, 3, name="convolution")(inputs)
    pooled = layers.GlobalAveragePooling2D(name="pooled")(x)
    own = keras.Model(inputs, layers.Dense(2)(layers.Dense(6, "relu", name="hidden")(pooled)))
    features = extract_features(own, pixels)
    assert features.shape == (5, 6) and features.min() >= 0
    named = extract_features(own, pixels, layer="pooled")
    assert named.shape == (5, 4)
    np.testing.assert_allclose(
        ops.convert_to_numpy(own.get_layer("hidden")(named)), features, atol=1e-6
    )


def test_any_batch_size_gives_the_same_features_in_the_order_of_the_images():
    model, pixels = vit(), images(7)
    together = extract_features(model, pixels, batch_size=7)
    for batch_size in (1, 3, 100):
        apart = extract_features(model, pixels, batch_size)
        np.testing.assert_allclose(apart, together, atol=3e-6)
    labels = np.array([3, 0, 0, 2, 1, 4, 4])
    batches = [(pixels[:4], labels[:4]), (pixels[4:], labels[4:])]
    features, found = extract_labelled_features(model, batches)
    np.testing.assert_allclose(features, together, atol=3e-6)
    np.testing.assert_array_equal(found, labels)

    mixed = vit(dtype="mixed_bfloat16")
    mixed.set_weights(model.get_weights())
    half = extract_features(mixed, pixels)
    assert half.dtype == np.float32 and 0 < np.abs(half - together).max() < 0.1


def test_models_whose_features_cannot_be_told():
    inputs = keras.Input((8, 12, 3))
    flat = layers.Flatten(name="flat")(layers.Conv2D(1, 3)(inputs))
    two = keras.Model(inputs, [flat, flat])
    unbuilt = keras.Sequential([layers.Flatten(), layers.Dense(2)])
    convolutional = keras.Model(inputs, layers.Softmax(name="last")(flat))
    feature_map = vit(include_top=False)
    for model, layer, message in (
        (two, None, "functional model of one output"),
        (unbuilt, None, "functional model of one output"),
        ("ViT_Ti16", None, "functional model of one output.*'ViT_Ti16'"),
        (convolutional, None, r"cannot be told.*ends in 'flat' \(Flatten\)"),
        (feature_map, None, r"pooling='avg'.*\(None, 2, 3, 12\)"),
        (vit(), "encoder_norm", r"vectors, \[B, D\].*\(None, 7, 12\)"),
        (vit(), "nowhere", "no layer 'nowhere'.*'head'"),
    ):
        with pytest.raises(ValueError, match=message):
            keras_vit.feature_model(model, layer=layer)
    assert keras_vit.feature_model(convolutional, layer="flat")
    with pytest.raises(ValueError, match="at least one"):
        extract_features(vit(), images(0))
    with pytest.raises(ValueError, match="at least one image"):
        extract_labelled_features(vit(), [])
    with pytest.raises(ValueError, match="batch_size=0"):
        extract_features(vit(), images(), 0)
