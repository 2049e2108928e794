"""What the backward pass computes again because that is cheaper than to keep it.

Scaled norms, GELUs and dropped channels are quick to compute and large, and products need them a
second time, for the gradients of their kernels. TensorFlow without XLA keeps them from one pass to
the other. Here `recomputed` marks such a tensor, and the `product` that reads it lets it go. (Chen
et al., arXiv 1604.06174, do the same to whole blocks, products included: `rematerialise.py`.)

JAX and PyTorch derive the plain functions: JAX's compiler chooses by itself what it keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_vit.utils.backend import ops


def with_gradient(function: Callable[..., Any], *inputs: Any) -> Any:
    """Calls a function that returns its result and the function of its gradient."""
    if keras.backend.backend() == "tensorflow":
        return ops.custom_gradient(function)(*inputs)
    return function(*inputs)[0]


def recomputed(function: Callable[..., Any], *inputs: Any) -> Any:
    """`with_gradient`, of which only the inputs are kept for the backward pass.

    Args:
        function: Takes the inputs; returns a result, and the function of its gradient. It must be
            cheap, as it runs again.
        *inputs: Tensors.
    """
    if not is_worth_again(inputs[0]):
        return with_gradient(function, *inputs)
    shared: list[Any] = []  # what the products after it and its own gradient compute once

    def again(upstream: Any) -> Any:
        if not shared:
            shared.append(function(*after(upstream, *inputs)))
        return shared[0]

    def first(*inputs: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            result = again(upstream)[1](upstream)
            shared.clear()  # the last of one backward pass; another may be in another graph
            return result

        return function(*inputs)[0], gradient

    result = ops.custom_gradient(first)(*inputs)
    result._keras_vit_again = lambda upstream: again(upstream)[0]
    return result


def is_worth_again(x: Any) -> bool:
    """Whether to compute again from `x` is cheaper than to keep what is computed.

    Not in 16 bits: sums, GELU and softmax are computed in float32. With the casts there and back a
    step took longer and needed hardly less memory. Nor on other backends, which choose themselves.
    """
    dtype = keras.backend.standardize_dtype(x.dtype)
    return keras.backend.backend() == "tensorflow" and dtype in ("float32", "float64")


def product(x: Any, kernel: Any, training: bool | None = None) -> Any:
    """`x @ kernel`. If `x` is `recomputed`, this backward pass does not keep it either.

    Args:
        x: `[..., C]`. Only `[rows, C]` is let go.
        kernel: `[C, D]`.
        training: Whether to prepare for a backward pass. In inference TensorFlow fuses the plain
            product with what follows.
    """
    again = getattr(x, "_keras_vit_again", None)
    if again is None or not training or len(x.shape) != 2:
        return ops.matmul(x, kernel)

    def multiply(x: Any, kernel: Any) -> Any:
        return ops.matmul(x, kernel), lambda upstream: (
            ops.matmul(upstream, ops.transpose(kernel)),
            ops.matmul(ops.transpose(again(upstream)), upstream),
        )

    import tensorflow as tf

    return tf.custom_gradient(multiply)(x, tf.convert_to_tensor(kernel))


def after(upstream: Any, *tensors: Any) -> list[Any]:
    """Tensors that wait for a gradient, for what is computed again from them.

    Without an order TensorFlow finds that the first pass computes the same, and keeps that.
    """
    import tensorflow as tf

    with tf.control_dependencies([upstream]):
        return [tf.identity(tensor) for tensor in tensors]
