"""The Transformer encoder block (paper, eq. 2 and 3): attention, MLP, and what joins them.

Shape letters: B images, N tokens, D width, H heads, d = D / H.

Norms, projections and the MLP work on rows, `[B * N, D]`: they treat each token by itself,
whichever image it belongs to. Only attention looks at an image as a whole, `[B, H, N, N]`. The
reason is speed: TensorFlow fuses a 2-D product, its bias and its GELU into one kernel; with
`[B, N, D]` a reshape stands between them, and nothing is fused.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from keras_vit.layers.base.composite import Composite
from keras_vit.layers.base.rematerialise import rematerialised
from keras_vit.layers.functional import GELUS, attention
from keras_vit.layers.mlp import MLPBlock, RowsDense, to_rows, to_tokens
from keras_vit.layers.norm import LayerNorm
from keras_vit.layers.residual import LayerScale, StochasticDepth
from keras_vit.layers.rotary_embedding import rotated
from keras_vit.utils.backend import ops


@keras.saving.register_keras_serializable(package="keras_vit")
class MultiHeadSelfAttention(Composite):
    """Multi-head self-attention (paper, appendix A).

    The queries are scaled by 1/sqrt(d) before the product; the softmax is in float32.

    Args:
        num_heads: Number of heads; divides the width.
        dropout_rate: Dropout of the attention weights, in [0, 1).
        key_bias: Whether the keys have a bias.

    Input: `[B, N, D]`, and optionally what `RotaryEmbedding` gives. Output: `[B, N, D]`.

    Raises:
        ValueError: If the width is not a multiple of `num_heads`.
    """

    def __init__(
        self, num_heads: int, dropout_rate: float = 0.0, key_bias: bool = True, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.dropout_rate = dropout_rate
        self.key_bias = key_bias
        self.dropout = self.part(keras.layers.Dropout, dropout_rate, name="dropout")

    def build(self, input_shape: Any) -> None:
        width = input_shape[-1]
        if width % self.num_heads != 0:
            raise ValueError(
                f"The width must be a multiple of `num_heads`. Received: width={width}, "
                f"num_heads={self.num_heads}"
            )
        self.query = self.part(RowsDense, width, name="query")
        self.key = self.part(RowsDense, width, use_bias=self.key_bias, name="key")
        self.value = self.part(RowsDense, width, name="value")
        self.out = self.part(RowsDense, width, name="out")
        for dense in (self.query, self.key, self.value, self.out):
            dense.build((None, width))

    def call(self, tokens: Any, rotation: Any = None, training: bool | None = None) -> Any:
        num_tokens = ops.shape(tokens)[1]
        return to_tokens(self.attend(to_rows(tokens), num_tokens, training, rotation), num_tokens)

    def attend(
        self, rows: Any, num_tokens: Any, training: Any, rotation: Any = None, asking: Any = None
    ) -> Any:
        """`call` on rows: `[B * N, D]` -> `[B * N, D]`.

        With `asking`, `[B, D]`, that one token of each image looks at the rows: -> `[B, D]`. The
        attention of a block is recorded, that of such a token is not.
        """
        queries, num_queries = (rows, num_tokens) if asking is None else (asking, 1)
        query = self._split_heads(
            self.query(queries, training=training), num_queries
        )  # [B, H, N, d]
        key, value = (
            self._split_heads(project(rows, training=training), num_tokens)
            for project in (self.key, self.value)
        )
        if rotation is not None:
            query, key = rotated(query, rotation), rotated(key, rotation)
        query = query * (1 / math.sqrt(query.shape[-1]))
        mask = self._dropout_mask(query, num_tokens, training)
        mixed = attention(query, key, value, mask, asking is None, training)  # [B, N, H, d]
        return self.out(ops.reshape(mixed, (-1, rows.shape[-1])))

    def _dropout_mask(self, query: Any, num_tokens: Any, training: bool | None) -> Any:
        """[B, H, N, N]: what dropout multiplies the attention weights by, or `None`."""
        if not training or self.dropout_rate == 0:
            return None
        images, heads, queries, _ = ops.shape(query)
        ones = ops.ones((images, heads, queries, num_tokens), query.dtype)
        return self.dropout(ones, training=True)

    def _split_heads(self, rows: Any, num_tokens: Any) -> Any:
        """[B * N, D] -> [B, H, N, d]."""
        head_dim = rows.shape[-1] // self.num_heads
        heads = ops.reshape(rows, (-1, num_tokens, self.num_heads, head_dim))
        return ops.transpose(heads, (0, 2, 1, 3))

    def compute_output_shape(self, tokens_shape: Any, rotation_shape: Any = None) -> Any:
        return tokens_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "dropout_rate": self.dropout_rate,
            "key_bias": self.key_bias,
        }


@keras.saving.register_keras_serializable(package="keras_vit")
class TransformerBlock(Composite):
    """One encoder block: `x += attention(norm(x))`, then `x += mlp(norm(x))`.

    Args:
        num_heads: Attention heads; divides the width.
        mlp_dim: Hidden channels of the MLP.
        dropout_rate: Dropout after the attention's output, after the GELU, and after the
            MLP's output; in [0, 1).
        attention_dropout_rate: Dropout of the attention weights; in [0, 1).
        stochastic_depth_rate: Probability of dropping a branch, per image; in [0, 1).
        gelu: `"tanh"` (the original), `"exact"` or `"quick"` (CLIP).
        epsilon: Of the layer norms; 1e-6 in the original.
        layer_scale: Initial value of a `LayerScale` after each branch; `None` for none.
        swiglu: Whether the MLP is a SwiGLU; see `MLPBlock`.
        key_bias: Whether the keys of the attention have a bias.
        rematerialise: Whether training keeps only the block's input and computes the rest again
            in the backward pass. It may be set on a built model, before it is compiled.

    Input: `[B, N, D]`, and optionally what `RotaryEmbedding` gives. Output: `[B, N, D]`.
    """

    def __init__(
        self,
        num_heads: int,
        mlp_dim: int,
        dropout_rate: float = 0.0,
        attention_dropout_rate: float = 0.0,
        stochastic_depth_rate: float = 0.0,
        gelu: str = "tanh",
        epsilon: float = 1e-6,
        layer_scale: float | None = None,
        swiglu: bool = False,
        key_bias: bool = True,
        rematerialise: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.mlp_dim = mlp_dim
        self.dropout_rate = dropout_rate
        self.attention_dropout_rate = attention_dropout_rate
        self.stochastic_depth_rate = stochastic_depth_rate
        self.gelu = gelu
        self.epsilon = epsilon
        self.layer_scale = layer_scale
        self.swiglu = swiglu
        self.key_bias = key_bias
        self.rematerialise = rematerialise
        part = self.part
        self.attention_norm = part(LayerNorm, epsilon, name="attention_norm")
        self.attention = part(
            MultiHeadSelfAttention, num_heads, attention_dropout_rate, key_bias, name="attention"
        )
        self.dropout = part(keras.layers.Dropout, dropout_rate, name="dropout")
        self.mlp_norm = part(LayerNorm, epsilon, name="mlp_norm")
        self.mlp = part(MLPBlock, mlp_dim, dropout_rate, gelu, swiglu, name="mlp")
        self.stochastic_depth = part(
            StochasticDepth, stochastic_depth_rate, name="stochastic_depth"
        )
        if layer_scale is not None:
            self.attention_scale = part(LayerScale, layer_scale, name="attention_scale")
            self.mlp_scale = part(LayerScale, layer_scale, name="mlp_scale")

    def build(self, tokens_shape: Any, rotation_shape: Any = None) -> None:
        rows_shape = (None, tokens_shape[-1])
        for layer in (self.attention_norm, self.attention, self.mlp_norm, self.mlp):
            layer.build(rows_shape)
        if self.layer_scale is not None:
            self.attention_scale.build(rows_shape)
            self.mlp_scale.build(rows_shape)

    def call(self, tokens: Any, rotation: Any = None, training: bool | None = None) -> Any:
        if self.rematerialise and training:
            return rematerialised(self, lambda x: self._encode(x, rotation, training), tokens)
        return self._encode(tokens, rotation, training)

    def _encode(self, tokens: Any, rotation: Any, training: bool | None) -> Any:
        num_tokens = ops.shape(tokens)[1]
        rows = to_rows(tokens)

        branch = self.attention.attend(
            self.attention_norm(rows, training=training), num_tokens, training, rotation
        )
        branch = self.dropout(branch, training=training)
        if self.layer_scale is not None:
            branch = self.attention_scale(branch)
        rows = rows + self._drop_branch(branch, num_tokens, training)

        branch = self.mlp(self.mlp_norm(rows, training=training), training=training)
        if self.layer_scale is not None:
            branch = self.mlp_scale(branch)
        rows = rows + self._drop_branch(branch, num_tokens, training)
        return to_tokens(rows, num_tokens)

    def _drop_branch(self, rows: Any, num_tokens: Any, training: bool | None) -> Any:
        if not training or self.stochastic_depth_rate == 0:
            return rows
        return to_rows(self.stochastic_depth(to_tokens(rows, num_tokens), training=True))

    def compute_output_shape(self, tokens_shape: Any, rotation_shape: Any = None) -> Any:
        return tokens_shape

    def save_own_variables(self, store: Any) -> None:
        # The shapes of the weights do not show these: a file could open as another model unnoticed.
        store["num_heads"] = np.array(self.num_heads, "int32")
        store["norm_epsilon"] = np.array(self.epsilon, "float64")
        store["gelu"] = np.array(GELUS.index(self.gelu), "int32")

    def load_own_variables(self, store: Any) -> None:
        found = int(np.asarray(store["num_heads"])) if "num_heads" in store else self.num_heads
        if found != self.num_heads:  # an older file does not say it
            raise ValueError(
                f"Expected the weights of {self.num_heads} attention heads for {self.name!r}. "
                f"Received: weights of {found} heads"
            )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "mlp_dim": self.mlp_dim,
            "dropout_rate": self.dropout_rate,
            "attention_dropout_rate": self.attention_dropout_rate,
            "stochastic_depth_rate": self.stochastic_depth_rate,
            "gelu": self.gelu,
            "epsilon": self.epsilon,
            "layer_scale": self.layer_scale,
            "swiglu": self.swiglu,
            "key_bias": self.key_bias,
            "rematerialise": self.rematerialise,
        }
