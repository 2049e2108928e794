"""Attention maps of models that were built, reloaded or wrapped, and resizing a live model."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import keras_vit

pytestmark = pytest.mark.any_backend

TINY = {"patch_size": 4, "width": 12, "depth": 3, "num_heads": 2, "mlp_dim": 20, "classes": 5}


def _images(n, rows=8, columns=12, seed=0):
    return np.random.default_rng(seed).normal(size=(n, rows, columns, 3)).astype("float32")


def test_maps_of_built_reloaded_wrapped_and_mixed_models(tmp_path):
    model = keras_vit.ViT((8, 12), **TINY)
    images = _images(5)
    maps = keras_vit.attention_maps(model, images, batch_size=2)
    assert maps.shape == (5, 3, 2, 7, 7) and maps.dtype == np.float32
    np.testing.assert_allclose(maps.sum(-1), 1, atol=1e-5)

    model.save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras_vit.attention_maps(reloaded, images, batch_size=2), maps)

    wrapped = keras.Sequential([keras.Input((8, 12, 3)), model, keras.layers.Dense(2)])
    np.testing.assert_array_equal(keras_vit.attention_maps(wrapped, images, batch_size=2), maps)

    mixed = keras_vit.ViT((8, 12), **TINY, dtype="mixed_bfloat16")
    mixed.set_weights(model.get_weights())
    assert 0 < np.abs(keras_vit.attention_maps(mixed, images) - maps).max() < 0.05


def test_maps_after_training_and_no_recording_elsewhere():
    from keras_vit.layers.functional import record_attention

    model = keras_vit.ViT((8, 12), **TINY, dropout_rate=0.1, attention_dropout_rate=0.1)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    with record_attention() as recording:
        pass
    model.fit(_images(4), np.arange(4), verbose=0)
    assert recording == []
    maps = [keras_vit.attention_maps(model, _images(2)) for _ in range(2)]
    np.testing.assert_array_equal(*maps)  # without dropout


def test_maps_of_a_model_without_attention():
    model = keras.Sequential([keras.Input((8, 12, 3)), keras.layers.Flatten()], name="flat")
    with pytest.raises(ValueError, match=r"no attention to show.*flat"):
        keras_vit.attention_maps(model, _images(1))
    with pytest.raises(ValueError, match="at least one image"):
        keras_vit.attention_maps(keras_vit.ViT((8, 12), **TINY), _images(0))


def test_a_trained_model_is_resized_with_its_own_layers():
    model = keras_vit.ViT((8, 12), **TINY, include_top=False, pooling="token")
    own = keras.layers.Dense(4, name="own_head")(model.output)
    model = keras.Model(model.input, own)
    same = keras_vit.resize_model(model, (8, 12))
    images = _images(2)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(same(images)), ops.convert_to_numpy(model(images))
    )
    large = keras_vit.resize_model(model, (20, 16))
    assert tuple(large.output_shape) == (None, 4)
    layer = large.get_layer("position_embedding")
    assert layer.grid_size == (5, 4)
    source = ops.convert_to_numpy(model.get_layer("position_embedding").embedding)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer.embedding),
        keras_vit.resample_position_embedding(source, (2, 3), (5, 4)),
    )
    assert model.get_layer("position_embedding").grid_size == (2, 3)


def test_models_that_cannot_be_resized_say_why():
    model = keras_vit.ViT((8, 12), **TINY)
    wrapped = keras.Sequential([keras.Input((8, 12, 3)), model])
    with pytest.raises(ValueError, match="before you wrap it"):
        keras_vit.resize_model(wrapped, 16)
    with pytest.raises(ValueError, match="must be a functional model"):
        keras_vit.resize_model(keras.Sequential([model.get_layer("block_0")]), 16)
    with pytest.raises(ValueError, match="image_size"):
        keras_vit.resize_model(model, "large")
