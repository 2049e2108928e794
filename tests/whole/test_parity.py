"""Against the original authors' code on random parameters (tests/golden)."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import keras_vit
from keras_vit.checkpoints.model_arrays import Arrays

pytestmark = pytest.mark.any_backend

VITS = ["vit_token", "vit_gap", "vit_token_rep24", "vit_token_linen_names"]
HYBRIDS = ["hybrid_token", "hybrid_stem_only"]
ATOL = {**dict.fromkeys(VITS, 1e-5), **dict.fromkeys(HYBRIDS, 3e-5)}


def _numpy(x):
    return ops.convert_to_numpy(x)


def _by_released_name(model):
    arrays = Arrays(model, "google")
    return {arrays.format.array_of(name)[0]: v for name, v in arrays.variables.items()}


def _outputs(model, images, **names):
    """Outputs of the named layers, in one run."""
    taps = keras.Model(model.input, {k: model.get_layer(v).output for k, v in names.items()})
    return {k: _numpy(v) for k, v in taps(images).items()}


@pytest.mark.parametrize("name", VITS + HYBRIDS)
def test_every_intermediate_and_the_logits(golden, name):
    fixture = golden(name)
    model = keras_vit.from_checkpoint(fixture.checkpoint)
    arrays, images = fixture.arrays, fixture.arrays["images"]
    last = "pre_logits" if "rep24" in name else "pooling"
    got = _outputs(
        model,
        images,
        embedded="position_embedding",
        encoded="encoder_norm",
        features=last,
        logits="head",
        block_0="block_0",
        block_2="block_2",
    )
    grid = _numpy(keras.Model(model.input, model.get_layer("patch_embed").output[1])(images))
    atol = ATOL[name]
    np.testing.assert_allclose(got["logits"], arrays["logits"], atol=atol)
    np.testing.assert_allclose(got["logits"], arrays["logits_f64"], atol=atol)
    np.testing.assert_allclose(got["features"], arrays["features"], atol=atol)
    # Tokens are larger than logits: the fixtures' own noise is 1.1e-5 of the largest.
    for ours, theirs in [
        (got["embedded"], "embedded"),
        (got["encoded"], "encoded"),
        (got["block_0"], "block_0/out"),
        (got["block_2"], "block_2/out"),
        (grid, "patch_embedding"),
    ]:
        expected = arrays[theirs]
        np.testing.assert_allclose(ours, expected, atol=2e-5 * max(np.abs(expected).max(), 1))
    maps = keras_vit.attention_maps(model, images)
    for i in range(maps.shape[1]):
        np.testing.assert_allclose(maps[:, i], arrays[f"block_{i}/attn_weights"], atol=1e-5)


@pytest.mark.parametrize("name", ["hybrid_token", "hybrid_stem_only"])
def test_the_stem_of_a_hybrid(golden, name):
    fixture = golden(name)
    model = keras_vit.from_checkpoint(fixture.checkpoint)
    names = {
        "conv_root": "stem_root_conv",
        "gn_root": "stem_root_norm",
        "root_pooled": "stem_root_pool",
    }
    if name == "hybrid_token":
        names |= {"block1": "stem_block1_unit2_relu3", "block2": "stem_block2_unit1_relu3"}
    for key, value in _outputs(model, fixture.arrays["images"], **names).items():
        expected = fixture.arrays[key]
        np.testing.assert_allclose(value, expected, atol=3e-5 * max(np.abs(expected).max(), 1))


def test_bit_every_intermediate_and_the_logits(golden):
    fixture = golden("bit")
    model = keras_vit.from_checkpoint(fixture.checkpoint, image_size=48)
    arrays = fixture.arrays
    names = {"root": "root_pool", "features": "pooling", "logits": "head"}
    names |= {
        f"block{b}/unit{u:02d}": f"block{b}_unit{u:02d}_add"
        for b, u in [(1, 1), (1, 2), (2, 1), (3, 1), (4, 1)]
    }
    got = _outputs(model, arrays["images"], **names)
    np.testing.assert_allclose(got["logits"], arrays["logits_f64"], atol=3e-5)
    for name, value in got.items():
        expected = arrays[name]
        np.testing.assert_allclose(value, expected, atol=3e-5 * max(np.abs(expected).max(), 1))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="uses a gradient tape")
def test_bit_gradients(golden):
    import tensorflow as tf

    fixture = golden("bit")
    # In float64, as in float32 it depends on the processor on which side of a ReLU a number next to
    # zero is: gradients of a kernel then differ by up to 4 % of the largest.
    model = keras_vit.from_checkpoint(fixture.checkpoint, image_size=48, dtype="float64")
    variables = _by_released_name(model)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with tf.GradientTape() as tape:
        y = model(fixture.arrays["images"].astype("float64"), training=True)
        loss = model.compute_loss(y=fixture.arrays["labels"], y_pred=y)
    gradients = tape.gradient(loss, {name: v.value for name, v in variables.items()})
    np.testing.assert_allclose(loss, fixture.arrays["loss"], rtol=1e-5)
    stored = {k.removeprefix("grad/"): v for k, v in fixture.arrays.items() if k[:5] == "grad/"}
    assert len(stored) == 10
    for name, expected in stored.items():
        got = gradients[name].numpy().reshape(expected.shape)
        # The gradient of a kernel with tiny deviation reaches 2e7: relative to its channel.
        axes = (0, 1, 2) if expected.ndim == 4 else None
        scale = np.abs(expected).max(axis=axes, keepdims=True)
        np.testing.assert_allclose(got / scale, expected / scale, atol=2e-5, err_msg=name)


def test_wrong_gelu_would_show(golden):
    fixture = golden("vit_token")
    model = keras_vit.from_checkpoint(fixture.checkpoint, gelu="exact")
    difference = np.abs(_numpy(model(fixture.arrays["images"])) - fixture.arrays["logits"]).max()
    expected = fixture.facts["sensitivity_max_abs_dlogits"]["gelu_exact"]
    assert difference == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("token_48px", {"image_size": 48, "classes": 5}),
        ("rep24_drop_head", {"image_size": 24, "classes": 5}),
        ("rep24_keep", {"image_size": 40, "classes": 6, "representation_size": 24}),
        ("hybrid_48px", {"image_size": 48, "classes": 5}),
    ],
)
def test_fine_tuning_start_at_another_size(golden, name, options):
    fixture = golden(f"load_pretrained_{name}")
    source = golden(fixture.facts["source_checkpoint"].removesuffix(".npz"))
    model = keras_vit.from_checkpoint(source.checkpoint, **options)
    head = model.get_layer("head")
    assert not any(_numpy(w).any() for w in head.weights)  # a new head is zero
    head.set_weights([fixture.arrays["head_kernel"], fixture.arrays["head_bias"]])
    logits = _numpy(model(fixture.arrays["images"]))
    np.testing.assert_allclose(
        logits, fixture.arrays["logits"], atol=3e-5 if "hybrid" in name else 1e-5
    )
    if "pos_embedding" in fixture.arrays:
        embedding = _numpy(model.get_layer("position_embedding").embedding)
        np.testing.assert_allclose(embedding, fixture.arrays["pos_embedding"], atol=1e-6)
    # The same size built open, with the positions resampled inside the model.
    open_model = keras_vit.from_checkpoint(
        source.checkpoint, **{**options, "image_size": None}, input_shape=(None, None, 3)
    )
    open_model.get_layer("head").set_weights(head.get_weights())
    np.testing.assert_allclose(_numpy(open_model(fixture.arrays["images"])), logits, atol=5e-6)


def _compiled_for_training(golden, schedule=None):
    fixture = golden("train_token")
    model = keras_vit.from_checkpoint(golden("vit_token").checkpoint)
    model.compile(
        keras.optimizers.SGD(schedule or 0.0, momentum=0.9, global_clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    return fixture, model


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="uses a gradient tape")
def test_gradients(golden):
    import tensorflow as tf

    fixture, model = _compiled_for_training(golden)
    images, labels = fixture.arrays["images"][0], fixture.arrays["labels"][0]
    variables = _by_released_name(model)
    with tf.GradientTape() as tape:
        loss = model.compute_loss(y=labels, y_pred=model(images, training=True))
    gradients = tape.gradient(loss, {name: v.value for name, v in variables.items()})
    np.testing.assert_allclose(loss, fixture.arrays["f32/loss"][0], rtol=2e-6)
    assert {f"grad/{name}" for name in gradients} == {
        name for name in fixture.arrays if name.startswith("grad/")
    }
    for name, gradient in gradients.items():
        expected = fixture.arrays[f"grad/{name}"]
        got = gradient.numpy().reshape(expected.shape)
        if name.endswith("key/bias"):  # zero by theory; both sides hold rounding noise
            np.testing.assert_allclose(got, 0, atol=1e-6)
        else:
            np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("trace", ["f32", "f32_lr_from_step1"])
def test_training_trace_as_far_as_keras_sgd_can_express_it(golden, trace):
    """Five steps of the original against `model.train_on_batch`.

    Keras's SGD multiplies a gradient by the learning rate before it enters the momentum, the
    original does when it leaves it. So the first update is the same, and with it the first two
    losses; from then on the two differ as long as the rate changes.
    """
    fixture, model = _compiled_for_training(golden)
    losses = []
    for images, labels, rate in zip(
        fixture.arrays["images"],
        fixture.arrays["labels"],
        fixture.arrays[f"{trace}/lr"],
        strict=True,
    ):
        model.optimizer.learning_rate = rate
        losses.append(float(model.train_on_batch(images, labels)))
    expected = fixture.arrays[f"{trace}/loss"]
    np.testing.assert_allclose(losses[:2], expected[:2], rtol=2e-5)
    assert np.abs(np.array(losses[2:]) - expected[2:]).min() > 1e-3


def test_training_trace_with_the_original_rule(golden):
    """The same five steps with the rate kept outside the momentum, by hand: all of it agrees."""
    fixture, model = _compiled_for_training(golden)
    optimizer = keras.optimizers.SGD(1.0, momentum=0.0, global_clipnorm=1.0)
    model.compile(optimizer, model.loss, jit_compile=False)
    arrays = _by_released_name(model)
    velocity = dict.fromkeys(arrays, 0.0)
    for step, rate in enumerate(fixture.arrays["f32/lr"]):
        before = {name: _numpy(v).copy() for name, v in arrays.items()}
        loss = model.train_on_batch(fixture.arrays["images"][step], fixture.arrays["labels"][step])
        np.testing.assert_allclose(loss, fixture.arrays["f32/loss"][step], rtol=2e-5)
        for name, variable in arrays.items():
            clipped = before[name] - _numpy(variable)  # a step of rate 1 is the clipped gradient
            velocity[name] = clipped + 0.9 * velocity[name]
            variable.assign(before[name] - rate * velocity[name])
    for name, variable in arrays.items():
        expected = fixture.arrays[f"f32/params_after/{name}"]
        np.testing.assert_allclose(_numpy(variable).reshape(expected.shape), expected, atol=2e-5)
