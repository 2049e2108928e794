"""Skips the random initial weights where weights are loaded anyway: it saves seconds."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import keras

_weights_follow: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "weights_follow", default=False
)


@contextlib.contextmanager
def weights_follow() -> Iterator[None]:
    """Inside the `with`, variables that would start at random hold no useful numbers.

    Set every variable of the model afterwards, or look only at its structure.
    """
    token = _weights_follow.set(True)
    try:
        yield
    finally:
        _weights_follow.reset(token)


def random_start(initializer: Any) -> Any:
    """The initializer of a variable that starts at random: `initializer`, or one that skips it."""
    return _unset if _weights_follow.get() else initializer


def _unset(shape: Any, dtype: Any = None) -> Any:
    """Memory with whatever is in it: filling it takes a third of the time to build a model."""
    if keras.backend.backend() != "tensorflow":
        return keras.ops.zeros(shape, dtype)
    import tensorflow as tf

    return tf.raw_ops.Empty(shape=shape, dtype=tf.as_dtype(dtype or "float32"), init=False)
