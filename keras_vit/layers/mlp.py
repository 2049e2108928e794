"""The MLP of a block, and the dense layers that it and the attention are made of.

They work on rows, `[B * N, D]`; `transformer.py` says why.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_vit.layers.base.composite import Composite
from keras_vit.layers.base.dense import Dense
from keras_vit.layers.base.initializers import random_start
from keras_vit.layers.base.recomputed import product
from keras_vit.layers.functional import GELUS, gelu, swiglu
from keras_vit.utils.backend import ops
from keras_vit.utils.checks import check_choice


def to_rows(tokens: Any) -> Any:
    """[B, N, D] -> [B * N, D]; rows stay as they are."""
    if len(tokens.shape) == 2:
        return tokens
    return ops.reshape(tokens, (-1, tokens.shape[-1]))


def to_tokens(rows: Any, num_tokens: Any) -> Any:
    """[B * N, D] -> [B, N, D]."""
    return ops.reshape(rows, (-1, num_tokens, rows.shape[-1]))


class RowsDense(Dense):
    """A dense layer with or without a GELU.

    The GELU is inside the layer, as TensorFlow fuses it with the product only if both are in one
    name scope. `training` tells it whether a backward pass follows.
    """

    def __init__(self, units: int, gelu: str | None = None, **kwargs: Any):
        super().__init__(units, kernel_initializer=random_start("glorot_uniform"), **kwargs)
        self.gelu = gelu

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = product(inputs, self.kernel, training)
        return self._activated(x if self.bias is None else ops.add(x, self.bias), training)

    def quantized_call(self, inputs: Any, training: bool | None = None) -> Any:
        return self._activated(super().quantized_call(inputs, training=training), training)

    def _activated(self, x: Any, training: bool | None) -> Any:
        return x if self.gelu is None else gelu(x, self.gelu, training)


@keras.saving.register_keras_serializable(package="keras_vit")
class MLPBlock(Composite):
    """The MLP of a block: D -> mlp_dim, GELU, -> D, with dropout after each.

    Args:
        mlp_dim: Hidden channels.
        dropout_rate: In [0, 1).
        gelu: `"tanh"` (the original), `"exact"` or `"quick"` (CLIP).
        swiglu: Whether a second product, `gate`, takes the place of the GELU: silu(gate) times
            the hidden channels (arXiv 2002.05202; DINOv2's giant).

    Input: `[..., D]`: tokens `[B, N, D]` or their rows. Output: the same shape.
    """

    def __init__(
        self,
        mlp_dim: int,
        dropout_rate: float = 0.0,
        gelu: str = "tanh",
        swiglu: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.mlp_dim = mlp_dim
        self.dropout_rate = dropout_rate
        self.gelu = check_choice("gelu", gelu, GELUS)
        self.swiglu = swiglu
        self.dropout = self.part(keras.layers.Dropout, dropout_rate, name="dropout")

    def build(self, input_shape: Any) -> None:
        width = input_shape[-1]
        bias = random_start(keras.initializers.RandomNormal(stddev=1e-6))
        activation = None if self.swiglu else self.gelu
        self.dense_1 = self.part(
            RowsDense, self.mlp_dim, activation, bias_initializer=bias, name="dense_1"
        )
        if self.swiglu:
            self.gate = self.part(RowsDense, self.mlp_dim, bias_initializer=bias, name="gate")
            self.gate.build((None, width))
        self.dense_2 = self.part(RowsDense, width, bias_initializer=bias, name="dense_2")
        self.dense_1.build((None, width))
        self.dense_2.build((None, self.mlp_dim))

    def call(self, x: Any, training: bool | None = None) -> Any:
        rows = to_rows(x)
        hidden = self.dense_1(rows, training=training)
        if self.swiglu:
            hidden = swiglu(self.gate(rows), hidden, training)
        hidden = self.dropout(hidden, training=training)
        rows = self.dropout(self.dense_2(hidden), training=training)
        return rows if len(x.shape) == 2 else to_tokens(rows, ops.shape(x)[1])

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "mlp_dim": self.mlp_dim,
            "dropout_rate": self.dropout_rate,
            "gelu": self.gelu,
            "swiglu": self.swiglu,
        }
