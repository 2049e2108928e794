"""What the backward pass computes again because that is cheaper than to keep it.

Norms, GELUs and attention weights are quick to compute and large, and products need them a second
time, for the gradients of their kernels. TensorFlow without XLA keeps them from one pass to
the other. Here `recomputed` marks such a tensor, and the `product` that reads it lets it go. (Chen
et al., arXiv 1604.06174, do the same to whole blocks, products included: `rematerialise.py`.)

JAX and PyTorch derive the plain functions: JAX's compiler chooses by itself what it keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_vit.utils.backend import ops


def recomputed(function: Callable[..., Any], gradient: Callable[..., Any], *inputs: Any) -> Any:
    """`function(*inputs)`, of which only the inputs are kept for the backward pass.

    Args:
        function: Takes the inputs, and runs again. It must be cheap.
        gradient: Takes the gradient of the result, then the inputs; returns that of each input.
        *inputs: Tensors.
    """
    if keras.backend.backend() != "tensorflow":
        return function(*inputs)
    results: list[Any] = []  # all products after it read one

    def again(upstream: Any) -> Any:
        if not results:
            results.append(function(*after(upstream, *inputs)))
        return results[0]

    def first(*inputs: Any) -> Any:
        def derive(upstream: Any) -> Any:
            results.clear()  # the last of one backward pass; another may be in another graph
            return gradient(upstream, *after(upstream, *inputs))

        return function(*inputs), derive

    result = ops.custom_gradient(first)(*inputs)
    result._keras_vit_again = again
    return result


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
