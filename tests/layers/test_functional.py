"""The gradients that are written out are those that TensorFlow derives; JAX has its own."""

import keras
import numpy as np
import pytest

from keras_vit.layers import functional
from keras_vit.layers.base.recomputed import product
from keras_vit.utils import fused

pytestmark = pytest.mark.any_backend

TENSORFLOW = keras.backend.backend() == "tensorflow"


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def masked_attention(query, key, value):
    mask = (random(2, 3, 60, 60, seed=6) > 0).astype("float32") * 2
    mask = keras.ops.cast(mask, query.dtype)
    return functional.attention(query, key, value, mask, training=True)


def two_products(x, first, second):
    return product(x, first, training=True) * product(x, second, training=True)


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
        lambda *inputs: functional.layer_norm(*inputs, 1e-6, training=True),
        [2 * random(6, 8) + 1, random(8, seed=1), random(8, seed=2)],
    ),
    "layer norm, tokens": (
        lambda *inputs: functional.layer_norm(*inputs, 0.1, training=True),
        [random(2, 3, 8), random(8, seed=1), random(8, seed=2)],
    ),
    "gelu and product": (
        lambda x, kernel: product(functional.gelu(x, "tanh", training=True), kernel, training=True),
        [3 * random(7, 9), random(9, 4, seed=1)],
    ),
    "layer norm and two products": (
        lambda x, gamma, beta, *kernels: two_products(
            functional.layer_norm(x, gamma, beta, 1e-6, training=True), *kernels
        ),
        [2 * random(6, 8) + 1, random(8, seed=1), random(8, seed=2), *random(2, 8, 8, seed=3)],
    ),
    "attention": (lambda *heads: functional.attention(*heads, training=True), HEADS),
    "attention, dropout": (masked_attention, HEADS),
}
each_case = pytest.mark.parametrize("name", CASES)


def plain(monkeypatch):
    monkeypatch.setattr(functional, "recomputed", lambda function, _, *inputs: function(*inputs))


def derived(function, inputs, dtype="float32", traced=False, wide="float32"):
    """The result, the gradients, and the gradients of the gradients' squares."""
    import tensorflow as tf

    def derive(*inputs):
        with tf.GradientTape() as outer:
            outer.watch(inputs)
            with tf.GradientTape() as inner:
                inner.watch(inputs)
                result = function(*inputs)
                loss = tf.reduce_sum(tf.cast(result, wide) * random(*result.shape, seed=4))
            first = inner.gradient(loss, inputs)
            squares = tf.add_n([tf.reduce_sum(tf.cast(g, wide) ** 2) for g in first])
        second = outer.gradient(squares, inputs, unconnected_gradients="zero")
        return [tf.cast(x, wide) for x in (result, *first, *second)]

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
def test_in_float64(monkeypatch, name):
    function, inputs = CASES[name]
    found = derived(function, inputs, "float64", wide="float64")
    plain(monkeypatch)
    assert difference(found, derived(function, inputs, "float64", wide="float64")) < 1e-6


@pytest.mark.skipif(not TENSORFLOW, reason="JAX derives them itself")
@each_case
def test_without_xla(monkeypatch, name):
    """As with a GPU, or where TensorFlow is built without it."""
    function, inputs = CASES[name]
    expected = derived(function, inputs, "float64", traced=True, wide="float64")
    monkeypatch.setattr(fused, "_has_xla", lambda: False)
    found = derived(function, inputs, "float64", traced=True, wide="float64")
    assert difference(found, expected) < 1e-12


@pytest.mark.skipif(not TENSORFLOW, reason="of TensorFlow")
@pytest.mark.parametrize("training", [False, True])
def test_kernels_are_made_for_training_steps_only(training):
    """Exported files, which are traced for inference, need no XLA."""
    import tensorflow as tf

    from keras_vit.layers import TransformerBlock

    block = TransformerBlock(2, 24)
    block.build((2, 5, 6))
    step = tf.function(lambda x: block(x, training=training), autograph=False)
    graph = step.get_concrete_function(tf.TensorSpec((2, 5, 6))).graph.as_graph_def()
    compiled = [f for f in graph.library.function if f.attr["_XlaMustCompile"].b]
    assert bool(compiled) == training


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


