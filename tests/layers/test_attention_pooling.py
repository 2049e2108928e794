"""The head of SigLIP: a learned query looks at the patches."""

from __future__ import annotations

import math

import numpy as np
import pytest
from keras import ops

from keras_vit import layers

pytestmark = pytest.mark.any_backend


def test_attention_pooling_against_numpy():
    """Each patch is weighted by what the probe asks; the prefix tokens have no part."""
    x = np.random.default_rng(3).normal(size=(2, 6, 4)).astype("float32")
    layer = layers.AttentionPooling(2, 5, "exact", epsilon=0.1, num_prefix_tokens=1)
    layer.build((None, 6, 4))
    random = np.random.default_rng(1)
    for variable in layer.weights:
        variable.assign(random.normal(size=variable.shape))
    found = ops.convert_to_numpy(layer(x))
    w = {"/".join(v.path.split("/")[-2:]): ops.convert_to_numpy(v) for v in layer.weights}
    probe = ops.convert_to_numpy(layer.probe)[0, 0]
    query = probe @ w["query/kernel"] + w["query/bias"]
    keys, values = (x[:, 1:] @ w[f"{n}/kernel"] + w[f"{n}/bias"] for n in ("key", "value"))
    mixed = np.zeros((2, 4))
    for image in range(2):
        for head in (slice(0, 2), slice(2, 4)):
            scores = np.exp(keys[image, :, head] @ query[head] / math.sqrt(2))
            mixed[image, head] = scores / scores.sum() @ values[image, :, head]
    mixed = mixed @ w["out/kernel"] + w["out/bias"]
    centred = mixed - mixed.mean(axis=1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 0.1)
    hidden = (normed * w["norm/gamma"] + w["norm/beta"]) @ w["dense_1/kernel"] + w["dense_1/bias"]
    hidden = hidden * [[0.5 * (1 + math.erf(v / math.sqrt(2))) for v in row] for row in hidden]
    expected = mixed + hidden @ w["dense_2/kernel"] + w["dense_2/bias"]
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


def test_the_attention_of_a_pooling_is_not_that_of_a_block():
    from keras_vit.layers.functional import record_attention

    x = np.random.default_rng(0).normal(size=(2, 7, 12)).astype("float32")
    with record_attention() as recording:
        layers.AttentionPooling(3, 8)(layers.MultiHeadSelfAttention(3)(x))
    assert [tuple(weights.shape) for weights in recording] == [(2, 3, 7, 7)]
