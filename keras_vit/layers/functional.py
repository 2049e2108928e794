"""Layer norm, GELU, SwiGLU and attention with the backward pass written out.

TensorFlow without XLA runs each operation of a derivative as a kernel of its own, which reads and
writes all tokens, and keeps what every operation of the forward pass has made. Written out, the
backward pass has fewer operations and keeps less. In float32 it is one tensor of a layer norm
instead of four, the input of a GELU instead of five, and of the attention neither scores nor
weights; in 16 bits two of a GELU, and the weights once. On JAX the plain functions run: its
compiler fuses by itself, and a function with a custom gradient has no forward-mode derivative.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Iterator
from typing import Any

import keras

from keras_vit.layers.base.recomputed import after, is_worth_again, recomputed, with_gradient
from keras_vit.utils.backend import ops

GELUS = ("tanh", "exact", "quick")
_QUICK = 1.702

_recordings: contextvars.ContextVar[tuple[list[Any], ...]] = contextvars.ContextVar(
    "attention_recordings", default=()
)


@contextlib.contextmanager
def record_attention() -> Iterator[list[Any]]:
    """Collects the attention weights of every block that runs eagerly inside the `with`.

    Yields:
        A list that grows by one `[B, H, N, N]` float32 tensor per attention layer, in the
        order in which they run. A compiled function that was traced before adds nothing.
    """
    recording: list[Any] = []
    token = _recordings.set((*_recordings.get(), recording))
    try:
        yield recording
    finally:
        _recordings.reset(token)


def gelu(x: Any, kind: str, training: bool | None = None) -> Any:
    """GELU, x Phi(x).

    Args:
        x: Any shape.
        kind: `"tanh"` is the approximation that the original code uses, `"exact"` the erf form,
            `"quick"` is CLIP's x sigmoid(1.702 x).
        training: Whether to prepare for a backward pass.
    """
    if keras.backend.backend() == "tensorflow" and not training:
        # Written as in Keras, so that TensorFlow fuses it with the product before it; a custom
        # gradient would prevent that. Training fuses nothing: its backward pass needs the input.
        if kind == "tanh":
            return ops.gelu(x, approximate=True)
        if kind == "quick":
            return x * ops.sigmoid(_QUICK * x)
        return 0.5 * x * (1 + _erf_of_phi(x))
    return recomputed(lambda x: _gelu_and_gradient(x, kind), x)


_SLOPE, _CUBE = 2 * math.sqrt(2 / math.pi), 0.044715


def _gelu_and_gradient(x: Any, kind: str) -> Any:
    # In float32: compilers and kernels round to bfloat16 after every operation, which takes longer.
    wide = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    square = ops.square(wide)
    if kind == "tanh":  # (1 + tanh(u)) / 2 = sigmoid(2 u)
        phi = ops.sigmoid(wide * (_SLOPE + _SLOPE * _CUBE * square))
        density = _sigmoid_gradient(phi, _SLOPE + 3 * _SLOPE * _CUBE * square)
    elif kind == "quick":
        phi = ops.sigmoid(_QUICK * wide)
        density = _QUICK * phi * (1 - phi)
    else:
        phi = 0.5 * (1 + _erf_of_phi(wide))
        density = ops.exp(-0.5 * square) * (1 / math.sqrt(2 * math.pi))
    slope = ops.cast(phi + wide * density, x.dtype)
    return ops.cast(wide * phi, x.dtype), lambda upstream: upstream * slope


def _erf_of_phi(x: Any) -> Any:
    """2 Phi(x) - 1; written out because Keras's exact GELU uses an operation that ONNX lacks."""
    return ops.erf(x / math.sqrt(2))