# In 16 bits a few steps of rounding.
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-6), ("bfloat16", 2**-6), ("float16", 2**-9)]
)
def test_recorded_attention_is_what_runs_else(dtype, tolerance):
    """Other backends have a kernel of their own, unless somebody asks for the weights."""
    heads = [keras.ops.cast(x, dtype) for x in HEADS]
    usual = functional.attention(*heads)
    with functional.record_attention() as weights:
        plain = functional.attention(*heads)
    assert [tuple(w.shape) for w in weights] == [(2, 3, 60, 60)]
    usual, plain = (
        keras.ops.convert_to_numpy(keras.ops.cast(x, "float32")) for x in (usual, plain)
    )
    np.testing.assert_allclose(usual, plain, rtol=tolerance, atol=tolerance)


@pytest.mark.skipif(not TENSORFLOW, reason="JAX decides by itself what it keeps")
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_a_block_keeps_ten_tensors_for_its_backward_pass(dtype):
    """Inputs of norms (2), queries, keys, values, what they mix, and the input of the GELU (4)."""
    import tensorflow as tf

    from keras_vit.layers import TransformerBlock

    size = (2, 40, 24)
    block = TransformerBlock(2, 4 * size[2], dtype=dtype)
    block.build(size)

    def step(tokens, upstream):
        with tf.GradientTape() as tape:
            tape.watch(tokens)
            result = block(tokens, training=True)
        kernels = [v.value for v in block.trainable_variables]
        return result, tape.gradient(result, [tokens, *kernels], upstream)

    spec = tf.TensorSpec(size, block.compute_dtype)
    graph = tf.function(step, autograph=False).get_concrete_function(spec, spec)
    result = graph.structured_outputs[0]
    forward, both = before([result]), before(tf.nest.flatten(graph.structured_outputs))
    kept = {
        origin(tensor).ref(): origin(tensor)
        for operation in both - forward
        if operation.type not in PASSED_ON
        for tensor in operation.inputs
        if origin(tensor).op in forward
    }
    rows, unit = 2 * 40, 2 * 40 * 24
    large = [t for t in kept.values() if rows in t.shape or 40 in t.shape]
    assert sum(t.shape.num_elements() for t in large) / unit == pytest.approx(10, abs=0.2)


PASSED_ON = ("Identity", "IdentityN", "Reshape")


def before(tensors):
    """The operations that tensors come from."""
    found, waiting = set(), [tensor.op for tensor in tensors]
    while waiting:
        operation = waiting.pop()
        if operation not in found:
            found.add(operation)
            waiting += [tensor.op for tensor in operation.inputs]
    return found


def origin(tensor):
    """The tensor whose numbers are handed on."""
    while tensor.op.type in PASSED_ON:
        tensor = tensor.op.inputs[tensor.value_index if tensor.op.type == "IdentityN" else 0]
    return tensor


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="of JAX")
@pytest.mark.parametrize("rematerialise", [False, True])
@pytest.mark.parametrize(("tokens", "training"), [(197, False), (196, True), (197, True)])
def test_the_kernel_on_a_graphics_card(tokens, training, rematerialise, monkeypatch, caplog):
    """cuDNN's where JAX has its gradient, in a program for a card that need not be here."""
    import jax
    from jax._src.cudnn import fused_attention_stablehlo as cudnn

    from keras_vit.layers import TransformerBlock

    # An H100 with cuDNN 9.11.
    monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91100)
    monkeypatch.setattr(cudnn, "check_compute_capability", lambda least: least in ("8.0", "9.0"))
    monkeypatch.setattr(cudnn, "is_cuda_compute_capability_equal", lambda _: False)
    block = TransformerBlock(2, 16, rematerialise=rematerialise, dtype="mixed_bfloat16")
    block.build((3, tokens, 16))

    def step(x):
        return keras.ops.sum(keras.ops.cast(block(x, training=training), "float32"))

    traced = jax.jit(jax.grad(step) if training else step).trace(random(3, tokens, 16))
    program = traced.lower(lowering_platforms=("cuda",)).as_text()
    kernels = ["fmhaSoftmax", "fmhaSoftmaxBackward"][: 1 + training] if tokens == 196 else []
    kernels = kernels if training else ["fmhaSoftmax"]
    assert [f"@__cudnn${name}(" in program for name in kernels] == [True] * len(kernels)
    assert ("cudnn" in program) == bool(kernels)
    assert (f"{tokens}x{tokens}" in program) != bool(kernels)
    assert not caplog.records  # Keras logs a kernel that fails


def test_layer_norm_that_is_another():
    from keras_vit.layers import LayerNorm

    with pytest.raises(ValueError, match=r"over the last axis.*axis=1"):
        LayerNorm(axis=1)
