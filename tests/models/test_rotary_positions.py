"""A ViT with rotary positions in place of learned ones, as DINOv3."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from keras import ops
from support.families import build, images, outputs

import keras_vit
from keras_vit.analysis import page
from keras_vit.planner import costs
from keras_vit.plots import paper_figures

BACKEND = keras.backend.backend()
pytestmark = [
    pytest.mark.any_backend,
    pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning"),
]
ROTARY = {"position_embedding": "rotary", "key_bias": False, "layer_scale": 0.5}


def _build(**options):
    model = build("vit", **{**ROTARY, **options})
    for number, variable in enumerate(model.weights):
        noise = np.random.default_rng(number).normal(0, 0.1, variable.shape)
        variable.assign(ops.convert_to_numpy(variable) + noise)
    return model


def _copied(source, target):
    for old, new in zip(source.weights, target.weights, strict=True):
        new.assign(ops.convert_to_numpy(old))
    return target


def _values(model, pixels):
    return ops.convert_to_numpy(model(pixels))


def test_of_any_size_it_is_the_model_of_each_size():
    fixed = _build()
    opened = _copied(fixed, _build(input_shape=(None, None, 3)))
    assert not any("position" in variable.path for variable in fixed.weights)
    pixels = np.random.default_rng(0).normal(size=(2, 40, 24, 3)).astype("float32")
    resized = keras_vit.resize_model(fixed, (40, 24))
    np.testing.assert_array_equal(outputs(opened), outputs(fixed))
    np.testing.assert_allclose(_values(opened, pixels), _values(resized, pixels), atol=1e-6)
    assert np.abs(_values(resized, pixels[:, ::-1]) - _values(resized, pixels)).max() > 1e-3


def test_where_a_patch_lies_matters():
    """Without positions the class token would not notice that the patches change places."""
    pixels = images()
    moved = pixels.reshape(-1, 4, 8, 32, 3)[:, ::-1].reshape(pixels.shape)
    model = _build()
    found, expected = (ops.convert_to_numpy(model(x)) for x in (moved, pixels))
    assert np.abs(found - expected).max() > 1e-3


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_keras_files_say_that_positions_are_rotary(ending, tmp_path):
    model = _build()
    keras_vit.save_weights(model, tmp_path / f"a{ending}")
    opened = keras_vit.from_checkpoint(tmp_path / f"a{ending}", 32)
    np.testing.assert_array_equal(outputs(opened), outputs(model))
    larger = keras_vit.from_checkpoint(tmp_path / f"a{ending}", (40, 24))
    assert larger.input_shape[1:3] == (40, 24)
    again = _build()
    for variable in again.weights:
        variable.assign(ops.zeros(variable.shape))
    keras_vit.load_weights(again, tmp_path / f"a{ending}")
    np.testing.assert_array_equal(outputs(again), outputs(model))
    for other in ({"position_embedding": "learned"}, {"key_bias": True}):
        with pytest.raises(ValueError, match=r"(missing from|unexpected in) the file"):
            keras_vit.load_weights(build("vit", **{**ROTARY, **other}), tmp_path / f"a{ending}")


def test_it_is_written_for_the_formats_that_have_such_models(tmp_path):
    model = _build(include_top=False, pooling="token", gelu="exact", norm_epsilon=1e-5)
    for name, path in (("timm", "a.safetensors"), ("huggingface", "folder")):
        keras_vit.save_weights(model, tmp_path / path, format=name)
        again = keras_vit.from_checkpoint(tmp_path / path, pooling="token")
        np.testing.assert_array_equal(outputs(again), outputs(model))
    with pytest.raises(ValueError, match=r"'google' has no Vision Transformer with rotary posit.*"):
        keras_vit.save_weights(model, tmp_path / "a.npz", format="google")
    with pytest.raises(ValueError, match=r"no place for these .*attention/key/bias"):
        keras_vit.save_weights(_build(key_bias=True), tmp_path / "b.npz", format="timm")
    with pytest.raises(ValueError, match=r"no part for: layer\.0\.layer_scale1"):
        keras_vit.save_weights(
            _build(layer_scale=None, include_top=False), tmp_path / "b", format="huggingface"
        )


@pytest.mark.one_backend
def test_what_config_json_says_of_dinov3_is_understood_or_refused(tmp_path):
    from safetensors.numpy import load_file, save_file

    model = _build(include_top=False, pooling="token", swiglu=True, gelu="exact", norm_epsilon=1e-5)
    keras_vit.save_weights(model, tmp_path / "a", format="huggingface")
    weights, config = tmp_path / "a" / "model.safetensors", tmp_path / "a" / "config.json"
    save_file(load_file(weights), weights)  # our note off
    again = keras_vit.from_checkpoint(tmp_path / "a", pooling="token", normalisation="centred")
    np.testing.assert_array_equal(outputs(again), outputs(model))
    said = json.loads(config.read_text())
    for change, message in (
        ({"rope_theta": 7}, r"rope_theta=7 .*Expected: 100"),
        ({"hidden_act": "gelu"}, r"activation is 'gelu', and the MLPs in the file have a gate"),
    ):
        config.write_text(json.dumps({**said, **change}))
        with pytest.raises(ValueError, match=message):
            keras_vit.from_checkpoint(tmp_path / "a")


def test_a_model_without_a_key_bias_is_written_with_zeros_where_others_have_one(tmp_path):
    for name, gelu in (("google", "tanh"), ("timm", "exact")):
        model = build("vit", key_bias=False, gelu=gelu)
        keras_vit.save_weights(model, tmp_path / f"{name}.npz", format=name)
        again = keras_vit.from_checkpoint(tmp_path / f"{name}.npz", num_heads=3)
        np.testing.assert_array_equal(outputs(again), outputs(model))
        assert not ops.convert_to_numpy(again.get_layer("block_0").attention.key.bias).any()
    model.save(tmp_path / "a.keras")
    again = keras_vit.from_checkpoint(tmp_path / "a.keras")
    assert again.get_layer("block_1").attention.key.bias is None
    np.testing.assert_array_equal(outputs(again), outputs(model))


def test_keras_s_verbs():
    model = _build(depth=1)
    attention = model.get_layer("block_0").attention
    attention.key.enable_lora(2)
    assert len(attention.key.trainable_variables) == 2  # two factors
    if BACKEND != "torch":  # Keras has no integer products there
        before = outputs(model)
        model.quantize("int8")
        assert 0 < np.abs(outputs(model) - before).max() < 0.2 * np.ptp(before)


def test_attention_maps_features_and_costs_know_it():
    model = _build()
    maps = keras_vit.attention_maps(model, images(2))
    assert maps.shape == (2, 2, 3, 18, 18)
    assert len(keras_vit.feature_model(model, "all", class_token=True)(images(2))) == 4
    learned = build("vit", **{**ROTARY, "position_embedding": "learned"})
    assert costs.forward_macs(model) == costs.forward_macs(learned)
    assert costs.vit_sizes(model) == (16, 18, 48)
    assert costs.vit_sizes(_build(input_shape=(None, None, 3))) is None
    kept, other = (costs.training_memory(m, 4)["activations"] for m in (model, learned))
    assert kept < other  # the sum of the tokens and their positions is not kept
    keras_vit.freeze(model, 1)
    assert model.get_layer("block_1").trainable and not model.get_layer("block_0").trainable


@pytest.mark.one_backend
def test_the_page_leaves_out_what_was_not_learned():
    inside = page.look_inside(_build(), images(2))
    assert inside.similarity is None and inside.masks.shape == (2, 32, 32)
    figure = paper_figures.figure_7(inside.filters, None, inside.distances, inside.uniform)
    titles = [axes.get_title() for axes in figure.axes]
    assert "Mean attention distance" in titles and "Position embedding similarity" not in titles


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="position_embedding"):
        build("vit", position_embedding="rotery")
