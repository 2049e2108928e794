"""The original's update rule, and what weight decay leaves alone."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import keras_vit
from keras_vit.checkpoints.model_arrays import Arrays
from keras_vit.models import ResNetStem
from keras_vit.recipes.optimizers import (
    KINDS,
    NOT_KERNELS,
    AdamW,
    MomentumSGD,
    exclude_from_weight_decay,
    kind_of,
)
from keras_vit.recipes.schedules import WarmupCosine

TINY = {"patch_size": 8, "width": 8, "depth": 1, "num_heads": 2, "mlp_dim": 16, "classes": 3}
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _numpy(x):
    return np.array(ops.convert_to_numpy(x), "float32")


def _of(variables):
    return [_numpy(v) for v in variables]


def tiny(**options):
    keras.utils.set_random_seed(0)
    return keras_vit.ViT(16, **(TINY | options))


def _batches(count, size=4):
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (count, size, 16, 16, 3)).astype("float32")
    return images, rng.integers(0, 3, (count, size))


def _train(model, images, labels):
    return [float(model.train_on_batch(x, y)) for x, y in zip(images, labels, strict=True)]


def _steps(optimizer, gradients, start=1.0):
    """One variable through these gradients; its value after each."""
    variable = keras.Variable(np.full((2,), start, "float32"), name="kernel")
    optimizer.build([variable])
    values = []
    for gradient in gradients:
        optimizer.apply([ops.full((2,), gradient, "float32")])
        values.append(float(_numpy(variable)[0]))
    return values


# --- the rule -------------------------------------------------------------------------------


def _trained_on_the_trace(golden, optimizer, rates=None, run_eagerly=False):
    """Losses, and final parameters by their released names."""
    fixture = golden("train_token")
    model = keras_vit.from_checkpoint(golden("vit_token").checkpoint)
    model.compile(optimizer, LOSS, run_eagerly=run_eagerly)
    losses = []
    for step, batch in enumerate(
        zip(fixture.arrays["images"], fixture.arrays["labels"], strict=True)
    ):
        if rates is not None:
            model.optimizer.learning_rate = float(rates[step])
        losses.append(float(model.train_on_batch(*batch)))
    arrays = Arrays(model, "google")
    return losses, {arrays.format.array_of(n)[0]: _numpy(v) for n, v in arrays.variables.items()}


def _check_parameters(fixture, trace, got):
    stored = f"{trace}/params_after/"
    expected = {k.removeprefix(stored): v for k, v in fixture.arrays.items() if stored in k}
    assert set(got) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name].reshape(value.shape), value, atol=2e-6, err_msg=name)


@pytest.mark.parametrize(("trace", "dtype"), [("f32", None), ("bf16_momentum", "bfloat16")])
def test_the_originals_training_trace(golden, trace, dtype):
    """Five steps of `train_on_batch`: clipping, momentum, a rate that changes at each."""
    fixture = golden("train_token")
    facts = fixture.facts["schedule"]
    schedule = WarmupCosine(facts["base"], facts["total_steps"], facts["warmup_steps"])
    rates = [float(schedule(step)) for step in range(5)]
    np.testing.assert_allclose(rates, fixture.arrays[f"{trace}/lr"], rtol=1e-6)
    optimizer = MomentumSGD(schedule, 0.9, global_clipnorm=1.0, momentum_dtype=dtype)
    losses, parameters = _trained_on_the_trace(golden, optimizer)
    np.testing.assert_allclose(losses, fixture.arrays[f"{trace}/loss"], rtol=2e-6)
    if trace == "f32":  # the fixture has no others with a bfloat16 buffer
        _check_parameters(fixture, trace, parameters)


def test_the_trace_that_counts_from_one(golden):
    fixture = golden("train_token")
    optimizer = MomentumSGD(0.1, global_clipnorm=1.0)
    rates = fixture.arrays["f32_lr_from_step1/lr"]
    losses, _ = _trained_on_the_trace(golden, optimizer, rates, run_eagerly=True)
    np.testing.assert_allclose(losses, fixture.arrays["f32_lr_from_step1/loss"], rtol=2e-6)


def test_keras_sgd_drifts_from_the_trace(golden):
    """Why there is `MomentumSGD`: the same settings with Keras's rule."""
    fixture = golden("train_token")
    optimizer = keras.optimizers.SGD(WarmupCosine(0.1, 8, 2), 0.9, global_clipnorm=1.0)
    losses, parameters = _trained_on_the_trace(golden, optimizer, run_eagerly=True)
    differences = np.abs(np.array(losses) - fixture.arrays["f32/loss"])
    assert differences[:2].max() < 1e-5 and differences[2:].min() > 1e-3
    furthest = max(
        np.abs(value.ravel() - fixture.arrays[f"f32/params_after/{name}"].ravel()).max()
        for name, value in parameters.items()
    )
    # The fixture says .0255, perhaps along the gradients of the original's own weights.
    assert 0.01 < furthest < 0.04


