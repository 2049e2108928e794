"""Keras's own verbs on our models: `quantize`, `enable_lora`, loss scaling."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from support.combinations import crossed, slow
from support.families import FAMILIES, SHAPE, build, images, outputs

import keras_vit

BACKEND = keras.backend.backend()
pytestmark = [
    pytest.mark.any_backend,
    # Keras says so of every layer without a dense kernel.
    pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning"),
]

MODES = ("int8", "int4", "float8")
# A hybrid has the layers of a ViT and the convolutions of a BiT.
ALWAYS = [family if family != "hybrid" else slow(family) for family in FAMILIES]
# Which policies are scaled, and what is refused, is said by the policy's name: a family is enough
# to see it on another backend.
BIT, MIXER = (pytest.param(name, marks=pytest.mark.one_backend) for name in ("bit", "mixer"))
# Dense layers: query, key, value, out and two of the MLP in the block; two MLPs; the head.
DENSE = {"vit": 7, "hybrid": 7, "mixer": 5, "bit": 1}


def _dense(model):
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dense)]


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has no integer products there")
@pytest.mark.parametrize(("family", "mode"), crossed(tuple(FAMILIES), MODES))
def test_every_dense_kernel_is_quantized_and_saved(family, mode, tmp_path):
    model = build(family, depth=1)
    before = outputs(model)
    model.quantize(mode)
    assert [layer.quantization_mode for layer in _dense(model)] == [mode] * DENSE[family]
    expected = outputs(model)
    assert 0 < np.abs(expected - before).max() < 0.2 * np.ptp(before)

    model.save_weights(tmp_path / "model.weights.h5")
    same = build(family, depth=1)
    same.quantize(mode)
    for variable in same.weights:
        variable.assign(keras.ops.zeros(variable.shape, variable.dtype))
    same.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(outputs(same), expected)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [layer.quantization_mode for layer in _dense(loaded)] == [mode] * DENSE[family]
    np.testing.assert_array_equal(outputs(loaded), expected)

    with pytest.raises(ValueError, match="quantized"):
        keras_vit.save_weights(model, tmp_path / "model.npz")


def test_the_gate_of_a_swiglu_is_quantized_and_adapted():
    model = build("vit", depth=1, swiglu=True)
    gate = model.get_layer("block_0").mlp.gate
    gate.enable_lora(2)
    assert len(gate.trainable_variables) == 3  # two factors and the bias
    if BACKEND != "torch":  # Keras has no integer products there
        before = outputs(model)
        model.quantize("int8")
        assert [layer.quantization_mode for layer in _dense(model)] == ["int8"] * 8
        assert 0 < np.abs(outputs(model) - before).max() < 0.2 * np.ptp(before)


def test_the_gelu_is_not_lost_when_its_layer_is_quantized():
    """The GELU is inside the dense layer, whose call Keras replaces by another."""
    block = build("vit").get_layer("block_0")
    rows = np.random.default_rng(0).normal(size=(5, 48)).astype("float32")
    if BACKEND == "torch":
        pytest.skip("Keras has no integer products there")
    before = keras.ops.convert_to_numpy(block.mlp.dense_1(rows))
    block.mlp.dense_1.quantize("int8")
    after = keras.ops.convert_to_numpy(block.mlp.dense_1(rows))
    np.testing.assert_allclose(after, before, atol=0.05)
    assert before.min() > -0.2  # of the GELU


LORA = ("query", "value", "dense_1", "head")


def _with_lora(family, trained=True, **options):
    model = build(family, **options)
    for layer in model.layers:
        layer.trainable = False
    random = np.random.default_rng(2)
    for layer in _dense(model):
        if layer.name in LORA:
            layer.trainable = True
            layer.enable_lora(2, lora_alpha=3)
            if trained:
                b = layer.lora_kernel_b
                b.assign(random.normal(0, 0.3, b.shape))
    return model


def _compiled(model):
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return model


@pytest.mark.parametrize("family", ["vit", "mixer", slow("bit"), slow("hybrid")])
def test_lora_trains_saves_and_trains_on(family, tmp_path):
    model = _compiled(_with_lora(family, trained=False, depth=1))
    labels = np.arange(4)
    adapted = [layer for layer in _dense(model) if layer.name in LORA]
    kernels = [keras.ops.convert_to_numpy(layer._kernel) for layer in adapted]
    model.fit(images(), labels, epochs=2, verbose=0)
    for layer, kernel in zip(adapted, kernels, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer._kernel), kernel)
        assert keras.ops.convert_to_numpy(layer.lora_kernel_b).any()

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(outputs(loaded), outputs(model), atol=2e-6)
    assert [v.trainable for v in loaded.weights] == [v.trainable for v in model.weights]
    again = [layer for layer in _dense(loaded) if layer.name in LORA]
    assert all((layer.lora_rank, layer.lora_alpha) == (2, 3) for layer in again)
    loaded.fit(images(), labels, verbose=0)
    for layer in again:  # with both factors at zero, as Keras leaves them, neither would move
        assert np.abs(keras.ops.convert_to_numpy(layer.lora_kernel_b)).max() > 1e-3


@pytest.mark.filterwarnings("ignore:The model 'vit' has {'gelu'")  # timm's is the exact one
@pytest.mark.parametrize("family", ALWAYS)
def test_lora_is_merged_in_what_has_no_name_for_it(family, tmp_path):
    model = _with_lora(family)
    expected = outputs(model)
    assert np.abs(expected - outputs(build(family))).max() > 0.01
    plain = outputs(_merged(model))
    np.testing.assert_allclose(plain, expected, atol=1e-6 * np.abs(expected).max())
    names = ["model.npz", "model.weights.h5", *(["model.safetensors"] if family != "mixer" else [])]
    for name in names:
        kind = "timm" if name.endswith("safetensors") else None
        keras_vit.save_weights(model, tmp_path / name, format=kind)
        again = build(family)
        keras_vit.load_weights(again, tmp_path / name)
        np.testing.assert_allclose(outputs(again), expected, atol=5e-6)
    if family in ("vit", "hybrid"):
        resized = keras_vit.resize_model(model, 32)
        np.testing.assert_allclose(outputs(resized), expected, atol=5e-6)
        assert not any(layer.lora_enabled for layer in _dense(resized))
    with pytest.raises(ValueError, match="Load the weights first"):
        keras_vit.load_weights(model, tmp_path / "model.npz")
    np.testing.assert_array_equal(outputs(model), expected)


def _merged(model):
    from keras_vit.models.lora import merged

    copy = merged(model)
    assert merged(copy) is copy
    return copy


@pytest.mark.parametrize("family", ["vit", "hybrid"])
def test_a_float8_model_is_resized_before(family):
    model = build(family, depth=1)
    model.quantize("float8")
    with pytest.raises(ValueError, match="Resize the model first"):
        keras_vit.resize_model(model, 48)


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_of_a_model_inside_another_is_merged_where_it_is_taken_out(family):
    """Whatever its `lora_alpha`: Keras's own dense layer, the head, is rebuilt without it."""
    from keras_vit.models.flatten import flat

    inner = _with_lora(family)
    inputs = keras.Input(SHAPE)
    taken_out = flat(keras.Model(inputs, inner(inputs)))
    np.testing.assert_allclose(outputs(taken_out), outputs(inner), atol=5e-6)
    assert not any(layer.lora_enabled for layer in _dense(taken_out))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="exports are TensorFlow's")
