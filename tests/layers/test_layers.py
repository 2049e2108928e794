"""One contract for every public layer, and each layer's numbers by hand."""

from __future__ import annotations

import inspect
import math
import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from keras import ops

from keras_vit import layers

pytestmark = pytest.mark.any_backend

TOKENS = (2, 7, 12)
LAYERS = [
    (
        layers.PatchEmbed,
        {"patch_size": 3, "width": 5, "patch_sizes": [2, 6], "interpolation": "bicubic"},
        [(2, 6, 12, 3)],
        (2, 8, 5),
    ),
    (layers.PatchEmbed, {"patch_size": 3, "width": 5}, [(2, 7, 11, 3)], (2, 6, 5)),
    (
        layers.PatchEmbed,
        {"patch_size": 3, "width": 5, "border": "pad"},
        [(2, 7, 11, 1)],
        (2, 12, 5),
    ),
    (
        layers.PatchEmbed,
        {"patch_size": 3, "width": 5, "use_bias": False},
        [(2, 6, 9, 3)],
        (2, 6, 5),
    ),
    (
        layers.PixelNormalisation,
        {"mean": [0.4, 0.5], "std": [0.2, 0.3]},
        [(2, 3, 5, 2)],
        (2, 3, 5, 2),
    ),
    (layers.ClassToken, {}, [TOKENS], (2, 8, 12)),
    (layers.ClassToken, {"num_tokens": 3, "position": 1}, [TOKENS], (2, 10, 12)),
    (layers.PositionEmbedding, {"grid_size": (2, 3)}, [TOKENS], TOKENS),
    (layers.PositionEmbedding, {"grid_size": (5, 4)}, [TOKENS, (2, 2, 3, 12)], TOKENS),
    (
        layers.RotaryEmbedding,
        {"num_heads": 3, "num_prefix_tokens": 2, "base": 7.0},
        [(2, 5, 3, 12)],
        (1, 17, 4),
    ),
    (layers.FeatureMap, {}, [TOKENS, (2, 2, 3, 12)], (2, 2, 3, 12)),
    (layers.TokenPooling, {"pooling": "max"}, [TOKENS], (2, 12)),
    (layers.TokenPooling, {"pooling": "token+avg"}, [TOKENS], (2, 24)),
    (layers.TokenPooling, {"pooling": "token+distillation"}, [TOKENS], (2, 24)),
    (
        layers.AttentionPooling,
        {"num_heads": 3, "mlp_dim": 17, "num_prefix_tokens": 2, "gelu": "quick"},
        [TOKENS],
        (2, 12),
    ),
    (layers.MultiHeadSelfAttention, {"num_heads": 3, "dropout_rate": 0.1}, [TOKENS], TOKENS),
    (
        layers.MultiHeadSelfAttention,
        {"num_heads": 3, "key_bias": False},
        [TOKENS, (1, 7, 4)],
        TOKENS,
    ),
    (layers.LayerNorm, {"epsilon": 0.01}, [TOKENS], TOKENS),
    (layers.MLPBlock, {"mlp_dim": 17, "gelu": "exact"}, [TOKENS], TOKENS),
    (layers.MLPBlock, {"mlp_dim": 17, "swiglu": True}, [TOKENS], TOKENS),
    (layers.StochasticDepth, {"rate": 0.25, "seed": 7}, [TOKENS], TOKENS),
    (
        layers.TransformerBlock,
        {"num_heads": 4, "mlp_dim": 19, "dropout_rate": 0.1, "stochastic_depth_rate": 0.5},
        [TOKENS],
        TOKENS,
    ),
    (
        layers.TransformerBlock,
        {"num_heads": 3, "mlp_dim": 5, "key_bias": False},
        [TOKENS, (1, 7, 4)],
        TOKENS,
    ),
    (layers.LayerScale, {"initial_value": 0.5}, [TOKENS], TOKENS),
    (
        layers.MixerBlock,
        {"tokens_mlp_dim": 5, "channels_mlp_dim": 19, "stochastic_depth_rate": 0.5},
        [TOKENS],
        TOKENS,
    ),
    (
        layers.SimpleFeaturePyramid,
        {"width": 5, "data_format": "channels_last"},
        [(2, 6, 3, 8)],
        [(2, 24, 12, 5), (2, 12, 6, 5), (2, 6, 3, 5), (2, 3, 1, 5)],
    ),
    (
        layers.SimpleFeaturePyramid,
        {"width": 5, "data_format": "channels_first"},
        [(2, 8, 6, 3)],
        [(2, 5, 24, 12), (2, 5, 12, 6), (2, 5, 6, 3), (2, 5, 3, 1)],
    ),
]


