"""Which precision suits the hardware, and whether to compile with XLA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras


def default_precision(strategy: Any = None) -> str:
    """The `dtype` of a model that trains fastest on these devices without losing accuracy.

    `"mixed_bfloat16"` on TPUs, on GPUs from compute capability 8.0 (Ampere), and on processors with
    AMX, or AMD's with AVX512-BF16. On one of those processors ViT-S/16 trains at 10.4 images/s, and
    at 6.2 in float32 (batch 16, two cores, no XLA). `"float32"` on everything else. An Intel
    processor with AVX512-BF16 but without AMX trains at 8.0 images/s in float32, and at 4.8 in
    bfloat16. On JAX a processor gains nothing by bfloat16.

    Args:
        strategy: The strategy whose devices count. Default: all devices of the backend.
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
    """Linux's text about the processor, with its maker and flags; empty on other systems."""
    try:
        return Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return ""


def default_jit(strategy: Any = None, dtype: str = "float32") -> bool:
    """Whether XLA should compile the step: on GPUs, and where a processor is slow in bfloat16.

    On a processor XLA gains nothing in float32, and starts 5 s later. It multiplies bfloat16 in
    float32. Where TensorFlow multiplies bfloat16 fast (see `default_precision`), XLA halves the
    speed. Elsewhere ViT-S/16 trains at 7.2 images/s with XLA, and at 4.8 without. On TPUs and on
    JAX everything is compiled in any case.

    Args:
        strategy: The strategy whose devices count. Default: all devices of the backend.
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
