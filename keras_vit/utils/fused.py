"""Functions that run as one kernel, where TensorFlow would run one for each operation.

A kernel for each operation reads and writes all numbers, and keeps what every one of them has made.
XLA makes one kernel of all of them. Only functions of a training step are compiled: exported files
hold none. JAX's compiler does it by itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors, compiled by XLA where TensorFlow runs on CPUs only.

    On a GPU Keras compiles the whole training step by default.

    Args:
        function: Takes tensors, then numbers and strings that stay the same. It must be
            elementwise, or sum over axes: products are TensorFlow's own.
    """

    @functools.cache
    def compiled() -> Callable[..., Any]:
        import tensorflow as tf

        return tf.function(function, autograph=False, jit_compile=True)

    @functools.wraps(function)
    def run(*inputs: Any) -> Any:
        return (compiled() if _runs_on_cpus() and _has_xla() else function)(*inputs)

    return run


def _runs_on_cpus() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return all(device.device_type == "CPU" for device in tf.config.list_logical_devices())


@functools.cache
def _has_xla() -> bool:
    import tensorflow as tf

    with tf.init_scope():
        try:
            tf.function(lambda x: x + 1, jit_compile=True)(tf.constant(0.0))
        except tf.errors.OpError:  # built without XLA
            return False
    return True