def _inputs(shapes, seed=0):
    random = np.random.default_rng(seed)
    return [random.normal(size=shape).astype("float32") for shape in shapes]


@pytest.mark.filterwarnings("ignore:The image size .* is not a multiple")
@pytest.mark.parametrize(("kind", "arguments", "shapes", "expected"), LAYERS)
@pytest.mark.parametrize(
    "policy",
    ["float32", "mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.one_backend)],
)
def test_layer_contract(kind, arguments, shapes, expected, policy, tmp_path):
    layer = kind(**arguments, dtype=policy)
    inputs = _inputs(shapes)
    outputs = keras.tree.flatten(layer(*inputs))
    several = isinstance(expected, list)
    assert [tuple(x.shape) for x in outputs] == (expected if several else [expected])
    for x in outputs:
        assert keras.backend.standardize_dtype(x.dtype) == layer.compute_dtype
        assert np.isfinite(ops.convert_to_numpy(ops.cast(x, "float32"))).all()
    found = layer.compute_output_shape(*shapes)
    assert (found if several else tuple(found)) == expected
    assert all(w.dtype == "float32" for w in layer.weights)

    # The configuration is exactly the arguments of the constructor.
    own = set(layer.get_config()) - {"name", "trainable", "dtype"}
    assert own == set(inspect.signature(kind.__init__).parameters) - {"self", "kwargs"}
    again = kind.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()

    # .keras round trip, with the weights.
    keras_inputs = [keras.Input(shape[1:]) for shape in shapes]
    model = keras.Model(keras_inputs, layer(*keras_inputs))
    model.save(tmp_path / "layer.keras")
    reloaded = keras.models.load_model(tmp_path / "layer.keras")
    made, again = (keras.tree.flatten(each(inputs)) for each in (model, reloaded))
    for one, other in zip(made, again, strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(ops.cast(one, "float32")),
            ops.convert_to_numpy(ops.cast(other, "float32")),
        )


def test_every_public_layer_is_under_contract():
    assert {kind.__name__ for kind, *_ in LAYERS} == set(layers.__all__)


def test_patch_embed_is_the_product_of_each_patch_and_the_kernel():
    (image,) = _inputs([(1, 6, 9, 2)])
    layer = layers.PatchEmbed(3, 4)
    tokens = ops.convert_to_numpy(layer(image))
    kernel, bias = (ops.convert_to_numpy(w) for w in layer.weights)
    patch = image[0, 3:6, 6:9]  # the last of 2 x 3 patches
    np.testing.assert_allclose(
        tokens[0, 5], np.einsum("hwc,hwcd->d", patch, kernel) + bias, atol=1e-5
    )


def test_attention_against_numpy():
    (x,) = _inputs([(2, 5, 6)], seed=3)
    layer = layers.MultiHeadSelfAttention(num_heads=3)
    output = ops.convert_to_numpy(layer(x))
    for variable in layer.weights:  # biases are zero at first: give them values
        variable.assign(np.random.default_rng(1).normal(size=variable.shape) * 0.5)
    output = ops.convert_to_numpy(layer(x))
    weights = {w.path.split("/")[-2] + w.name[0]: ops.convert_to_numpy(w) for w in layer.weights}
    heads = []
    for h in range(3):
        cut = slice(2 * h, 2 * h + 2)
        q, k, v = (
            x @ weights[n + "k"][:, cut] + weights[n + "b"][cut] for n in ("query", "key", "value")
        )
        scores = np.exp(q @ k.transpose(0, 2, 1) / math.sqrt(2))
        heads.append(scores / scores.sum(-1, keepdims=True) @ v)
    expected = np.concatenate(heads, -1) @ weights["outk"] + weights["outb"]
    np.testing.assert_allclose(output, expected, atol=1e-5)


def test_pixels_get_the_mean_and_the_deviation_of_the_weights():
    unit = np.array([[[[0.0, 0.4], [1.0, 0.25]]]], "float32")  # of [0, 1]
    layer = layers.PixelNormalisation([0.4, 0.5], [0.2, 0.25])
    found = ops.convert_to_numpy(layer(2 * unit - 1))
    np.testing.assert_allclose(found, [[[[-2, -0.4], [3, -1]]]], atol=1e-6)


@pytest.mark.parametrize("kind", ["tanh", "exact", "quick"])
def test_gelu_against_its_definition(kind):
    from keras_vit.layers.functional import gelu

    x = np.linspace(-4, 4, 23).astype("float32")
    if kind == "exact":
        expected = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x]
    elif kind == "quick":
        expected = [v / (1 + math.exp(-1.702 * v)) for v in x]
    else:
        expected = [
            0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))) for v in x
        ]
    # The first two differ by up to 5e-4, so this tells them apart.
    found = gelu(ops.convert_to_tensor(x), kind)
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=2e-6)