def test_rule_by_hand():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1, 2], [1.0, 0.1, 0.01])
    # m = 1, then .5 + 2 = 2.5, 1.25 + 4 = 5.25, 2.625 + 8 = 10.625.
    np.testing.assert_allclose(
        _steps(MomentumSGD(schedule, 0.5), [1.0, 2.0, 4.0, 8.0]),
        np.cumsum([1.0, -1.0, -2.5, -0.1 * 5.25, -0.01 * 10.625])[1:],
        rtol=1e-6,
    )
    # Nesterov steps along .5 m + g: 1.5, 3.25, 6.625.
    np.testing.assert_allclose(
        _steps(MomentumSGD(schedule, 0.5, nesterov=True), [1.0, 2.0, 4.0]),
        np.cumsum([1.0, -1.5, -3.25, -0.1 * 6.625])[1:],
        rtol=1e-6,
    )


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_same_as_keras_while_the_rate_is_constant(momentum, nesterov):
    gradients = [1.0, -2.0, 0.5, 0.25]
    ours = _steps(MomentumSGD(0.1, momentum, nesterov), gradients)
    theirs = _steps(keras.optimizers.SGD(0.1, momentum, nesterov), gradients)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("amsgrad", [False, True])
def test_adamw_is_that_of_keras(amsgrad):
    options = {"weight_decay": 0.3, "epsilon": 1e-3, "amsgrad": amsgrad}
    gradients = [1.0, -2.0, 0.5, 0.25]
    ours = _steps(AdamW(0.1, **options), gradients)
    theirs = _steps(keras.optimizers.AdamW(0.1, **options), gradients)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_global_clipping_leaves_small_gradients_alone():
    optimizer = MomentumSGD(1.0, global_clipnorm=1.0)
    # Two elements: norm sqrt(2) * gradient; clipped to 1, so 1 / sqrt(2) each.
    np.testing.assert_allclose(_steps(optimizer, [0.1], 0.0), [-0.1], rtol=1e-6)
    optimizer = MomentumSGD(1.0, global_clipnorm=1.0)
    np.testing.assert_allclose(_steps(optimizer, [10.0], 0.0), [-(0.5**0.5)], rtol=1e-6)


def test_loss_scale_and_decoupled_decay():
    scaled = MomentumSGD(0.1, loss_scale_factor=4.0)
    np.testing.assert_allclose(_steps(scaled, [4.0, 4.0]), [0.9, 0.9 - 0.19], rtol=1e-6)
    decayed = MomentumSGD(0.1, weight_decay=0.5)
    np.testing.assert_allclose(_steps(decayed, [0.0, 0.0]), [0.95, 0.95**2], rtol=1e-6)


