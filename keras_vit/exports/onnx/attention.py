"""Attention as ONNX operators: of all tokens, and of a single one."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from keras_vit.exports.onnx.graph import Graph, as_array, dense_product


def attention(
    graph: Graph,
    asking: str,
    asked: str,
    layer: Any,
    scale: Any,
    rotation: str | None = None,
    mask: str | None = None,
) -> str:
    """`[B, M, D]` ask `[B, N, D]`; `scale` multiplies what comes out, scores have `mask` added."""
    width = int(layer.out.kernel.shape[0])
    head_dim = width // layer.num_heads
    heads = []
    for name, order in (("query", (0, 2, 1, 3)), ("key", (0, 2, 3, 1)), ("value", (0, 2, 1, 3))):
        factor = np.float32(1 / math.sqrt(head_dim)) if name == "query" else None
        x = asking if name == "query" else asked
        rows = dense_product(graph, x, getattr(layer, name), f"attention/{name}", factor)
        split = graph.op("Reshape", rows, graph.ints(0, 0, layer.num_heads, head_dim))
        # Of the last block the class token alone may ask: it is not turned.
        if rotation is not None and (name == "key" or (name == "query" and asking == asked)):
            split = _rotated(graph, split, rotation)
        heads.append(graph.op("Transpose", split, perm=order))
    query, key, value = heads  # [B, H, N, d], [B, H, d, N], [B, H, N, d]
    scores = graph.op("MatMul", query, key)
    if mask is not None:
        scores = graph.op("Add", scores, mask)
    weights = graph.op("Softmax", scores, axis=-1)
    mixed = graph.op("Transpose", graph.op("MatMul", weights, value), perm=[0, 2, 1, 3])
    mixed = graph.op("Reshape", mixed, graph.ints(0, 0, width))
    return dense_product(graph, mixed, layer.out, "attention/out", scale)


def attention_of_one(graph: Graph, asking: str, asked: str, layer: Any, scale: Any = None) -> str:
    """The attention of a single token, without the keys and values of the others.

    With one query q the scores q (x K)^T are (q K^T) x^T, and what is mixed, w (x V), is (w x) V:
    of D x D products for each token none is left, one for each head is. The bias of the keys adds
    the same to all scores of a head, which the softmax ignores; that of the values is added once,
    as weights sum to 1.
    """
    width, heads = int(layer.out.kernel.shape[0]), layer.num_heads
    of_head = np.repeat(np.eye(heads), width // heads, axis=1)  # [H, D]: 1 where a head has it
    of_head = graph.weight("attention/of_head", of_head)
    factor = np.float32(1 / math.sqrt(width // heads))
    query = dense_product(graph, asking, layer.query, "attention/query", factor)  # [B, 1, D]
    query = graph.op("Mul", query, of_head)  # [B, H, D]
    keys = graph.kernel("attention/key/kernel", as_array(layer.key.kernel).T, axis=1)
    query = graph.op("MatMul", query, keys)
    scores = graph.op("MatMul", query, graph.op("Transpose", asked, perm=[0, 2, 1]))  # [B, H, N]
    mixed = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), asked)  # [B, H, D]
    values = dense_product(graph, mixed, layer.value, "attention/value")
    values = graph.op("Mul", values, of_head)
    mixed = graph.op("ReduceSum", values, graph.ints(1), keepdims=1)  # [B, 1, D]
    return dense_product(graph, mixed, layer.out, "attention/out", scale)


def _rotated(graph: Graph, heads: str, rotation: str) -> str:
    """`layers.rotary_embedding.rotated` for `[B, N, H, d]`."""
    (first, second), (cos, sin) = (graph.halves(x) for x in (heads, rotation))
    mul = functools.partial(graph.op, "Mul")
    turned = (
        graph.op("Sub", mul(first, cos), mul(second, sin)),
        graph.op("Add", mul(second, cos), mul(first, sin)),
    )
    return graph.op("Concat", *turned, axis=-1)
