"""Features of any block: those that the layers give one after the other, in every family."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from support.families import FAMILIES, SHAPE, build, images

import keras_vit

pytestmark = [
    pytest.mark.any_backend,
    pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning"),
]
BACKEND = keras.backend.backend()


def _numpy(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor), "float32")


def _run(model, pixels=None):
    """Outputs in the order of the model, in NumPy."""
    made = model(images() if pixels is None else pixels, training=False)
    return [_numpy(x) for x in keras.tree.flatten(made)]


def _by_hand(model, family):
    """(map, class token) of each block, with the norm and without: the layers one by one."""
    x = keras.ops.convert_to_tensor(images())
    if family == "bit":
        names = ["block1_unit01_add", "block2_unit01_add", "norm_relu"]
        ends = [model.get_layer(name).output for name in names]
        first, last, normed = ((_numpy(y), None) for y in keras.Model(model.input, ends)(x))
        return [first, normed], [first, last]
    layers = {layer.name: layer for layer in model.layers}
    stem = [layer for name, layer in layers.items() if name.startswith("stem_")]
    if stem:  # of a hybrid
        x = keras.Model(model.input, stem[-1].output)(x)
    tokens, grid = layers["stem" if family == "mixer" else "patch_embed"](x)
    for name in ("class_token", "position_embedding", "registers"):
        if name in layers:
            more = (grid,) if name == "position_embedding" else ()
            tokens = layers[name](tokens, *more)
    prefix = tokens.shape[1] - grid.shape[1] * grid.shape[2]

    def split(tokens):
        made = _numpy(tokens)
        maps = made[:, prefix:].reshape(len(made), grid.shape[1], grid.shape[2], -1)
        return maps, made[:, 0] if prefix else None

    normed, plain = [], []
    norm = layers["norm" if family == "mixer" else "encoder_norm"]
    for i in range(2):
        tokens = layers[f"mixer_block_{i}" if family == "mixer" else f"block_{i}"](tokens)
        plain.append(split(tokens))
        normed.append(split(norm(tokens)))
    assert np.abs(normed[0][0] - normed[1][0]).max() > 1e-2
    return normed, plain


@pytest.mark.parametrize("family", FAMILIES)
def test_they_are_what_the_layers_give_one_after_the_other(family):
    model = build(family)
    for norm, expected in zip((True, False), _by_hand(model, family), strict=True):
        with_tokens = expected[0][1] is not None
        features = keras_vit.feature_model(model, [1, -2], norm=norm, class_token=with_tokens)
        wanted = [expected[i][k] for k in range(1 + with_tokens) for i in (1, 0)]
        made = _run(features)
        assert len(made) == len(wanted) == len(features.outputs)
        for ours, theirs in zip(made, wanted, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_of_the_last_block_they_are_the_map_of_a_model_without_a_head():
    for family in FAMILIES:
        model = build(family, include_top=False)
        made = keras_vit.feature_model(model, [-1])(images())  # no list of one
        np.testing.assert_allclose(_numpy(made), _run(model)[0], atol=1e-6)


def test_tokens_in_place_of_maps():
    model = build("vit")
    (tokens,) = _run(keras_vit.feature_model(model, [0], as_maps=False))
    maps, token = _run(keras_vit.feature_model(model, [0], class_token=True))
    np.testing.assert_allclose(tokens[:, 0], token, atol=1e-6)
    np.testing.assert_allclose(tokens[:, 2:].reshape(maps.shape), maps, atol=1e-6)  # one register


def test_a_model_that_pools_before_it_normalises_has_no_norm_for_maps():
    model = build("vit", classifier="gap", norm_after_pooling=True)
    features, raw = (keras_vit.feature_model(model, [0, 1], norm=norm) for norm in (True, False))
    for ours, theirs in zip(_run(features), _run(raw), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_norm_of_the_user_is_not_the_norm_of_the_model():
    model = build("vit", include_top=False, pooling="token")
    more = keras.layers.LayerNormalization(name="norm", gamma_initializer="zeros")
    around = keras.Model(model.input, more(model.output))
    for ours, theirs in zip(
        _run(keras_vit.feature_model(around, "all")),
        _run(keras_vit.feature_model(model, "all")),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def _around(model):
    image = keras.Input(SHAPE, name="pixels")
    inner = keras.Sequential([keras.Input(SHAPE), keras.layers.Rescaling(0.5), model])
    return keras.Model(image, keras.layers.Dense(2, name="head")(inner(image * 2.0)))


@pytest.mark.parametrize("family", FAMILIES)
def test_of_a_model_inside_others_and_of_any_file(family, tmp_path):
    """The layers are shared, and the result is saved and loaded as any model."""
    model = build(family)
    features = keras_vit.feature_model(_around(model), "all")
    expected = _run(keras_vit.feature_model(model, "all"))
    for ours, theirs in zip(_run(features), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    owned = {id(v) for v in model.variables}
    assert all(id(v) in owned for v in features.variables)
    keras_vit.freeze(features, "all")
    assert features.trainable_variables == []
    features.save(tmp_path / "features.keras")
    loaded = keras.models.load_model(tmp_path / "features.keras")
    for ours, theirs in zip(_run(loaded), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert loaded.trainable_variables == []
    (again,) = _run(keras_vit.feature_model(loaded, [0]))  # of features, features
    np.testing.assert_allclose(again, expected[0], atol=1e-5)


def test_with_preprocessing_any_size_and_another_precision():
    model = build("vit", include_preprocessing=True, input_shape=(None, None, 3))
    features = keras_vit.feature_model(model, [0])
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 24, 40, 3)).astype("float32")
    (maps,) = _run(features, pixels)
    assert maps.shape == (2, 3, 5, 48)
    half = build("vit", dtype="mixed_bfloat16")
    half.set_weights(model.get_weights())
    made = keras_vit.feature_model(half, [0])(images())
    assert keras.backend.standardize_dtype(made.dtype) == "bfloat16"


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has no integer products there")
def test_of_a_quantized_model():
    model = build("vit", depth=1)
    before = _run(keras_vit.feature_model(model, "all"))
    made_first = keras_vit.feature_model(model, "all")
    model.quantize("int8")
    after = _run(keras_vit.feature_model(model, "all"))
    for full, quantized in zip(before, after, strict=True):
        assert 0 < np.abs(full - quantized).max() < 0.3 * np.ptp(full)
    for ours, theirs in zip(_run(made_first), after, strict=True):  # the layers are shared
        np.testing.assert_array_equal(ours, theirs)


def test_of_a_model_with_lora():
    model = build("vit")
    for name in ("query", "value"):
        layer = getattr(model.get_layer("block_0").attention, name)
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(np.random.default_rng(0).normal(size=layer.lora_kernel_b.shape))
    features = keras_vit.feature_model(_around(model), [0])
    (expected,) = _run(keras_vit.feature_model(build("vit"), [0]))
    (made,) = _run(features)
    assert np.abs(made - expected).max() > 0.1
    (inner,) = _run(keras_vit.feature_model(model, [0]))
    np.testing.assert_allclose(made, inner, atol=1e-5)
    assert any("lora" in v.path for v in features.trainable_variables)


def test_maps_have_the_data_format_of_the_configuration():
    keras.config.set_image_data_format("channels_first")
    try:
        model = build("vit", input_shape=(3, *SHAPE[:2]))
        features = keras_vit.feature_model(model, [0, 1], class_token=True)
        shapes = [x.shape for x in _run(features, images().transpose(0, 3, 1, 2))]
    finally:
        keras.config.set_image_data_format("channels_last")
    assert shapes == [(4, 48, 4, 4), (4, 48, 4, 4), (4, 48), (4, 48)]


@pytest.mark.parametrize(
    ("family", "blocks", "options", "message"),
    [
        ("vit", [2], {}, r"indexes from -2 to 1, as the model has 2 blocks.*\[2\]"),
        ("vit", [0, -2], {}, "different"),
        ("vit", [], {}, "list of different indexes"),
        ("vit", 1, {}, "blocks=1"),
        ("vit", [0.5], {}, r"blocks=\[0\.5\]"),
        ("vit", "last", {}, "'all'.*'last'"),
        ("vit", [0], {"layer": "block_0"}, "not both"),
        ("vit", [0], {"as_maps": False, "class_token": True}, "first of the tokens"),
        ("bit", [0], {"as_maps": False}, "BiT has no tokens"),
        ("mixer", [0], {"class_token": True}, "no class token"),
    ],
)
def test_what_it_refuses(family, blocks, options, message):
    with pytest.raises(ValueError, match=message):
        keras_vit.feature_model(build(family), blocks, **options)


def test_a_model_without_ours():
    other = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="with 0 of them"):
        keras_vit.feature_model(other, [0])