@pytest.mark.parametrize("family", FAMILIES)
def test_lora_is_merged_in_what_is_exported(family, tmp_path):
    from keras_vit.exports.float32 import as_float32

    model = _with_lora(family)
    expected = outputs(model)
    exported = as_float32(model)
    np.testing.assert_allclose(outputs(exported), expected, atol=5e-6)
    assert not any(layer.lora_enabled for layer in _dense(exported))
    mixed = as_float32(_with_lora(family, dtype="mixed_bfloat16"))
    np.testing.assert_allclose(outputs(mixed), expected, atol=5e-6)


@pytest.mark.parametrize("family", ["vit", slow("hybrid"), slow("bit"), MIXER])
def test_float16_scales_its_loss(family):
    model = build(family, depth=1, dtype="mixed_float16")
    _compiled(model)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert not isinstance(
        _compiled(build(family, depth=1)).optimizer, keras.optimizers.LossScaleOptimizer
    )
    model.fit(images(), np.arange(4), verbose=0)
    resized = keras_vit.resize_model(model, 64) if family in ("vit", "hybrid") else model
    assert isinstance(_compiled(resized).optimizer, keras.optimizers.LossScaleOptimizer)


@pytest.mark.parametrize("family", ["vit", slow("hybrid"), BIT, slow("mixer")])
def test_float16_inside_another_model_is_not_trained_without_scaling(family):
    base = build(family, depth=1, dtype="mixed_float16", include_top=False, pooling="avg")
    model = keras.Sequential([keras.Input(SHAPE), base, keras.layers.Dense(5)])
    _compiled(model)
    before = [keras.ops.convert_to_numpy(v) for v in model.weights]
    with pytest.raises(ValueError, match="LossScaleOptimizer"):
        model.fit(images(), np.arange(4), verbose=0)
    for old, variable in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(variable))
    model.predict(images(), verbose=0)
    model.evaluate(images(), np.arange(4), verbose=0)
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), model.loss)
    model.fit(images(), np.arange(4), verbose=0)
    assert all(np.isfinite(keras.ops.convert_to_numpy(v)).all() for v in model.weights)


def test_float16_inside_another_model_is_refused_after_an_evaluation_too():
    base = build("mixer", depth=1, dtype="mixed_float16", include_top=False, pooling="avg")
    model = _compiled(keras.Sequential([keras.Input(SHAPE), base, keras.layers.Dense(5)]))
    model.evaluate(images(), np.arange(4), verbose=0)
    with pytest.raises(ValueError, match="LossScaleOptimizer"):
        model.train_on_batch(images(), np.arange(4))
    with pytest.raises(ValueError, match="LossScaleOptimizer"):
        model.fit(images(), np.arange(4), verbose=0)


@pytest.mark.parametrize("family", ["vit", slow("hybrid"), slow("bit"), MIXER])
def test_float16_that_was_loaded_is_not_trained_without_scaling(family, tmp_path):
    """A file does not keep the policy of the model, by which `compile` scales the loss."""
    build(family, depth=1, dtype="mixed_float16").save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="LossScaleOptimizer"):
        _compiled(model).fit(images(), np.arange(4), verbose=0)
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), model.loss)
    model.fit(images(), np.arange(4), verbose=0)
    assert all(np.isfinite(keras.ops.convert_to_numpy(v)).all() for v in model.weights)