def _sigmoid_gradient(sigmoid: Any, upstream: Any) -> Any:
    """`upstream * sigmoid * (1 - sigmoid)`, by TensorFlow in one pass over the tensors."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.raw_ops.SigmoidGrad(y=sigmoid, dy=upstream)
    return upstream * sigmoid * (1 - sigmoid)


def swiglu(gate: Any, value: Any, training: bool | None = None) -> Any:
    """SwiGLU without its products (Shazeer, arXiv 2002.05202): silu(gate) * value.

    Args:
        gate: Any shape.
        value: The same shape.
        training: Whether to prepare for a backward pass.
    """
    if keras.backend.backend() == "tensorflow" and not training:
        return ops.silu(gate) * value

    def gated(gate: Any, value: Any) -> Any:
        dtype = keras.backend.result_type(gate.dtype, "float32")
        wide, factor = ops.cast(gate, dtype), ops.cast(value, dtype)
        share = ops.sigmoid(wide)
        silu = wide * share
        slope = share + silu * (1 - share)
        of_gate, of_value = ops.cast(slope * factor, gate.dtype), ops.cast(silu, value.dtype)
        product = ops.cast(silu * factor, value.dtype)
        return product, lambda upstream: (upstream * of_gate, upstream * of_value)

    return recomputed(gated, gate, value)


def layer_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """Layer norm over the last axis, in float32 at least.

    Args:
        x: `[..., D]`.
        gamma: `[D]`.
        beta: `[D]`.
        epsilon: Added to the variance.

    Returns:
        `[..., D]` in the dtype of `x`.
    """
    dtype = keras.backend.result_type(x.dtype, "float32")
    sums = tuple(range(len(x.shape) - 1))

    def mean(values: Any) -> Any:
        return ops.mean(values, axis=-1, keepdims=True)

    def norm(x: Any) -> Any:
        wide = ops.cast(x, dtype)
        centre = mean(wide)
        centred = wide - centre
        scale = ops.rsqrt(mean(ops.square(centred)) + epsilon)
        normed = centred * scale

        def gradient(upstream: Any) -> Any:
            # What changes the mean or the variance has no effect.
            of_x = upstream - mean(upstream) - normed * mean(upstream * normed)
            return ops.cast(scale * of_x, x.dtype)

        return normed, gradient

    def scaled(normed: Any, gamma: Any, beta: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            wide = ops.cast(upstream, dtype)
            return wide * gamma, ops.sum(wide * normed, axis=sums), ops.sum(wide, axis=sums)

        return ops.cast(normed * gamma + beta, x.dtype), gradient

    normed = with_gradient(norm, x)
    return recomputed(scaled, normed, ops.cast(gamma, dtype), ops.cast(beta, dtype))


def attention(
    query: Any,
    key: Any,
    value: Any,
    mask: Any = None,
    recorded: bool = True,
    training: bool | None = None,
) -> Any:
    """softmax(Q K^T) V, the softmax in float32 at least (paper, appendix A).

    Args:
        query: `[B, H, N, d]`, scaled.
        key: `[B, H, N, d]`.
        value: `[B, H, N, d]`.
        mask: `[B, H, N, N]` factors of the attention weights (dropout), or `None`.
        recorded: Whether `record_attention` collects the weights.
        training: Whether to prepare for a backward pass.

    Returns:
        `[B, N, H, d]`.
    """
    recordings = _recordings.get() if recorded else ()
    if _has_kernel(query) and mask is None and not recordings:
        # The kernel of a GPU makes no [B, H, N, N].
        heads_inside = (ops.transpose(x, _SWAPPED) for x in (query, key, value))
        return ops.dot_product_attention(
            *heads_inside, scale=1.0, flash_attention=_flash(query, key, training)
        )

    dtype = keras.backend.result_type(query.dtype, "float32")

    def weigh(query: Any, key: Any) -> Any:
        scores = ops.matmul(query, _transposed(key))  # [B, H, N, N]
        return ops.softmax(ops.cast(scores, dtype))

    def attend(query: Any, key: Any, value: Any) -> Any:
        weights = weigh(query, key)
        for recording in recordings:
            recording.append(weights)
        weights = ops.cast(weights, value.dtype)
        mixed = ops.transpose(ops.matmul(_masked(weights, mask), value), _SWAPPED)
        kept = None if is_worth_again(query) else weights

        def gradient(upstream: Any) -> Any:
            weights = kept
            if weights is None:
                weights = ops.cast(weigh(*after(upstream, query, key)), value.dtype)
            # The softmax subtracts the mean of its gradient, weighted by `weights`, for every
            # query; that is the product of the output and its gradient, over d channels and
            # not N keys (FlashAttention, Dao et al. 2022, appendix B).
            product = ops.cast(upstream, dtype) * ops.cast(mixed, dtype)
            mean = ops.cast(ops.sum(product, axis=-1, keepdims=True), value.dtype)
            mean, upstream = (ops.transpose(x, _SWAPPED) for x in (mean, upstream))
            of_weights = _masked(ops.matmul(upstream, _transposed(value)), mask)
            of_scores = weights * (of_weights - mean)
            return (
                ops.matmul(of_scores, key),
                ops.matmul(_transposed(of_scores), query),
                ops.matmul(_transposed(_masked(weights, mask)), upstream),
            )

        return mixed, gradient

    return with_gradient(attend, query, key, value)


def _has_kernel(query: Any) -> bool:
    """Whether the backend has an attention of its own for the dtype.

    JAX's sums products of float16 in float32, which fails on a CPU.
    """
    backend = keras.backend.backend()
    dtype = keras.backend.standardize_dtype(query.dtype)
    return backend != "tensorflow" and (backend, dtype) != ("jax", "float16")


def _flash(query: Any, key: Any, training: bool | None) -> bool | None:
    """Whether to take a flash kernel: `False`, or `None` where Keras knows.

    JAX 0.10 refuses cuDNN's the gradient where a number of tokens is odd, as 197 are. Keras notices
    that too late: it asks for the forward pass alone, and not at all in a rematerialised block.
    """
    odd = any(x.shape[2] is not None and x.shape[2] % 2 for x in (query, key))
    return False if keras.backend.backend() == "jax" and training and odd else None


_SWAPPED = (0, 2, 1, 3)  # [B, H, N, d] -> [B, N, H, d], and back


def _masked(weights: Any, mask: Any) -> Any:
    return weights if mask is None else weights * mask


def _transposed(x: Any) -> Any:
    """[B, H, N, M] -> [B, H, M, N]; TensorFlow does it inside the product."""
    return ops.transpose(x, (0, 1, 3, 2))
