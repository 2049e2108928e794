"""Training on several devices and machines: `strategy`, `fit`; on JAX `data_parallel`.

What works, and how far it was tried, is in docs/distribution.md. On TensorFlow:

    strategy = keras_vit.distribution.strategy("mirrored")
    with strategy.scope():
        model = keras_vit.ViT_B16(dtype=keras_vit.distribution.default_precision(strategy))
        model.compile(**recipe.compile_args())
    keras_vit.distribution.fit(model, batches, steps=recipe.total_steps, strategy=strategy)

On JAX the plain `model.fit` trains, under a distribution that is set first:

    keras.distribution.set_distribution(keras_vit.distribution.data_parallel())
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_vit.distributed_evaluation import Evaluation
from keras_vit.distributed_fit import fit, several_processes
from keras_vit.distributed_step import TrainStep
from keras_vit.sharding import data_parallel, model_parallel, shard_shapes

__all__ = [
    "STRATEGIES",
    "Evaluation",
    "TrainStep",
    "any_process",
    "automatic",
    "data_parallel",
    "default_jit",
    "default_precision",
    "fit",
    "is_chief",
    "model_parallel",
    "shard_shapes",
    "strategy",
]

STRATEGIES = ("auto", "cpu", "mirrored", "multiworker", "tpu")
# Where Google's machines say that there is a TPU: Cloud TPU VMs, Colab, Kubernetes.
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
            several GPUs mirrored; else TensorFlow's default strategy, that is one device.
        devices: `"cpu"` and `"mirrored"`: how many, or their names (`["GPU:0", "GPU:1"]`);
            default: all. `"tpu"`: the address of the TPU, as a list of one; default: what the
            environment says. Not for the others.

    Returns:
        The strategy. Models and optimisers are made inside its `scope()`.

    Raises:
        ValueError: If there is no such strategy or no such devices, or on another backend than
            TensorFlow.
    """
    if name not in STRATEGIES:
        raise ValueError(f"`name` must be one of {', '.join(STRATEGIES)}. Received: name={name!r}")
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Strategies are TensorFlow's. On JAX take `keras_vit.distribution.data_parallel()` "
            f"or `model_parallel(...)`. Received: KERAS_BACKEND={keras.backend.backend()}"
        )
    if name == "auto":
        name = automatic()
    if devices is not None and name in ("one", "multiworker"):
        raise ValueError(
            "`devices` is for 'cpu', 'mirrored' and 'tpu'; a machine of a multi-worker strategy "
            f"uses all of its own. Received: devices={devices!r}"
        )
    return _MAKERS[name](devices)


def automatic() -> str:
    """What `strategy("auto")` comes to here: `"tpu"`, `"multiworker"`, `"mirrored"` or `"one"`."""
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
    """Logical devices must be made before TensorFlow runs anything."""
    import tensorflow as tf

    config: Any = tf.config
    if isinstance(devices, int):
        if devices < 1:
            raise ValueError(f"`devices` must be positive. Received: devices={devices}")
        (processor,) = config.list_physical_devices("CPU")
        logical = [config.LogicalDeviceConfiguration() for _ in range(devices)]
        # If TensorFlow runs already, what it has must be enough: `_names` looks.
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
            f"The devices must be there. {other}. Received: devices={devices!r}, and "
            f"TensorFlow has {', '.join(there) or f'no {kind}'}"
        )
    return wanted


def _multiworker(devices: Any) -> Any:
    import tensorflow as tf

    config = os.environ.get("TF_CONFIG")
    if not _workers(config):
        raise ValueError(
            "Every process must be told all workers and which one it is, before the strategy is "
            f"made: {_WORKERS_HINT}. Received: TF_CONFIG={config!r}"
        )
    return tf.distribute.MultiWorkerMirroredStrategy()


def _workers(config: str | None) -> list[str]:
    """The addresses of the workers in `TF_CONFIG`; none if it says nothing of them."""
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
            "A TPU must be reachable and the installed TensorFlow made for it: on a TPU VM "
            "`pip install tensorflow-tpu` and strategy('tpu', ['local']), else its address. "
            f"Without one take 'auto'. Received: devices={devices!r}, and TensorFlow says: {error}"
        ) from error
    return distribute.TPUStrategy(resolver)


_MAKERS: dict[str, Any] = {
    "one": _one,
    "cpu": _cpu,
    "mirrored": _mirrored,
    "multiworker": _multiworker,
    "tpu": _tpu,
}


