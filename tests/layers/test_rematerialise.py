"""Computing the inside of blocks again in the backward pass: the same numbers, and less kept."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest

import keras_vit
from keras_vit.utils.backend import ops

pytestmark = pytest.mark.any_backend

BACKEND = keras.backend.backend()
MODELS = {
    "vit": (keras_vit.ViT, (16, 8, 6, 2, 2, 7)),
    "swiglu": (functools.partial(keras_vit.ViT, swiglu=True), (16, 8, 6, 2, 2, 7)),
    "rotary": (
        functools.partial(keras_vit.ViT, position_embedding="rotary", key_bias=False),
        (16, 8, 8, 2, 2, 7),
    ),
    "mixer": (keras_vit.Mixer, (16, 8, 6, 2, 5, 7)),
    "one block": (keras_vit.ViT, (16, 8, 6, 1, 2, 7)),
}
RATES = {"dropout_rate": 0.3, "attention_dropout_rate": 0.3}
LABELS = np.arange(8) % 3


def _build(kind="vit", **options):
    """The same weights, far from zero, and seeds in every call."""
    keras.utils.set_random_seed(0)
    construct, sizes = MODELS[kind]
    if kind != "mixer":
        options = {**RATES, **options}
    model = construct(*sizes, classes=3, stochastic_depth_rate=0.5, **options)
    random = np.random.default_rng(1)
    for number, v in enumerate(model.variables):
        if v.name == "kernel":
            v.assign(random.normal(0, 0.3, v.shape))
        elif v.name == "seed_generator_state":
            v.assign([number, 3])
    return model


def _images(count=8):
    return np.random.default_rng(0).normal(size=(count, 16, 16, 3)).astype("float32")


def _compiled(model, jit_compile=BACKEND == "jax", **options):
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
        **options,
    )
    return model


def _trained(model, **options):
    """All variables, seeds among them, after two steps."""
    _compiled(model, **options).fit(_images(), LABELS, batch_size=4, verbose=0, shuffle=False)
    return _values(model)


def _values(model):
    return [(v.name, ops.convert_to_numpy(v)) for v in model.variables]


def _check_same(ours, theirs, atol):
    for (name, value), (same, expected) in zip(ours, theirs, strict=True):
        assert name == same
        np.testing.assert_allclose(value, expected, atol=atol, err_msg=name)


@pytest.mark.parametrize("kind", ["vit", "swiglu", "mixer"])
def test_training_is_the_same_to_the_masks_that_are_drawn(kind, **options):
    kept = _trained(_build(kind), **options)
    again = _trained(_build(kind, rematerialise=True), **options)
    _check_same(again, kept, atol=3e-6)
    moved = [value[1] for name, value in again if name == "seed_generator_state"]
    # PyTorch draws from a generator of its own, and checkpoints that.
    assert moved and (BACKEND == "torch" or min(moved) > 3)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX has it always, torch no compiler")
def test_training_is_the_same_with_xla():
    test_training_is_the_same_to_the_masks_that_are_drawn("one block", jit_compile=True)


def test_training_is_the_same_in_mixed_precision():
    dtype = "mixed_bfloat16"
    kept = _trained(_build("one block", dtype=dtype))
    again = _trained(_build("one block", dtype=dtype, rematerialise=True))
    _check_same(again, kept, atol=2e-2)  # a step moves the weights by .1 to 1


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's own steps")
def test_training_is_the_same_op_by_op():
    kept = _trained(_build(), run_eagerly=True)
    _check_same(_trained(_build(rematerialise=True), run_eagerly=True), kept, atol=3e-6)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's strategies")
def test_training_is_the_same_on_a_strategy():
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensor_slices((_images(), LABELS)).batch(4, drop_remainder=True)
    results = []
    for rematerialise in (False, True):
        strategy = keras_vit.distribution.strategy("cpu", ["CPU:0"])
        with strategy.scope():
            model = _compiled(_build("one block", rematerialise=rematerialise))
        step = keras_vit.distribution.TrainStep(model, strategy, accumulate=2, jit_compile=False)
        for batch in step.distribute(batches):
            step(batch)
        results.append(_values(model))
    _check_same(*results, atol=3e-6)


@pytest.mark.skipif(BACKEND == "torch", reason="has no graph to look at")
@pytest.mark.parametrize("kind", ["vit", "mixer"])
def test_what_is_kept(kind):
    """The forward pass of each block stands twice in a training step, and only there."""
    for rematerialise in (False, True):
        model = _build(kind, rematerialise=rematerialise)
        expected = 2 if rematerialise else 0
        assert _blocks_again(model, training=True) == expected
        assert _blocks_again(model, training=False) == 0


def _blocks_again(model, training):
    if BACKEND == "jax":
        import jax

        groups = (model.trainable_variables, model.non_trainable_variables)
        state = [[v.value for v in group] for group in groups]
        step = jax.make_jaxpr(lambda *s: model.stateless_call(*s, _images(1), training=training))
        return str(step(*state)).count("prevent_cse=True")
    import tensorflow as tf

    @tf.function(autograph=False)
    def gradients(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(x, training=training))
        return tape.gradient(loss, model.trainable_variables)

    graph = gradients.get_concrete_function(tf.zeros((1, 16, 16, 3))).graph
    # Two MLPs in a block of a Mixer, one in that of a ViT.
    mlps = 2 if model.name == "mixer" else 1
    hidden = [op for op in graph.get_operations() if op.type == "BiasAdd" and "dense_1" in op.name]
    return len(hidden) // mlps - 2


def _blocks(model):
    kinds = (keras_vit.layers.TransformerBlock, keras_vit.layers.MixerBlock)
    return [layer for layer in model.layers if isinstance(layer, kinds)]


def test_it_is_saved_and_changes_nothing_else_in_a_file(tmp_path):
    model = _build(rematerialise=True)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "one.weights.h5")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [block.rematerialise for block in _blocks(loaded)] == [True] * 2
    plain = _build()
    assert [v.path for v in plain.weights] == [v.path for v in model.weights]
    plain.load_weights(tmp_path / "one.weights.h5")
    np.testing.assert_array_equal(plain.predict(_images()), loaded.predict(_images()))


@pytest.mark.skipif(BACKEND == "torch", reason="has no graph to look at")
def test_it_can_be_set_on_a_built_model():
    model = _build()
    for block in _blocks(model):
        block.rematerialise = True
    assert _blocks_again(model, training=True) == 2


@pytest.mark.one_backend
def test_the_named_constructors_have_it():
    for construct in (keras_vit.ViT_Ti16, keras_vit.Mixer_B32):
        small = {"weights": None, "include_top": False, "input_shape": (32, 32, 3)}
        model = construct(**small, rematerialise=True)
        assert all(block.rematerialise for block in _blocks(model))