@pytest.mark.parametrize("training", [False, True])
def test_swiglu_against_numpy(training):
    (x,) = _inputs([(2, 5, 6)], seed=3)
    layer = layers.MLPBlock(7, swiglu=True)
    layer.build(x.shape)
    for variable in layer.weights:
        variable.assign(np.random.default_rng(1).normal(size=variable.shape) * 0.5)
    gate, hidden, out = (
        [ops.convert_to_numpy(w) for w in dense.weights]
        for dense in (layer.gate, layer.dense_1, layer.dense_2)
    )
    opened = x @ gate[0] + gate[1]
    expected = opened / (1 + np.exp(-opened)) * (x @ hidden[0] + hidden[1]) @ out[0] + out[1]
    found = ops.convert_to_numpy(layer(x, training=training))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="fusions of TensorFlow")
def test_the_gelu_and_the_residual_are_fused_into_the_products():
    """What the tokens travel as rows for: seen in the log of TensorFlow's CPU kernels."""
    script = """
        import numpy as np, keras, keras_vit
        for policy in ("float32", "mixed_bfloat16"):
            for gelu in ("tanh", "exact"):
                print("model", policy, gelu, flush=True)
                block = keras_vit.layers.TransformerBlock(2, 64, gelu=gelu, dtype=policy)
                tokens = keras.Input((9, 32))
                keras.Model(tokens, block(tokens)).predict(np.ones((4, 9, 32)), verbose=0)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "ONEDNN_VERBOSE": "1"},
    )
    _, *models = result.stdout.split("model ")
    assert len(models) == 4
    for log in models:
        post_op = {"tanh": "gelu_tanh", "exact": "gelu_erf"}[log.split()[1]]
        products = [line for line in log.splitlines() if ",inner_product," in line]
        if not products:
            pytest.skip("this TensorFlow does not use oneDNN")
        assert sum(post_op in line for line in products) == 1
        assert sum("attr-post-ops:sum" in line for line in products) == 2


def test_dropout_is_at_the_five_sites_and_only_while_training():
    block = layers.TransformerBlock(2, 8, dropout_rate=0.5, attention_dropout_rate=0.5)
    block.build((None, 3, 4))
    rates = [
        block.attention.dropout.rate,  # attention weights
        block.dropout.rate,  # attention output
        block.mlp.dropout.rate,  # after the GELU and after the second dense layer
    ]
    assert rates == [0.5, 0.5, 0.5]
    (x,) = _inputs([(4, 3, 4)])
    quiet = [ops.convert_to_numpy(block(x, training=False)) for _ in range(2)]
    np.testing.assert_array_equal(*quiet)
    noisy = [ops.convert_to_numpy(block(x, training=True)) for _ in range(2)]
    assert np.abs(noisy[0] - noisy[1]).max() > 1e-3


def test_stochastic_depth_drops_whole_images_and_keeps_the_mean():
    layer = layers.StochasticDepth(0.25, seed=1)
    x = np.ones((4000, 2, 3), "float32")
    y = ops.convert_to_numpy(layer(x, training=True))
    assert set(np.unique(y.reshape(4000, -1).std(axis=1))) == {0.0}  # all of an image, or none
    np.testing.assert_allclose(np.unique(y), [0, 4 / 3], rtol=1e-6)
    assert abs((y[:, 0, 0] == 0).mean() - 0.25) < 0.04
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x, training=False)), x)


def test_stochastic_depth_of_a_block_drops_each_branch_for_an_image():
    block = layers.TransformerBlock(2, 8, stochastic_depth_rate=0.5)
    (x,) = _inputs([(64, 3, 4)])
    y = ops.convert_to_numpy(block(x, training=True))
    unchanged = (np.abs(y - x).reshape(64, -1).max(axis=1) == 0).mean()
    assert 0.08 < unchanged < 0.5  # both branches dropped: a quarter of the images


def test_softmax_stays_in_float32_under_a_16_bit_policy():
    from keras_vit.layers.functional import record_attention

    layer = layers.MultiHeadSelfAttention(2, dtype="mixed_bfloat16")
    (x,) = _inputs([(1, 50, 8)])
    with record_attention() as recording:
        layer(x)
    weights = recording[0]
    assert keras.backend.standardize_dtype(weights.dtype) == "float32"
    # Rows of bfloat16 numbers would miss 1 by about 1e-3.
    np.testing.assert_allclose(ops.convert_to_numpy(weights).sum(-1), 1, atol=1e-5)


def test_layers_that_were_saved_at_one_grid_load_at_another(tmp_path):
    def model(grid, length):
        tokens = keras.Input((length, 4))
        return keras.Model(tokens, layers.PositionEmbedding(grid, name="positions")(tokens))

    small, large = model((2, 3), 7), model((3, 5), 16)
    small.save_weights(tmp_path / "small.weights.h5")
    large.load_weights(tmp_path / "small.weights.h5")
    before = ops.convert_to_numpy(small.layers[1].embedding)[0]
    after = ops.convert_to_numpy(large.layers[1].embedding)[0]
    np.testing.assert_array_equal(after[0], before[0])  # the class token's
    corners = after[1:].reshape(3, 5, 4)[::2, ::4]  # aligned corners keep their values
    np.testing.assert_allclose(corners, before[1:].reshape(2, 3, 4)[:, ::2], atol=1e-6)


def _open_size():
    """A model of any size, which its `build` does not know."""
    image = keras.Input((None, None, 3))
    return keras.Model(image, layers.PatchEmbed(4, 8)(image))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.PatchEmbed(4, 8, border="crop"), "border"),
        (lambda: layers.PatchEmbed(4, 8)(np.zeros((1, 3, 8, 3))), "at least one patch"),
        (lambda: _open_size()(np.zeros((1, 8, 3, 3))), "at least one patch"),
        (lambda: layers.PatchEmbed(4, 8, border="error")(np.zeros((1, 9, 8, 3))), r"\(8, 8\)"),
        (lambda: layers.MultiHeadSelfAttention(5)(np.zeros((1, 3, 8))), "multiple of `num_heads`"),
        (lambda: layers.MLPBlock(5, gelu="fast"), "gelu"),
        (lambda: layers.PixelNormalisation([0.5], [0.5])(np.zeros((1, 2, 2, 3))), "1 channels.*3"),
        (lambda: layers.StochasticDepth(1.0), r"\[0, 1\)"),
        (lambda: layers.TokenPooling("mean"), "pooling"),
        (lambda: layers.PositionEmbedding(0), "grid_size"),
        (lambda: layers.PositionEmbedding((2, 2))(np.zeros((1, 7, 8))), "Expected 1 \\+ 2 \\* 2"),
    ],
)
def test_bad_arguments_say_what_was_expected(make, message):
    with pytest.raises(ValueError, match=message):
        make()
