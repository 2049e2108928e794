"""The matrix products of a ViT alone, of the same sizes and with weights of each layer.

No library that multiplies these matrices with TensorFlow's kernels can be faster. Every product has
a weight of its own, as in the model, so that no cache holds what a model would have to fetch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.contestants import CLASSES
from benchmarks.contestants.weights import vit


def build(
    model: str, size: int, batch: int, precision: str, training: bool, folder: str, mode: str = ""
) -> Any:
    del folder, mode  # random numbers do, and there is one way
    row = vit(model)
    rng = np.random.default_rng(0)

    def random(*shape: int) -> Any:
        values = rng.normal(0, 0.05, shape).astype("float32")
        return tf.Variable(tf.cast(values, precision))

    patches, width, hidden = (size // row.patch_size) ** 2, row.width, row.mlp_dim
    tokens, heads = patches + 1, row.num_heads
    depth = range(row.depth)
    rows, wide = random(batch * tokens, width), random(batch * tokens, hidden)
    # (input, weight) of each dense layer; both are all that the sizes of its gradients need.
    dense = [(rows, random(width, width)) for _ in range(4 * row.depth)]
    dense += [(rows, random(width, hidden)) for _ in depth]
    dense += [(wide, random(hidden, width)) for _ in depth]
    dense.append(
        (random(batch * patches, row.patch_size**2 * 3), random(row.patch_size**2 * 3, width))
    )
    dense.append((random(batch, width), random(width, CLASSES)))
    # (queries, attention maps) of each block; equal products would be computed once.
    of_heads, of_maps = (batch, heads, tokens, width // heads), (batch, heads, tokens, tokens)
    attention = [(random(*of_heads), random(*of_maps)) for _ in depth]

    def products() -> list[Any]:
        results = []
        for x, weight in dense:
            y = tf.matmul(x, weight)
            results.append(y)
            if training:  # of the weight, and of the input
                results += [
                    tf.matmul(x, y, transpose_a=True),
                    tf.matmul(y, weight, transpose_b=True),
                ]
        for queries, maps in attention:
            scores = tf.matmul(queries, queries, transpose_b=True)
            mixed = tf.matmul(maps, queries)
            results += [scores, mixed]
            if training:
                results += [
                    tf.matmul(scores, queries),
                    tf.matmul(scores, queries, transpose_a=True),
                    tf.matmul(maps, mixed, transpose_a=True),
                    tf.matmul(mixed, queries, transpose_b=True),
                ]
        return results

    @tf.function(autograph=False)
    def step() -> Any:
        # A number of each result: what nobody asks for, TensorFlow leaves out.
        return tf.add_n([tf.reshape(result, (-1,))[0] for result in products()])

    return lambda: step().numpy(), {}
