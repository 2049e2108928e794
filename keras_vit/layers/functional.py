"""Layer norm, GELU, SwiGLU and attention with the backward pass written out.

In a training step TensorFlow keeps what every operation of the forward pass has made. Here the
backward pass keeps the inputs only, and computes the rest again: one tensor of a layer norm instead
of four, the input of a GELU instead of five, and of the attention neither scores nor weights. What
lies between the products runs as one kernel (`utils/fused.py`), so that this takes no longer.

JAX and PyTorch derive the plain functions: JAX's compiler does both by itself, and a function with
a custom gradient has no forward-mode derivative.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Iterator
from typing import Any

import keras

from keras_vit.layers.base.recomputed import recomputed
from keras_vit.utils.backend import ops
from keras_vit.utils.fused import fused

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
    if training:
        return recomputed(
            lambda x: _gelu(x, kind), lambda upstream, x: _gelu_gradient(upstream, x, kind), x
        )
    # Written as in Keras, so that TensorFlow fuses it with the product before it.
    if kind == "tanh":
        return ops.gelu(x, approximate=True)
    if kind == "quick":
        return x * ops.sigmoid(_QUICK * x)
    return 0.5 * x * (1 + _erf_of_phi(x))


_SLOPE, _CUBE = 2 * math.sqrt(2 / math.pi), 0.044715


def _phi(x: Any, kind: str) -> Any:
    if kind == "tanh":  # (1 + tanh(u)) / 2 = sigmoid(2 u)
        return ops.sigmoid(x * (_SLOPE + _SLOPE * _CUBE * ops.square(x)))
    if kind == "quick":
        return ops.sigmoid(_QUICK * x)
    return 0.5 * (1 + _erf_of_phi(x))


@fused
def _gelu(x: Any, kind: str) -> Any:
    wide = _wide(x)
    return ops.cast(wide * _phi(wide, kind), x.dtype)


@fused
def _gelu_gradient(upstream: Any, x: Any, kind: str) -> Any:
    wide = _wide(x)
    phi = _phi(wide, kind)
    if kind == "tanh":
        slope = _SLOPE + 3 * _SLOPE * _CUBE * ops.square(wide)
        density = slope * phi * (1 - phi)
    elif kind == "quick":
        density = _QUICK * phi * (1 - phi)
    else:
        density = ops.exp(-0.5 * ops.square(wide)) * (1 / math.sqrt(2 * math.pi))
    return ops.cast(_wide(upstream) * (phi + wide * density), x.dtype)


def _wide(x: Any) -> Any:
    """In float32 at least."""
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


def _erf_of_phi(x: Any) -> Any:
    """2 Phi(x) - 1; written out because Keras's exact GELU uses an operation that ONNX lacks."""
    return ops.erf(x / math.sqrt(2))


def swiglu(gate: Any, value: Any, training: bool | None = None) -> Any:
    """SwiGLU without its products (Shazeer, arXiv 2002.05202): silu(gate) * value.

    Args:
        gate: Any shape.
        value: The same shape.
        training: Whether to prepare for a backward pass.
    """
    if training:
        return recomputed(_swiglu, _swiglu_gradient, gate, value)
    return ops.silu(gate) * value


@fused
def _swiglu(gate: Any, value: Any) -> Any:
    wide = _wide(gate)
    return ops.cast(wide * ops.sigmoid(wide) * _wide(value), value.dtype)


@fused
def _swiglu_gradient(upstream: Any, gate: Any, value: Any) -> Any:
    upstream, wide = _wide(upstream), _wide(gate)
    share = ops.sigmoid(wide)
    silu = wide * share
    of_gate = upstream * _wide(value) * (share + silu * (1 - share))
    return ops.cast(of_gate, gate.dtype), ops.cast(upstream * silu, value.dtype)


def layer_norm(x: Any, gamma: Any, beta: Any, epsilon: float, training: bool | None = None) -> Any:
    """Layer norm over the last axis, in float32 at least.

    Args:
        x: `[..., D]`.
        gamma: `[D]`.
        beta: `[D]`.
        epsilon: Added to the variance.
        training: Whether to prepare for a backward pass.

    Returns:
        `[..., D]` in the dtype of `x`.
    """
    if not training:
        return _scaled(x, gamma, beta, epsilon)
    return recomputed(
        lambda *inputs: _layer_norm(*inputs, epsilon),
        lambda upstream, *inputs: _layer_norm_gradient(upstream, *inputs, epsilon),
        x,
        _wide(gamma),
        _wide(beta),
    )


def _mean(values: Any) -> Any:
    return ops.mean(values, axis=-1, keepdims=True)


def _normed(x: Any, epsilon: float) -> Any:
    wide = _wide(x)
    centred = wide - _mean(wide)
    scale = ops.rsqrt(_mean(ops.square(centred)) + epsilon)
    return centred * scale, scale


def _scaled(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    return ops.cast(_normed(x, epsilon)[0] * _wide(gamma) + _wide(beta), x.dtype)


_layer_norm = fused(_scaled)


@fused
def _layer_norm_gradient(
    upstream: Any, x: Any, gamma: Any, beta: Any, epsilon: float
) -> tuple[Any, Any, Any]:
    normed, scale = _normed(x, epsilon)
    upstream = _wide(upstream)
    of_normed = upstream * _wide(gamma)
    # What changes the mean or the variance has no effect.
    of_x = of_normed - _mean(of_normed) - normed * _mean(of_normed * normed)
    sums = tuple(range(len(x.shape) - 1))
    of_gamma, of_beta = ops.sum(upstream * normed, axis=sums), ops.sum(upstream, axis=sums)
    return (
        ops.cast(scale * of_x, x.dtype),
        ops.cast(of_gamma, gamma.dtype),
        ops.cast(of_beta, beta.dtype),
    )


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
    if training and not recordings:
        return recomputed(
            lambda q, k, v: _mixed(_softmax(_scores(q, k)), v, mask),
            lambda upstream, q, k, v: _attention_gradient(upstream, q, k, v, mask),
            query,
            key,
            value,
        )
    weights = ops.softmax(_wide(_scores(query, key)))
    for recording in recordings:
        recording.append(weights)
    return _mixed(ops.cast(weights, value.dtype), value, mask)


def _scores(query: Any, key: Any) -> Any:
    return ops.matmul(query, _transposed(key))  # [B, H, N, N]


def _softmax(scores: Any) -> Any:
    return ops.cast(ops.softmax(_wide(scores)), scores.dtype)


def _mixed(weights: Any, value: Any, mask: Any) -> Any:
    return ops.transpose(ops.matmul(_masked(weights, mask), value), _SWAPPED)


def _attention_gradient(upstream: Any, query: Any, key: Any, value: Any, mask: Any) -> Any:
    weights = _softmax(_scores(query, key))
    upstream = ops.transpose(upstream, _SWAPPED)
    of_weights = _masked(ops.matmul(upstream, _transposed(value)), mask)
    of_scores = _softmax_gradient(of_weights, weights)
    return (
        ops.matmul(of_scores, key),
        ops.matmul(_transposed(of_scores), query),
        ops.matmul(_transposed(_masked(weights, mask)), upstream),
    )


@fused
def _softmax_gradient(upstream: Any, weights: Any) -> Any:
    upstream, wide = _wide(upstream), _wide(weights)
    mean = ops.sum(upstream * wide, axis=-1, keepdims=True)
    return ops.cast(wide * (upstream - mean), weights.dtype)


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