def is_chief(strategy: Any) -> bool:
    """Whether this process is the one that reports and saves: worker 0, or the only one."""
    resolver = strategy.cluster_resolver
    if resolver is None or resolver.task_type is None:
        return True
    chiefs = resolver.cluster_spec().as_dict().get("chief")
    if resolver.task_type == "chief":
        return True
    return not chiefs and resolver.task_type == "worker" and resolver.task_id == 0


def any_process(strategy: Any, flag: bool) -> bool:
    """Whether any process of a strategy says yes. All of them must ask, and get the same answer."""
    if strategy is None or not several_processes(strategy):
        return flag
    import tensorflow as tf

    return float(_sum_over_replicas(strategy)(tf.constant(float(flag)))) > 0


@functools.cache  # traced once
def _sum_over_replicas(strategy: Any) -> Any:
    import tensorflow as tf

    def total(value: Any) -> Any:
        context: Any = tf.distribute.get_replica_context()
        # A copy, as what is given has no device that the sum could be put on.
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(value))

    def of_all(value: Any) -> Any:
        return strategy.experimental_local_results(strategy.run(total, args=(value,)))[0]

    return tf.function(of_all, autograph=False)


def default_precision(strategy: Any = None) -> str:
    """The `dtype` of a model that trains fastest on these devices without losing accuracy.

    `"mixed_bfloat16"` on TPUs, on GPUs from compute capability 8.0 (Ampere), and on processors with
    AMX, or AMD's with AVX512-BF16: on one of those ViT-S/16 trains at 10.4 images/s against 6.2 in
    float32 (batch 16, two cores, no XLA). An Intel processor with AVX512-BF16 and without AMX gets
    `"float32"`, in which it trains at 8.0 images/s against 4.8; so does what only emulates
    bfloat16, and a processor on JAX, where XLA gains nothing by it.

    Args:
        strategy: Whose devices are meant; default: all that the backend has.
    """
    kind = _kind(strategy)
    fast = {"TPU": lambda: True, "GPU": _gpus_multiply_bfloat16, "CPU": _cpu_multiplies_bfloat16}
    return "mixed_bfloat16" if fast[kind]() else "float32"


def _gpus_multiply_bfloat16() -> bool:
    if keras.backend.backend() == "jax":
        import jax

        found = [getattr(device, "compute_capability", "0") for device in jax.devices()]
        return all(float(capability) >= 8 for capability in found)
    import tensorflow as tf

    config: Any = tf.config.experimental
    gpus = tf.config.list_physical_devices("GPU")
    capabilities = [config.get_device_details(gpu).get("compute_capability") for gpu in gpus]
    return all(capability is not None and capability >= (8, 0) for capability in capabilities)


def _cpu_multiplies_bfloat16() -> bool:
    """Whether a processor is known to be faster in bfloat16 than in float32, without XLA."""
    if keras.backend.backend() == "jax":
        return False
    cpu = _processor()
    return "amx_bf16" in cpu or ("avx512_bf16" in cpu and "AuthenticAMD" in cpu)


def _processor() -> str:
    """What Linux says of the processor, its maker and flags; nothing elsewhere."""
    try:
        return Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return ""


def default_jit(strategy: Any = None, dtype: str = "float32") -> bool:
    """Whether XLA should compile the step: on GPUs, and where a processor is slow in bfloat16.

    On a processor it gains nothing in float32 and starts 5 s later. Its products of bfloat16 are
    made in float32: where those of TensorFlow are fast (see `default_precision`) it halves the
    speed, where they are not ViT-S/16 trains at 7.2 images/s with it and at 4.8 without. On a TPU
    all is compiled in any case, and on JAX too.

    Args:
        strategy: Whose devices are meant; default: all that the backend has.
        dtype: Dtype policy of the model.
    """
    kind = _kind(strategy)
    if keras.backend.backend() == "jax" or kind == "GPU":
        return True
    if kind == "TPU" or not dtype.endswith("bfloat16"):
        return False
    return _processor() != "" and not _cpu_multiplies_bfloat16()


def _kind(strategy: Any) -> str:
    """`"CPU"`, `"GPU"` or `"TPU"`: what the first replica of a strategy runs on."""
    if keras.backend.backend() == "jax":
        return keras.distribution.list_devices()[0].split(":")[0].upper()
    import tensorflow as tf

    try:
        device = (strategy or tf.distribute.get_strategy()).extended.worker_devices[0].upper()
    except RuntimeError:  # the default strategy: TensorFlow takes a GPU where there is one
        return "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return next(kind for kind in ("TPU", "GPU", "CPU") if kind in device)
