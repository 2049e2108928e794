"""Which strategy, precision and layout there is, and what the machine makes of the defaults."""

from __future__ import annotations

import types
from pathlib import Path

import keras
import pytest
from programs import distributed_run

import keras_vit
from keras_vit import distribution
from keras_vit.distribution import strategies, strategy


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gpu",), "`name` must be one of auto, cpu, mirrored, multiworker, tpu.*name='gpu'"),
        (("cpu", 0), "`devices` must be a positive integer"),
        (("cpu", 64), "before TensorFlow has run.*devices=64.*CPU:0"),
        (("cpu", ["CPU:7"]), r"Received: devices=\['CPU:7'\]"),
        (("mirrored",), "'cpu' to try it out.*no GPU"),
        (("mirrored", 2), "devices=2.*no GPU"),
        (("multiworker",), 'os.environ\\["TF_CONFIG"\\].*TF_CONFIG=None'),
        (("auto", 2), "`devices` is for 'cpu', 'mirrored' and 'tpu'"),
    ],
)
def test_strategies_that_are_not_there(arguments, message, monkeypatch):
    import tensorflow as tf

    tf.config.list_logical_devices()  # TensorFlow runs from here on
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match=message):
        strategy(*arguments)


def test_devices_of_all_machines_may_be_said(monkeypatch):
    """To go on with fewer: what there is must be what was said."""
    there = types.SimpleNamespace(num_replicas_in_sync=3)
    monkeypatch.setitem(strategies._MAKERS, "multiworker", lambda devices: there)
    assert strategy("multiworker", 3) is strategy("multiworker") is there
    with pytest.raises(ValueError, match=r"`devices` out, or pass 3. Received: devices=2"):
        strategy("multiworker", 2)
    assert strategy("auto", 1).num_replicas_in_sync == 1


@pytest.mark.parametrize("config", ["{", "[]", "3"])
def test_a_broken_tf_config(config, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match="must be a JSON object"):
        strategy("multiworker")


def test_auto(monkeypatch):
    import tensorflow as tf

    made = []
    for name in ("one", "mirrored", "multiworker", "tpu"):
        monkeypatch.setitem(strategies._MAKERS, name, lambda devices, name=name: made.append(name))
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
            for variable in (*strategies._TPU_VARIABLES, "TF_CONFIG"):
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
    with pytest.raises(ValueError, match=r"No TPU can be reached.*Without a TPU, take 'auto'"):
        strategy("tpu")


@pytest.mark.parametrize(
    ("device", "capability", "precision", "jit"),
    [
        ("/device:CPU:0", "AuthenticAMD avx512f avx512_bf16", "mixed_bfloat16", False),
        ("/device:CPU:0", "GenuineIntel avx512_bf16 amx_bf16", "mixed_bfloat16", False),
        ("/device:CPU:0", "GenuineIntel avx512f avx512_bf16", "float32", False),
        ("/device:CPU:0", "avx512f", "float32", False),
        ("/device:TPU:0", None, "mixed_bfloat16", False),
        ("/device:GPU:0", (9, 0), "mixed_bfloat16", True),
        ("/device:GPU:0", (8, 0), "mixed_bfloat16", True),
        ("/device:GPU:0", (7, 5), "float32", True),
        ("/device:GPU:0", None, "float32", True),
    ],
)
def test_defaults(device, capability, precision, jit, monkeypatch):
    import tensorflow as tf

    fake = types.SimpleNamespace(extended=types.SimpleNamespace(worker_devices=(device,)))
    details = {} if capability is None else {"compute_capability": capability}
    monkeypatch.setattr(Path, "read_text", lambda *_: capability)  # of /proc/cpuinfo
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["gpu"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    assert distribution.default_precision(fake) == precision
    assert distribution.default_jit(fake) is jit
    # In bfloat16 where it is asked for: XLA multiplies in float32 where the processor is slow.
    slow = "CPU" in device and precision == "float32"
    assert distribution.default_jit(fake, "mixed_bfloat16") is (jit or slow)


def test_a_processor_that_is_not_known(monkeypatch):
    def not_linux(*_):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", not_linux)
    assert distribution.default_precision() == "float32"
    assert distribution.default_jit(None, "mixed_bfloat16") is False


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
    with pytest.raises(ValueError, match="`model_axis` must be a positive integer"):
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

    from keras_vit.distribution.jax_sharding import LAYOUT

    model = keras_vit.ViT(16, **distributed_run.TINY, classes=2)
    paths = [v.path for v in model.weights]
    for pattern in LAYOUT:
        assert any(re.fullmatch(pattern, path) for path in paths), pattern
