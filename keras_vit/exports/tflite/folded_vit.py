"""The forward pass of a folded ViT, in the operations that TFLite runs fastest.

Shape letters: B images, H heads, N tokens, P prefix tokens (the class token and the registers),
D width, d = D / H. A block is 30 operations (43 as Keras's own layers convert), and XNNPACK takes
all of them: a slice that drops an axis, `x[:, 0]`, would end its partition, and so would a
split. Rows `[B * N, D]` make every product a FULLY_CONNECTED with its weights laid out for it.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from keras_vit.exports.tflite.fold import Arrays, blocks_of

GELUS = {
    "tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "exact": tf.nn.gelu,
    "quick": lambda x: x * tf.sigmoid(1.702 * x),
}
ACTIVATIONS = {"linear": tf.identity, "softmax": tf.nn.softmax, "sigmoid": tf.sigmoid}


@dataclasses.dataclass(frozen=True)
class FoldedConfig:
    """What the arrays of a ViT do not say.

    Attributes:
        patch_size: Pixels of a side (of the stem's output, where there is one).
        num_heads: Of every block.
        gelu: A key of `GELUS`.
        epsilon: Of the layer norms.
        pooling: `"token"`, `"avg"`, `"token+avg"` or `"token+distillation"`.
        norm_after_pooling: Whether the last norm follows the pooling.
        padding: Of the patch projection, `"VALID"` or `"SAME"`.
        activation: Of the head, a key of `ACTIVATIONS`.
        stem: What makes of images what is cut into patches; `None` for the images.
        tail: What makes scores of the normalised features, in place of the arrays' own head.
    """

    patch_size: int
    num_heads: int
    gelu: str
    epsilon: float
    pooling: str
    norm_after_pooling: bool
    padding: Literal["VALID", "SAME"]
    activation: str
    stem: keras.Model | None = None
    tail: keras.Model | None = None


class FoldedViT(tf.Module):
    """A ViT of folded arrays, for images of one size.

    Args:
        arrays: From `keras_vit.exports.tflite.fold.merge_tokens(fold(...))`.
        config: The rest of it.
    """

    def __init__(self, arrays: Arrays, config: FoldedConfig):
        super().__init__()
        self.config = config
        self._blocks = blocks_of(arrays)
        # Variables for the converter to find and the signatures to share.
        self._weights: dict[str, Any] = {
            name: tf.Variable(tf.constant(array), trainable=False) for name, array in arrays.items()
        }

    def __call__(self, images: Any) -> Any:
        """float32 `[B, rows, columns, C]`, B known, to `[B, classes]`."""
        config = self.config
        batch = images.shape[0]

        # Image to tokens.
        if config.stem is not None:
            images = config.stem(images, training=False)
        patches = self._patches(images)  # [B * N, p * p * C]
        width = self._weights["patches"].shape[-1]
        tokens: Any = tf.reshape(
            self.dense("patch_embed/projection", patches), (batch, -1, width)
        )  # [B, N, D]
        tokens += self._weights["patches"]
        num_prefix_tokens = 0
        if "prefix" in self._weights:
            prefix = self._weights["prefix"]  # [1, P, D]
            num_prefix_tokens = prefix.shape[1]
            tokens = tf.concat([tf.repeat(prefix, batch, axis=0), tokens], axis=1)
        # What the pooling reads: behind the attention of the last block nothing else is needed.
        first, count = 0, 1
        if config.pooling == "avg":
            first, count = num_prefix_tokens, tokens.shape[1] - num_prefix_tokens
        elif config.pooling != "token":
            count = 2 if config.pooling == "token+distillation" else tokens.shape[1]

        # The encoder, on rows.
        rows = tf.reshape(tokens, (-1, width))  # [B * N, D]
        for block in self._blocks:
            queries = normed = _normalise(rows, config.epsilon)
            asking = 0  # the first token that asks
            if block == self._blocks[-1]:
                queries, rows = (_cut(x, batch, first, count) for x in (queries, rows))
                asking = first
            rows = rows + self._attention(f"{block}/attention", queries, normed, batch, asking)
            rows = rows + self._mlp(f"{block}/mlp", _normalise(rows, config.epsilon))
        if not self._blocks:
            rows = _cut(rows, batch, first, count)

        # Tokens to scores.
        if not config.norm_after_pooling:
            rows = self._last_norm("encoder_norm", rows)
        if config.pooling != "token":
            patches = tf.reshape(rows, (batch, count, width))
            if config.pooling == "avg":
                rows = tf.reduce_mean(patches, axis=1)  # [B, D]
            elif config.pooling == "token+distillation":
                rows = tf.reshape(patches, (batch, 2 * width))
            else:
                mean = tf.reduce_mean(patches[:, num_prefix_tokens:], axis=1)
                rows = tf.concat([_cut(rows, batch, 0, 1), mean], axis=1)  # [B, 2 D]
        if config.norm_after_pooling:
            rows = self._last_norm("pooled_norm", rows)
        if config.tail is not None:
            return config.tail(rows, training=False)
        if "pre_logits/kernel" in self._weights:
            rows = tf.tanh(self.dense("pre_logits", rows))
        return ACTIVATIONS[config.activation](self.dense("head", rows))

    def _patches(self, images: Any) -> Any:
        """`[B, rows, columns, C]` to rows `[B * N, p * p * C]`, a patch each.

        A dense layer of patches, not the convolution that it is: in 8 bits each patch has a scale
        of its own then, where one scale for the image leaves few steps for the plain ones.
        """
        patch = self.config.patch_size
        rows, columns = images.shape[1:3]
        if self.config.padding == "SAME":
            top, left = ((-side % patch) // 2 for side in (rows, columns))
            bottom, right = -rows % patch - top, -columns % patch - left
            images = tf.pad(images, ((0, 0), (top, bottom), (left, right), (0, 0)))
        elif rows % patch or columns % patch:
            images = images[:, : rows - rows % patch, : columns - columns % patch]
        if patch > 1:
            images = tf.nn.space_to_depth(images, patch)
        return tf.reshape(images, (-1, images.shape[-1]))

    def _attention(self, name: str, queries: Any, rows: Any, batch: int, first: int) -> Any:
        """Rows `[B * M, D]` ask rows `[B * N, D]`; the queries come scaled from their weights.

        Those that ask are the tokens from `first` on.
        """
        heads = self.config.num_heads
        width = rows.shape[-1]
        if queries.shape[0] == batch and "rotation" not in self._weights:
            return self._attention_of_one(name, queries, rows)

        def split_heads(x: Any) -> Any:  # [B * N, D] -> [B, H, N, d]
            return tf.transpose(tf.reshape(x, (batch, -1, heads, width // heads)), (0, 2, 1, 3))

        query = self._rotated(split_heads(self.dense(f"{name}/query", queries)), first)
        key = self._rotated(split_heads(self.dense(f"{name}/key", rows)), 0)
        value = split_heads(self.dense(f"{name}/value", rows))
        weights = tf.nn.softmax(tf.matmul(query, key, transpose_b=True))  # [B, H, M, N]
        mixed = tf.transpose(tf.matmul(weights, value), (0, 2, 1, 3))  # [B, M, H, d]
        return self.dense(f"{name}/out", tf.reshape(mixed, (-1, width)))

    def _attention_of_one(self, name: str, queries: Any, rows: Any) -> Any:
        """Rows `[B, D]`, one of each image, ask rows `[B * N, D]`, which have no keys and values.

        As in `exports.onnx.attention.attention_of_one`, which says why.
        """
        batch, width = queries.shape
        heads = self.config.num_heads
        of_head = np.repeat(np.eye(heads, dtype="float32"), width // heads, axis=1)  # [H, D]
        tokens = tf.reshape(rows, (batch, -1, width))

        query = tf.reshape(self.dense(f"{name}/query", queries), (batch, 1, width)) * of_head
        keys = self._weights[f"{name}/key/kernel"]
        query = tf.matmul(tf.reshape(query, (-1, width)), keys, transpose_b=True)  # [B * H, D]
        query = tf.reshape(query, (batch, heads, width))
        weights = tf.nn.softmax(tf.matmul(query, tokens, transpose_b=True))  # [B, H, N]
        mixed = tf.reshape(tf.matmul(weights, tokens), (-1, width))  # [B * H, D]
        values = tf.reshape(self.dense(f"{name}/value", mixed), (batch, heads, width))
        # A mean of H times as much: XNNPACK has that for certain.
        mixed = tf.reduce_mean(values * (heads * of_head), axis=1)  # [B, D]
        return self.dense(f"{name}/out", mixed)

    def _rotated(self, heads: Any, first: int) -> Any:
        """Rotary positions, where the model has them; `heads` are of the tokens from `first` on."""
        if "rotation" not in self._weights:
            return heads
        count, half = heads.shape[2], heads.shape[3] // 2
        rotation = self._weights["rotation"][first : first + count]
        cos, sin = rotation[:, :half], rotation[:, half:]  # [N, d / 2]
        a, b = heads[:, :, :, :half], heads[:, :, :, half:]
        return tf.concat([a * cos - b * sin, b * cos + a * sin], axis=-1)

    def _mlp(self, name: str, rows: Any) -> Any:
        """`[R, D]` to `[R, D]`."""
        hidden = self.dense(f"{name}/dense_1", rows)
        if f"{name}/gate/kernel" in self._weights:  # a SwiGLU
            gate = self.dense(f"{name}/gate", rows)
            hidden = gate * tf.sigmoid(gate) * hidden
        else:
            hidden = GELUS[self.config.gelu](hidden)
        return self.dense(f"{name}/dense_2", hidden)

    def dense(self, name: str, rows: Any) -> Any:
        """`[R, in]` to `[R, out]`; every product with weights goes through it."""
        product = tf.matmul(rows, self._weights[f"{name}/kernel"])
        bias = f"{name}/bias"
        return product + self._weights[bias] if bias in self._weights else product

    def _last_norm(self, name: str, rows: Any) -> Any:
        normed = _normalise(rows, self.config.epsilon)
        if f"{name}/gamma" not in self._weights:  # the head has them
            return normed
        return normed * self._weights[f"{name}/gamma"] + self._weights[f"{name}/beta"]


def _normalise(rows: Any, epsilon: float) -> Any:
    """The layer norm of centred rows, whose gamma and beta are elsewhere."""
    # `x * x`: the 16-bit kernels of TFLite have no SQUARE.
    return rows * tf.math.rsqrt(tf.reduce_mean(rows * rows, axis=-1, keepdims=True) + epsilon)


def _cut(rows: Any, batch: int, first: int, count: int) -> Any:
    """Of `[B * N, D]`, `count` tokens of every image: `[B * count, D]`."""
    width = rows.shape[-1]
    tokens = tf.reshape(rows, (batch, -1, width))
    return tf.reshape(tokens[:, first : first + count], (-1, width))
