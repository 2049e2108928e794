"""Several devices, processes and backends give the losses of one device."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import distributed_run
import keras
import numpy as np
import pytest

import keras_vit
from keras_vit import distribution
from keras_vit.distribution import TrainStep, fit, strategy

TENSORFLOW = keras.backend.backend() == "tensorflow"
pytestmark = pytest.mark.skipif(not TENSORFLOW, reason="runs both backends in processes")
SCRIPT = Path(__file__).with_name("distributed_run.py")
# To compile fast: how XLA optimises is not tested here.
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
# In bfloat16 the gradient of a part of the batch is rounded to 8 bits before it is added to the
# others, and AdamW makes the smallest gradients count. Seen after an update, at losses of about 1:
# .0026 with SGD, .0055 with AdamW, and .013 with AdamW where the model is divided too, whose sums
# over channels are then of rounded parts. (In float32 6e-7.)
TOLERANCE = {"float32": 1e-5, "mixed_bfloat16": 5e-3}
BF16 = {"dtype": "mixed_bfloat16"}
XLA = {"jit_compile": True}
HALVES = {"accumulate": 2}
ADAMW = {"optimizer": "adamw", "clip": 0.05}
SGD = {"optimizer": "momentum", "clip": 0.05}  # a norm that every gradient here exceeds
CELLS = [
    {**optimizer, **precision, **xla, **accumulation}
    for optimizer in (SGD, ADAMW)
    for precision in ({}, BF16)
    for xla in ({}, XLA)
    for accumulation in ({}, HALVES)
]


def start(job, env=None):
    quick = {
        "XLA_FLAGS": QUICK,
        "KERAS_BACKEND": "tensorflow",
        **(env or {}),
    }
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), json.dumps(job)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **quick},
        cwd=SCRIPT.parents[1],
    )


def results_of(process):
    try:
        out, err = process.communicate(timeout=540)
    finally:
        process.kill()
    assert process.returncode == 0, f"{out}\n{err[-3000:]}"
    return json.loads(out.splitlines()[-1])


def check_losses(cases, results):
    expected: dict[str, dict] = {}
    for case, result in zip(cases, results, strict=True):
        alone = {k: case[k] for k in ("optimizer", "clip", "dtype") if k in case}
        key = json.dumps(alone, sort_keys=True)
        if key not in expected:
            expected[key] = distributed_run.alone(**alone)
        check_loss(case, result, expected[key])


def check_loss(case, result, want):
    tolerance = TOLERANCE[case.get("dtype", "float32")]
    if "dtype" in case and case["optimizer"] == "adamw":
        tolerance *= 4 if case.get("parallel") == "model" else 2
    print(np.abs(np.subtract(result["loss"], want["loss"])).max(), case)
    np.testing.assert_allclose(
        result["loss"], want["loss"], rtol=0, atol=tolerance, err_msg=str(case)
    )
    if tolerance < 1e-4:
        assert result["accuracy"] == pytest.approx(want["accuracy"]), case
    # Not a comparison of losses that never move.
    assert len(want["loss"]) == 3 and np.ptp(want["loss"]) > 1e-3


def free_addresses(count=2):
    addresses = []
    for _ in range(count):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            addresses.append(f"127.0.0.1:{free.getsockname()[1]}")
    return addresses


def outputs_of(processes):
    try:
        return [results_of(process) for process in processes]
    finally:
        for process in processes:
            process.kill()


def two_workers(cases):
    cluster = {"worker": free_addresses()}
    processes = [
        start(
            {"strategy": "multiworker", "cases": cases},
            {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}})},
        )
        for i in range(2)
    ]
    return outputs_of(processes)


# --- the same losses ------------------------------------------------------------------------


def test_one_device_by_this_step():
    cases = [ADAMW | XLA | HALVES]
    check_losses(cases, [distributed_run.on_tensorflow(strategy(), **case) for case in cases])


def test_two_devices():
    cases = [ADAMW | XLA | HALVES, {"optimizer": "momentum"} | BF16]
    dropout = SGD | {"dropout": 0.5}
    *results, dropped = results_of(
        start({"strategy": "cpu", "devices": 2, "cases": [*cases, dropout]})
    )
    assert {result["replicas"] for result in results} == {2}
    check_losses(cases, results)
    # One mask in the embedding, two in a block's MLP, one after attention: each a draw a step.
    assert np.isfinite(dropped["loss"]).all()
    assert sorted(dropped["draws"])[-3:] == [3, 3, 6]


@pytest.mark.slow
def test_four_devices():
    cases = [SGD | HALVES]
    results = results_of(start({"strategy": "cpu", "devices": 4, "cases": cases}))
    assert results[0]["replicas"] == 4
    check_losses(cases, results)


@pytest.mark.slow
def test_two_processes():
    cases = [ADAMW | HALVES]
    results = two_workers(cases)
    for result in results:
        check_losses(cases, result)
    chief, other = results
    assert [r["chief"] for r in (*chief, *other)] == [True, False]
    assert [r["weights"] for r in chief] == [r["weights"] for r in other]


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
def test_every_cell_on_several_devices(devices):
    results = results_of(start({"strategy": "cpu", "devices": devices, "cases": CELLS}))
    check_losses(CELLS, results)


@pytest.mark.slow
def test_every_cell_on_two_processes():
    for results in two_workers(CELLS):
        check_losses(CELLS, results)


@pytest.mark.slow
def test_every_cell_on_one_device():
    check_losses(CELLS, [distributed_run.on_tensorflow(strategy(), **case) for case in CELLS])


def on_jax(cases, devices=4, **job):
    flags = f"{QUICK} --xla_force_host_platform_device_count={devices}"
    return start({"cases": cases, **job}, {"KERAS_BACKEND": "jax", "XLA_FLAGS": flags})


PARALLEL = [{"parallel": "data"}, {"parallel": "model", "axes": [2]}]
# Keras's own accumulation takes batch after batch; here, the halves of one.
JAX_OPTIONS = [HALVES, BF16, BF16 | HALVES]


@pytest.mark.slow
def test_every_cell_on_jax():
    cases = [optimizer | option for optimizer in (SGD, ADAMW) for option in ({}, *JAX_OPTIONS)]
    whole = [case for case in cases if "accumulate" not in case]
    divided = [case | parallel for case in cases for parallel in PARALLEL]
    results = results_of(on_jax([*whole, *divided]))
    expected = {json.dumps(case): result for case, result in zip(whole, results, strict=False)}
    for case, result in zip(divided, results[len(whole) :], strict=True):
        assert result["devices"] == 4
        key = {name: case[name] for name in ("optimizer", "clip", "dtype") if name in case}
        check_loss(case, result, expected[json.dumps(key)])


@pytest.mark.slow
def test_two_processes_on_jax():
    """Each with two devices: the data are divided between the processes, the model within one."""
    whole = results_of(on_jax([SGD, ADAMW, ADAMW | BF16]))
    cases = [SGD | PARALLEL[0], ADAMW | PARALLEL[1], ADAMW | BF16 | PARALLEL[0]]
    addresses = ",".join(free_addresses())
    processes = [on_jax(cases, devices=2, processes=[addresses, 2, index]) for index in range(2)]
    for results in outputs_of(processes):
        for case, result, expected in zip(cases, results, whole, strict=True):
            assert result["devices"] == 4
            check_loss(case, result, expected)


@pytest.mark.slow
def test_jax():
    cases = [
        ADAMW,
        ADAMW | {"parallel": "model", "axes": [2]},
        SGD,
        SGD | {"parallel": "data"},
    ]
    adamw, model, sgd, data = results_of(on_jax(cases))
    for alone, result in ((adamw, model), (sgd, data)):
        np.testing.assert_allclose(result["loss"], alone["loss"], rtol=0, atol=1e-5)
        assert np.ptp(alone["loss"]) > 1e-3
    assert data["shards"] == data["shapes"]
    divided = {p for p, shape in model["shapes"].items() if model["shards"][p] != shape}
    assert divided == {
        "block_0/attention/out/kernel",
        "block_0/mlp/dense_1/kernel",
        "block_0/mlp/dense_1/bias",
        "block_0/mlp/dense_2/kernel",
        *(f"block_0/attention/{p}/kernel" for p in ("query", "key", "value")),
        *(f"block_0/attention/{p}/bias" for p in ("query", "key", "value")),
    }
    assert model["shards"]["block_0/attention/query/kernel"] == [16, 8]
    assert model["shards"]["block_0/attention/out/kernel"] == [8, 16]
    assert model["shards"]["block_0/mlp/dense_1/kernel"] == [16, 16]
    moments = [shape for path, shape in model["moments"].items() if "query_kernel" in path]
    assert moments == [[16, 8], [16, 8]]  # AdamW's two lie with the weights


# --- the step -------------------------------------------------------------------------------


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
    model.compile(keras_vit.optimizers.MomentumSGD(0.0), model.loss)
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
            keras_vit.optimizers.MomentumSGD(0.1, use_ema=True, ema_momentum=0.5), model.loss
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
        inner = keras_vit.optimizers.MomentumSGD(0.1, **optimizer)
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
    outside = keras_vit.optimizers.MomentumSGD(0.1)
    model.compile(outside, model.loss)
    with pytest.raises(ValueError, match="Received: optimizer made outside"):
        TrainStep(model, mirrored)


def test_another_keras(monkeypatch):
    from keras_vit import distributed_step

    with (
        pytest.raises(RuntimeError, match="sum would be made twice"),
        distributed_step._sums_are_made(object()),
    ):
        pass


# --- strategies -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gpu",), "`name` must be one of auto, cpu, mirrored, multiworker, tpu.*name='gpu'"),
        (("cpu", 0), "`devices` must be positive"),
        (("cpu", 64), "before TensorFlow has run.*devices=64.*CPU:0"),
        (("cpu", ["CPU:7"]), r"Received: devices=\['CPU:7'\]"),
        (("mirrored",), "'cpu' to try it out.*no GPU"),
        (("mirrored", 2), "devices=2.*no GPU"),
        (("multiworker",), 'os.environ\\["TF_CONFIG"\\].*TF_CONFIG=None'),
        (("multiworker", 2), "uses all of its own. Received: devices=2"),
        (("auto", 2), "`devices` is for 'cpu', 'mirrored' and 'tpu'"),
    ],
)
def test_strategies_that_are_not_there(arguments, message, monkeypatch):
    import tensorflow as tf

    tf.config.list_logical_devices()  # TensorFlow runs from here on
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match=message):
        strategy(*arguments)


@pytest.mark.parametrize("config", ["{", "[]", "3"])
def test_a_broken_tf_config(config, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match="must be a JSON object"):
        strategy("multiworker")


def test_auto(monkeypatch):
    import tensorflow as tf

    made = []
    for name in ("one", "mirrored", "multiworker", "tpu"):
        monkeypatch.setitem(
            distribution._MAKERS, name, lambda devices, name=name: made.append(name)
        )
    gpus = [f"GPU:{i}" for i in range(2)]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: there.get(kind, []))
    for there, environment in (  # noqa: B007
        ({}, {}),
        ({"GPU": gpus[:1]}, {}),
        ({"GPU": gpus}, {}),
        ({"GPU": gpus}, {"TF_CONFIG": '{"cluster": {"worker": ["a:1", "b:1"]}}'}),
        ({}, {"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}}'}),
        ({"TPU": ["TPU:0"], "GPU": gpus}, {}),
        ({}, {"TPU_NAME": "local"}),
    ):
        with monkeypatch.context() as patch:
            for variable in (*distribution._TPU_VARIABLES, "TF_CONFIG"):
                patch.delenv(variable, raising=False)
            for variable, value in environment.items():
                patch.setenv(variable, value)
            strategy()
    assert made == ["one", "one", "mirrored", "multiworker", "one", "tpu", "tpu"]


def test_tpu_calls_are_those_of_the_guide(monkeypatch):
    import tensorflow as tf

    calls = []

    def note(name):
        def call(*args, **kwargs):
            calls.append((name, *args, *kwargs.values()))
            return name

        return call

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", note("resolver"))
    monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", note("connect"))
    monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", note("initialize"))
    monkeypatch.setattr(tf.distribute, "TPUStrategy", note("strategy"))
    assert strategy("tpu", ["local"]) == "strategy"
    assert calls == [
        ("resolver", "local"),
        ("connect", "resolver"),
        ("initialize", "resolver"),
        ("strategy", "resolver"),
    ]
    calls.clear()
    strategy("tpu")
    assert calls[0] == ("resolver", None)


def test_no_tpu():
    with pytest.raises(ValueError, match=r"A TPU must be reachable.*Without one take 'auto'"):
        strategy("tpu")


@pytest.mark.parametrize(
    ("device", "capability", "precision", "jit"),
    [
        ("/device:CPU:0", "avx512f avx512_bf16", "mixed_bfloat16", False),
        ("/device:CPU:0", "avx512f", "float32", False),
        ("/device:TPU:0", None, "mixed_bfloat16", False),
        ("/device:GPU:0", (9, 0), "mixed_bfloat16", True),
        ("/device:GPU:0", (8, 0), "mixed_bfloat16", True),
        ("/device:GPU:0", (7, 5), "float32", True),
        ("/device:GPU:0", None, "float32", True),
    ],
)
def test_defaults(device, capability, precision, jit, monkeypatch):
    import types

    import tensorflow as tf

    fake = types.SimpleNamespace(extended=types.SimpleNamespace(worker_devices=(device,)))
    details = {} if capability is None else {"compute_capability": capability}
    monkeypatch.setattr(Path, "read_text", lambda *_: capability)  # of /proc/cpuinfo
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["gpu"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    assert distribution.default_precision(fake) == precision
    assert distribution.default_jit(fake) is jit


def test_defaults_here():
    assert distribution.default_jit() is False
    assert distribution.default_precision() in ("float32", "mixed_bfloat16")


def test_defaults_on_jax(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    for device, precision in (("cpu:0", "float32"), ("tpu:0", "mixed_bfloat16")):
        monkeypatch.setattr(keras.distribution, "list_devices", lambda: [device])  # noqa: B023
        assert distribution.default_precision() == precision
        assert distribution.default_jit() is True


def test_chiefs():
    import types

    def of(kind, index, cluster):
        spec = types.SimpleNamespace(as_dict=lambda: cluster)
        resolver = types.SimpleNamespace(task_type=kind, task_id=index, cluster_spec=lambda: spec)
        return distribution.is_chief(types.SimpleNamespace(cluster_resolver=resolver))

    workers = {"worker": ["a:1", "b:1"]}
    assert [of("worker", i, workers) for i in range(2)] == [True, False]
    with_chief = {"chief": ["c:1"], **workers}
    assert [of("chief", 0, with_chief), of("worker", 0, with_chief)] == [True, False]
    assert distribution.is_chief(strategy())


def test_jax_only():
    for make in (distribution.data_parallel, lambda: distribution.model_parallel(2)):
        with pytest.raises(ValueError, match=r"KERAS_BACKEND=jax.*Received.*tensorflow"):
            make()


def test_layouts_that_cannot_be(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    devices = [f"cpu:{i}" for i in range(4)]
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: devices)
    parallel = distribution.model_parallel
    with pytest.raises(ValueError, match="`model_axis` must be positive"):
        parallel(0)
    with pytest.raises(ValueError, match="model_axis=3, data_axis=1"):
        parallel(3)
    with pytest.raises(ValueError, match="model_axis=2, data_axis=3"):
        parallel(2, 3)
    with pytest.raises(ValueError, match=r"some of those that JAX has.*'cpu:9'"):
        distribution.data_parallel(["cpu:9"])
    with pytest.raises(ValueError, match=r"Strategies are TensorFlow's.*data_parallel"):
        strategy()


def test_the_layout_names_weights_that_there_are():
    import re

    from keras_vit.sharding import LAYOUT

    model = keras_vit.ViT(16, **distributed_run.TINY, classes=2)
    paths = [v.path for v in model.weights]
    for pattern in LAYOUT:
        assert any(re.fullmatch(pattern, path) for path in paths), pattern
