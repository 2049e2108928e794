"""The training step of `keras_vit.distribution`: masks, metrics, callbacks, what cannot be."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from programs import distributed_run

import keras_vit
from keras_vit.distribution import TrainStep, fit, strategy

SGD = {"optimizer": "momentum", "clip": 0.05}  # a norm that every gradient here exceeds


def batches(count=3, size=8, **options):
    import tensorflow as tf

    images, labels = (part[: count * size] for part in distributed_run.data())
    options = {"drop_remainder": True, **options}
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(size, **options)


def test_the_first_micro_batch_has_the_masks_of_keras_and_the_others_have_others():
    model = distributed_run.compiled(dropout=0.5)
    step = TrainStep(model, accumulate=1)
    batch = next(iter(batches()))
    losses = [float(step._gradients(batch, number)[0]) for number in (0, 1, 0, 2)]
    assert losses[0] == losses[2]
    assert len(set(losses)) == 3
    step(batch)
    model = distributed_run.compiled(dropout=0.5)
    assert model.train_on_batch(*batch)[0] == pytest.approx(losses[0], abs=1e-6)


def test_the_masks_change_from_step_to_step():
    model = distributed_run.compiled(dropout=0.5)
    model.compile(keras_vit.recipes.optimizers.MomentumSGD(0.0), model.loss)
    step = TrainStep(model)
    batch = next(iter(batches()))
    assert float(step(batch)) != float(step(batch))


def test_sample_weights_and_metrics():
    import tensorflow as tf

    images, labels = (part[:8] for part in distributed_run.data())
    weights = np.arange(8, dtype="float32")
    model = distributed_run.compiled()
    expected = model.train_on_batch(images, labels, weights, return_dict=True)
    model = distributed_run.compiled()
    step = TrainStep(model, accumulate=4)
    data = tf.data.Dataset.from_tensors((images, labels, weights))
    loss = float(step(next(iter(step.distribute(data)))))
    assert loss == pytest.approx(float(expected["loss"]), abs=1e-5)
    assert step.metrics() == pytest.approx({k: float(v) for k, v in expected.items()}, abs=1e-5)


def test_fit_is_like_keras(tmp_path, capsys):
    model = distributed_run.compiled(**SGD)
    seen = []
    lambdas = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((epoch, sorted(logs)))
    )
    history = fit(
        model,
        batches(),
        2,
        epochs=2,
        callbacks=[lambdas],
        validation_data=batches(1),
        verbose=1,
    )
    assert isinstance(history, keras.callbacks.History)
    assert "Epoch 2/2" in capsys.readouterr().out
    names = ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert seen == [(0, names), (1, names)]
    expected = distributed_run.alone(**SGD)
    np.testing.assert_allclose(history.history["loss"], expected["loss"][:2], atol=1e-5)
    assert int(model.optimizer.iterations.numpy()) == 2


def test_averages_take_the_place_of_the_weights():
    import tensorflow as tf

    got = []
    for own in (True, False):
        model = distributed_run.compiled()
        model.compile(
            keras_vit.recipes.optimizers.MomentumSGD(0.1, use_ema=True, ema_momentum=0.5),
            model.loss,
        )
        if own:
            fit(model, batches(), 3, verbose=0)
        else:
            model.fit(batches(), shuffle=False, verbose=0)
        got.append(model.get_weights())
    for ours, keras_own in zip(*got, strict=True):
        np.testing.assert_allclose(ours, keras_own, atol=1e-6)
    assert isinstance(strategy("auto"), type(tf.distribute.get_strategy()))


def test_a_callback_can_stop():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    model = distributed_run.compiled()
    assert len(fit(model, batches(), 3, epochs=3, callbacks=[Stop()], verbose=0).epoch) == 1


# --- what cannot be -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "`steps` must be a positive multiple.*Received: steps=0, epochs=1"),
        ({"steps": 3, "epochs": 2}, "Received: steps=3, epochs=2"),
        ({"steps": 3, "accumulate": 0}, "`accumulate`.*Received: accumulate=0"),
        ({"steps": 3, "accumulate": 3}, "batches of 8, replicas=1, accumulate=3"),
        ({"steps": 4}, "repeat.*Received: 3 batches, steps=4"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit(distributed_run.compiled(), batches(), verbose=0, **arguments)


def test_batches_must_have_a_known_size():
    step = TrainStep(distributed_run.compiled())
    with pytest.raises(ValueError, match=r"drop_remainder=True.*batches of None"):
        step.distribute(batches(drop_remainder=False))


@pytest.mark.parametrize(
    ("optimizer", "loss", "message"),
    [
        ({"gradient_accumulation_steps": 2}, {}, "`accumulate=`.*gradient_accumulation_steps=2"),
        ({}, {"reduction": "sum"}, "reduction='sum'"),
        ("float16", {}, "mixed_bfloat16.*LossScaleOptimizer"),
        (None, {}, "compiled"),
    ],
)
def test_models_that_cannot_be_trained_so(optimizer, loss, message):
    model = distributed_run.compiled()
    if isinstance(optimizer, dict):
        inner = keras_vit.recipes.optimizers.MomentumSGD(0.1, **optimizer)
        model.compile(inner, keras.losses.SparseCategoricalCrossentropy(**loss))
    elif optimizer == "float16":
        model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), model.loss)
    else:
        model = keras.Model(model.input, model.output)
    with pytest.raises(ValueError, match=message):
        TrainStep(model)


def test_layers_that_change_in_the_forward_pass():
    model = keras.Sequential(
        [keras.Input((16, 16, 3)), keras.layers.BatchNormalization(), keras.layers.Flatten()]
    )
    model.add(keras.layers.Dense(3))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match=r"BatchNormalization.*moving_mean"):
        fit(model, batches(), 1, verbose=0)


def test_a_model_made_outside_of_the_strategy():
    mirrored = strategy("cpu", ["CPU:0"])
    with pytest.raises(ValueError, match=r"strategy.scope.*Received: model made outside"):
        TrainStep(distributed_run.compiled(), mirrored)
    with mirrored.scope():
        model = distributed_run.compiled()
    outside = keras_vit.recipes.optimizers.MomentumSGD(0.1)
    model.compile(outside, model.loss)
    with pytest.raises(ValueError, match="Received: optimizer made outside"):
        TrainStep(model, mirrored)


def test_another_keras(monkeypatch):
    from keras_vit.distribution import train_step

    with (
        pytest.raises(RuntimeError, match="sum would be made twice"),
        train_step._sums_are_made(object()),
    ):
        pass
