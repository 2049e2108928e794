"""The gradients that are written out are those that TensorFlow derives; JAX has its own."""

import keras
import numpy as np
import pytest

from keras_vit.layers import functional

pytestmark = pytest.mark.any_backend

TENSORFLOW = keras.backend.backend() == "tensorflow"


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def masked_attention(query, key, value):
    mask = (random(2, 3, 60, 60, seed=6) > 0).astype("float32") * 2
    return functional.attention(query, key, value, keras.ops.cast(mask, query.dtype))


HEADS = [
    random(2, 3, 60, 16, seed=1),
    random(2, 3, 60, 16, seed=2) / 2,
    random(2, 3, 60, 16, seed=3) + 0.5,
]
CASES = {
    "gelu, tanh": (lambda x: functional.gelu(x, "tanh", training=True), [3 * random(7, 9)]),
    "gelu, exact": (lambda x: functional.gelu(x, "exact", training=True), [3 * random(7, 9)]),
    "swiglu": (
        lambda *inputs: functional.swiglu(*inputs, training=True),
        [3 * random(30, 40), random(30, 40, seed=1) + 0.5],
    ),
    "gelu, quick": (lambda x: functional.gelu(x, "quick", training=True), [3 * random(7, 9)]),
    "layer norm, rows": (
        lambda *inputs: functional.layer_norm(*inputs, 1e-6),
        [2 * random(6, 8) + 1, random(8, seed=1), random(8, seed=2)],
    ),
    "layer norm, tokens": (
        lambda *inputs: functional.layer_norm(*inputs, 0.1),
        [random(2, 3, 8), random(8, seed=1), random(8, seed=2)],
    ),
    "attention": (functional.attention, HEADS),
    "attention, dropout": (masked_attention, HEADS),
}
each_case = pytest.mark.parametrize("name", CASES)


def plain(monkeypatch):
    monkeypatch.setattr(functional, "_with_gradient", lambda function, *x: function(*x)[0])


def derived(function, inputs, dtype="float32", traced=False):
    """The result, the gradients, and the gradients of the gradients' squares."""
    import tensorflow as tf

    def derive(*inputs):
        with tf.GradientTape() as outer:
            outer.watch(inputs)
            with tf.GradientTape() as inner:
                inner.watch(inputs)
                result = function(*inputs)
                loss = tf.reduce_sum(tf.cast(result, "float32") * random(*result.shape, seed=4))
            first = inner.gradient(loss, inputs)
            squares = tf.add_n([tf.reduce_sum(tf.cast(g, "float32") ** 2) for g in first])
        second = outer.gradient(squares, inputs, unconnected_gradients="zero")
        return [tf.cast(x, "float32") for x in (result, *first, *second)]

    derive = tf.function(derive) if traced else derive
    return [x.numpy() for x in derive(*[tf.cast(x, dtype) for x in inputs])]


def difference(found, expected):
    return max(
        np.abs(x - y).max() / (np.abs(y).max() + 1e-3) for x, y in zip(found, expected, strict=True)
    )


@pytest.mark.skipif(not TENSORFLOW, reason="JAX derives them itself")
@pytest.mark.parametrize("traced", [False, True])
@each_case
def test_as_tensorflow_derives_them(monkeypatch, name, traced):
    function, inputs = CASES[name]
    found = derived(function, inputs, traced=traced)
    plain(monkeypatch)
    assert difference(found, derived(function, inputs)) < 2e-5


@pytest.mark.skipif(not TENSORFLOW, reason="JAX derives them itself")
@each_case
def test_bfloat16_is_as_near_to_float32_as_tensorflow_s_own(monkeypatch, name):
    function, inputs = CASES[name]
    found = derived(function, inputs, "bfloat16")[: 1 + len(inputs)]
    plain(monkeypatch)
    expected = derived(function, inputs)[: 1 + len(inputs)]
    own = derived(function, inputs, "bfloat16")[: 1 + len(inputs)]
    for ours, theirs, exact in zip(found, own, expected, strict=True):
        error, allowed = (np.sqrt(np.mean((x - exact) ** 2)) for x in (ours, theirs))
        assert error < 1.6 * allowed + 1e-6


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="of JAX")
@each_case
def test_forward_mode(name):
    import jax

    function, inputs = CASES[name]
    step = 1e-3
    tangents = [random(*x.shape, seed=5) for x in inputs]
    _, found = jax.jvp(function, inputs, tangents)
    ahead, behind = (
        function(*[x + sign * step * t for x, t in zip(inputs, tangents, strict=True)])
        for sign in (1, -1)
    )
    np.testing.assert_allclose(found, (ahead - behind) / (2 * step), atol=2e-2)


def test_layer_norm_that_is_another():
    from keras_vit.layers import LayerNorm

    with pytest.raises(ValueError, match=r"over the last axis.*axis=1"):
        LayerNorm(axis=1)