def test_accumulated_gradients_are_one_large_batch():
    images, labels = _batches(4)
    large, small = tiny(), tiny()
    rule = MomentumSGD(WarmupCosine(0.1, 4, 1), global_clipnorm=1.0)
    large.compile(rule, LOSS, run_eagerly=True)
    _train(large, images.reshape(2, 8, 16, 16, 3), labels.reshape(2, 8))
    schedule = WarmupCosine(0.1, 4, 1, batches_per_step=2)
    small.compile(MomentumSGD(schedule, global_clipnorm=1.0, gradient_accumulation_steps=2), LOSS)
    _train(small, images, labels)
    for one, other in zip(_of(large.weights), _of(small.weights), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_average_of_the_weights():
    images, labels = _batches(3)
    model = tiny()
    model.compile(MomentumSGD(0.1, use_ema=True, ema_momentum=0.5), LOSS, run_eagerly=True)
    average = None
    for x, y in zip(images, labels, strict=True):
        model.train_on_batch(x, y)
        now = _of(model.trainable_variables)
        pairs = zip(average or now, now, strict=True)
        average = [0.5 * old + 0.5 * new for old, new in pairs]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    for one, other in zip(_of(model.trainable_variables), average, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: MomentumSGD(
            WarmupCosine(0.1, 8, 2), global_clipnorm=1.0, momentum_dtype="bfloat16"
        ),
        lambda: MomentumSGD(0.1, nesterov=True, weight_decay=0.1, no_decay=("bias",), use_ema=True),
        lambda: AdamW(WarmupCosine(0.01, 8, 2), 0.3, no_decay=("norm", "class_token")),
    ],
)
def test_saved_with_the_model_it_goes_on_as_if_nothing_had_been(make, tmp_path):
    images, labels = _batches(4)
    model = tiny()
    model.compile(make(), LOSS, run_eagerly=True)  # which is saved too
    _train(model, images[:2], labels[:2])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.optimizer) is type(model.optimizer)
    assert again.optimizer.get_config() == model.optimizer.get_config()
    for one, other in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(_numpy(one), _numpy(other))
    assert _train(model, images[2:], labels[2:]) == pytest.approx(
        _train(again, images[2:], labels[2:]), rel=1e-6
    )
    for one, other in zip(_of(model.weights), _of(again.weights), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_bfloat16_buffer_is_half_as_large():
    model = tiny()
    optimizer = MomentumSGD(0.1, momentum_dtype="bfloat16", use_ema=True)
    optimizer.build(model.trainable_variables)
    dtypes = {v.name.rsplit("_", 1)[-1]: v.dtype for v in optimizer.variables}
    assert dtypes["momentum"] == "bfloat16" and dtypes["average"] == "float32"


def test_with_loss_scaling_of_float16():
    images, labels = _batches(2)
    model = tiny(dtype="mixed_float16")
    optimizer = MomentumSGD(0.1, global_clipnorm=1.0, weight_decay=0.1)
    model.compile(keras.optimizers.LossScaleOptimizer(optimizer), LOSS)
    assert np.isfinite(_train(model, images, labels)).all()


# --- weight decay ---------------------------------------------------------------------------

EVERYTHING = {
    "stem": ResNetStem((1,)),
    "patch_size": 1,
    "registers": 2,
    "layer_scale": 0.1,
    "representation_size": 4,
}


def _shrunk(model, optimizer):
    """Variables that a step with gradients of zero makes smaller, of ones; no other changes."""
    variables = model.trainable_variables
    for variable in variables:
        variable.assign(ops.ones(variable.shape))
    optimizer.apply([ops.zeros(v.shape) for v in variables], variables)
    values = {v.path: _numpy(v) for v in variables}
    expected = 1 - 0.1 * 0.5
    for path, value in values.items():
        assert np.all(value == 1) or np.allclose(value, expected, atol=1e-6), path
    return {path for path, value in values.items() if not np.all(value == 1)}


def _own_kind(path):
    """The kind of a variable of `tiny(**EVERYTHING)`, without looking at the library."""
    if path.endswith("/kernel"):
        return "kernel"
    if path.endswith("/bias"):
        return "bias"
    if path in ("block_0/attention_scale/gamma", "block_0/mlp_scale/gamma"):
        return "layer_scale"
    if path == "position_embedding/embedding":
        return "position_embedding"
    if path in ("class_token/token", "registers/token"):
        return path.split("/")[0]
    assert "norm" in path and path.endswith(("/gamma", "/beta"))
    return "norm"


def test_kinds():
    model = tiny(**EVERYTHING)
    found = {kind_of(v) for v in model.trainable_variables}
    assert found == set(KINDS) - {"other"}
    for variable in model.trainable_variables:
        assert kind_of(variable) == _own_kind(variable.path), variable.path
    for other in (
        keras_vit.BiT(32, (1,), 0.5, classes=3),
        keras_vit.Mixer(16, 8, 8, 1, 8, 16, classes=3),
    ):
        assert {kind_of(v) for v in other.trainable_variables} == {"kernel", "bias", "norm"}
    assert kind_of(keras.Variable(np.zeros(2), name="temperature")) == "other"


@pytest.mark.parametrize("kind", [AdamW, MomentumSGD])
@pytest.mark.parametrize(
    "no_decay",
    [NOT_KERNELS, (), ("bias", "norm", "class_token", "position_embedding"), ("registers",)],
)
def test_only_what_should_is_decayed(kind, no_decay):
    model = tiny(**EVERYTHING)
    optimizer = kind(0.1, weight_decay=0.5, no_decay=no_decay)
    expected = {v.path for v in model.trainable_variables if _own_kind(v.path) not in no_decay}
    assert expected
    assert _shrunk(model, optimizer) == expected


def test_what_is_not_decayed_is_saved(tmp_path):
    model = tiny()
    model.compile(AdamW(0.1, 0.5, no_decay=("bias", "kernel")), LOSS, run_eagerly=True)
    _train(model, *_batches(1))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    again.optimizer.variables[0].assign(0)
    for moment in again.optimizer.variables[1:]:
        if "moment" in moment.name or "velocity" in moment.name:
            moment.assign(ops.zeros(moment.shape))
    shrunk = _shrunk(again, again.optimizer)
    assert shrunk and not any(path.endswith(("bias", "kernel")) for path in shrunk)


def test_excluded_from_keras_own_optimizer():
    model = tiny(**EVERYTHING)
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    excluded = exclude_from_weight_decay(optimizer, model)
    paths = {v.path for v in model.trainable_variables}
    kinds = {"bias", "norm", "class_token", "position_embedding"}
    assert set(excluded) == {path for path in paths if _own_kind(path) in kinds}
    assert _shrunk(model, optimizer) == paths - set(excluded)
    with pytest.raises(ValueError, match="before the first step"):
        exclude_from_weight_decay(optimizer, model)


def test_unknown_kinds_are_refused():
    message = r"must name some of kernel, bias.*Received: {}=\('norms',\)"
    with pytest.raises(ValueError, match=message.format("no_decay")):
        AdamW(no_decay=("norms",))
    with pytest.raises(ValueError, match=message.format("what")):
        exclude_from_weight_decay(keras.optimizers.AdamW(), tiny(), ("norms",))
