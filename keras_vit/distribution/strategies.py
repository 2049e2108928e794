"""`tf.distribute` strategies by name."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from typing import Any

import keras

from keras_vit.utils.checks import check_choice, check_counts

STRATEGIES = ("auto", "cpu", "mirrored", "multiworker", "tpu")
# Environment variables with which Cloud TPU VMs, Colab and Kubernetes announce a TPU.
_TPU_VARIABLES = ("TPU_NAME", "COLAB_TPU_ADDR", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS")

_WORKERS_HINT = (
    'os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": ["host0:12345", '
    '"host1:12345"]}, "task": {"type": "worker", "index": 0}})'
)


def strategy(name: str = "auto", devices: int | Sequence[str] | None = None) -> Any:
    """A `tf.distribute` strategy.

    Args:
        name: `"cpu"`: the processor as several logical devices (to try things out; it is not
            faster). `"mirrored"`: all GPUs of this machine. `"multiworker"`: several machines,
            one process each that runs the same script, which `TF_CONFIG` describes. `"tpu"`.
            `"auto"`: a TPU if one is there; several machines if `TF_CONFIG` names them;
            several GPUs mirrored; else TensorFlow's default strategy, which is one device.
        devices: For `"cpu"` and `"mirrored"` how many, or their names (`["GPU:0", "GPU:1"]`);
            default: all. For `"tpu"` the address of the TPU, as a list of one; default: what the
            environment says. For the others how many there must be, on all machines together.

    Returns:
        The strategy. Models and optimisers are made inside its `scope()`.

    Raises:
        ValueError: If there is no such strategy or no such devices, or on another backend than
            TensorFlow.
    """
    check_choice("name", name, STRATEGIES)
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Strategies are TensorFlow's: set KERAS_BACKEND=tensorflow, or train on one device. "
            "(With KERAS_BACKEND=jax there are `keras_vit.distribution.data_parallel()` and "
            "`model_parallel(...)`.) "
            f"Received: KERAS_BACKEND={keras.backend.backend()}"
        )
    if name == "auto":
        name = automatic()
    made = _MAKERS[name](devices)
    if devices is not None and name in ("one", "multiworker"):
        there = made.num_replicas_in_sync
        if devices != there:
            raise ValueError(
                "`devices` is for 'cpu', 'mirrored' and 'tpu'. With several machines each uses all "
                f"of its own, and without a strategy there is one. Leave `devices` out, or pass "
                f"{there}. Received: devices={devices!r}"
            )
    return made


def automatic() -> str:
    """What `strategy("auto")` chooses here: `"tpu"`, `"multiworker"`, `"mirrored"` or `"one"`."""
    import tensorflow as tf

    if any(os.environ.get(name) for name in _TPU_VARIABLES) or tf.config.list_physical_devices(
        "TPU"
    ):
        return "tpu"
    if len(_workers(os.environ.get("TF_CONFIG"))) > 1:
        return "multiworker"
    return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "one"


def _one(devices: Any) -> Any:
    import tensorflow as tf

    return tf.distribute.get_strategy()


def _cpu(devices: Any) -> Any:
    """Makes logical devices, which is only possible before TensorFlow runs anything."""
    import tensorflow as tf

    config: Any = tf.config
    if isinstance(devices, int):
        check_counts(1, devices=devices)
        (processor,) = config.list_physical_devices("CPU")
        logical = [config.LogicalDeviceConfiguration() for _ in range(devices)]
        # If TensorFlow runs already, `_names` checks that the devices it has are enough.
        with contextlib.suppress(RuntimeError):
            config.set_logical_device_configuration(processor, logical)
    return tf.distribute.MirroredStrategy(_names("CPU", devices))


def _mirrored(devices: Any) -> Any:
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(_names("GPU", devices))


def _names(kind: str, devices: Any) -> list[str]:
    """Names of logical devices of one kind, checked."""
    import tensorflow as tf

    there = [device.name.split("device:")[-1] for device in tf.config.list_logical_devices(kind)]
    if devices is None:
        wanted = there
    elif isinstance(devices, int):
        wanted = [f"{kind}:{i}" for i in range(devices)]
    else:
        wanted = [device.split("device:")[-1].strip("/") for device in devices]
    if not wanted or any(name not in there for name in wanted):
        other = (
            "Take fewer, or ask for them before TensorFlow has run anything"
            if kind == "CPU"
            else "Take fewer, 'cpu' to try it out, or 'auto'"
        )
        raise ValueError(
            f"TensorFlow does not have the devices that you asked for. {other}. Received: "
            f"devices={devices!r}, and TensorFlow has {', '.join(there) or f'no {kind}'}"
        )
    return wanted


def _multiworker(devices: Any) -> Any:
    import tensorflow as tf

    config = os.environ.get("TF_CONFIG")
    if not _workers(config):
        raise ValueError(
            "TF_CONFIG must tell every process all workers and its own index before the strategy "
            f"is made: {_WORKERS_HINT}. Received: TF_CONFIG={config!r}"
        )
    return tf.distribute.MultiWorkerMirroredStrategy()


def _workers(config: str | None) -> list[str]:
    """The addresses of the workers in `TF_CONFIG`; empty if it names none."""
    try:
        cluster = json.loads(config or "{}").get("cluster", {})
    except (json.JSONDecodeError, AttributeError) as error:
        raise ValueError(
            f"TF_CONFIG must be a JSON object such as {_WORKERS_HINT}. Received: "
            f"TF_CONFIG={config!r}"
        ) from error
    return [*cluster.get("chief", ()), *cluster.get("worker", ())]


def _tpu(devices: Any) -> Any:
    """In the order of TensorFlow's guide to TPUs: resolve, connect, initialise, make."""
    import tensorflow as tf

    distribute: Any = tf.distribute
    address = None if devices is None else ([devices] if isinstance(devices, str) else devices)[0]
    try:
        resolver = distribute.cluster_resolver.TPUClusterResolver(tpu=address)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise ValueError(
            "No TPU can be reached. On a TPU VM, `pip install tensorflow-tpu` and call "
            "strategy('tpu', ['local']). Elsewhere, pass the address of the TPU. Without a TPU, "
            f"take 'auto'. Received: devices={devices!r}, and TensorFlow says: {error}"
        ) from error
    return distribute.TPUStrategy(resolver)


_MAKERS: dict[str, Any] = {
    "one": _one,
    "cpu": _cpu,
    "mirrored": _mirrored,
    "multiworker": _multiworker,
    "tpu": _tpu,
}
