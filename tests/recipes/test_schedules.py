"""The schedules against the original's values (tests/golden/schedules.json)."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_vit.recipes.schedules import BiTSteps, WarmupCosine, WarmupLinear

pytestmark = pytest.mark.any_backend

ONE_OF_EACH = [
    WarmupCosine(0.1, 8, 2),
    WarmupLinear(0.1, 8, 2, end=0.01),
    BiTSteps(0.1, (2, 4, 6, 8)),
]


def _rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


def _jitted(function):
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, jit_compile=True)


def test_vit_schedules_are_the_originals(golden):
    rows = golden("schedules").facts["vit_create_learning_rate_schedule"]
    assert {row["args"]["decay_type"] for row in rows} == {"cosine", "linear"}
    for row in rows:
        args = row["args"]
        options = [args["base"], args["total_steps"], args["warmup_steps"]]
        if args["decay_type"] == "cosine":
            schedule = WarmupCosine(*options)
        else:
            schedule = WarmupLinear(*options, end=args.get("linear_end", 1e-5))
        got = _rates(schedule, row["steps"])
        np.testing.assert_allclose(got, row["lr"], rtol=1e-6, atol=1e-7 * args["base"])


def test_bit_schedules_are_the_originals(golden):
    rows = golden("schedules").facts["bit_hyperrule_get_lr"]
    assert len(rows) == 3
    for row in rows:
        schedule = BiTSteps(row["base_lr"], row["schedule"])
        # The original gives no rate at the end; ours is 0 there.
        expected = [rate or 0.0 for rate in row["lr"]]
        np.testing.assert_allclose(_rates(schedule, row["steps"]), expected, rtol=1e-6)


def test_bit_boundary_still_has_the_rate_from_before_it():
    rates = _rates(BiTSteps(1.0, (0, 2, 3)), range(5))
    np.testing.assert_allclose(rates, [1, 1, 1, 0, 0])
    np.testing.assert_allclose(_rates(BiTSteps(1.0, (0, 2, 4)), range(5)), [1, 1, 1, 0.1, 0])


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras compiles nothing there")
@pytest.mark.parametrize("schedule", ONE_OF_EACH)
def test_in_a_compiled_function(schedule):
    compiled = _jitted(schedule)
    steps = range(10)
    got = [float(compiled(ops.convert_to_tensor(step, "int32"))) for step in steps]
    np.testing.assert_allclose(got, _rates(schedule, steps), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("schedule", ONE_OF_EACH)
def test_round_trip(schedule):
    schedules = keras.optimizers.schedules
    config = schedules.serialize(schedule)
    again = schedules.deserialize(config)
    assert type(again) is type(schedule)
    assert schedules.serialize(again) == config
    assert _rates(again, range(10)) == _rates(schedule, range(10))


@pytest.mark.parametrize("schedule", ONE_OF_EACH)
def test_several_batches_per_step(schedule):
    config = schedule.get_config() | {"batches_per_step": 3}
    slow = type(schedule)(**config)
    expected = np.repeat(_rates(schedule, range(9)), 3)
    np.testing.assert_array_equal(_rates(slow, range(27)), expected)


def test_counts_in_float32_whatever_the_default():
    before = keras.config.floatx()
    keras.config.set_floatx("bfloat16")
    try:
        rate = WarmupLinear(1.0, 20_000, 0, end=0.0)(ops.convert_to_tensor(9_999, "int32"))
        assert keras.backend.standardize_dtype(rate.dtype) == "float32"
        assert float(rate) == pytest.approx(1 - 9_999 / 20_000, rel=1e-6)
    finally:
        keras.config.set_floatx(before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: WarmupCosine(0.0, 10),
            "`learning_rate` must be a positive number.*learning_rate=0.0",
        ),
        (lambda: WarmupCosine(math.inf, 10), "`learning_rate`"),
        (lambda: WarmupCosine(0.1, 0), "`steps` must be a positive integer.*steps=0"),
        (lambda: WarmupCosine(0.1, True), "`steps`"),
        (lambda: WarmupCosine(0.1, 10, 10), r"`warmup_steps` must be in.*=10, steps=10"),
        (lambda: WarmupCosine(0.1, 10, -1), "`warmup_steps`"),
        (lambda: WarmupCosine(0.1, 10, batches_per_step=0), "`batches_per_step`"),
        (lambda: WarmupLinear(1e-6, 10), "`end` must be a number in .0, 1e-06..*end=1e-05"),
        (lambda: WarmupLinear(0.1, 10, end=-1.0), "`end`"),
        (lambda: BiTSteps(0.1, (10,)), r"`boundaries` must be.*boundaries=\(10,\)"),
        (lambda: BiTSteps(0.1, (1, 3, 3)), "`boundaries`"),
        (lambda: BiTSteps(0.1, (1, 2.5)), "`boundaries`"),
    ],
)
def test_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()
