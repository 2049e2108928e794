"""Pools the tokens by attention, as SigLIP does."""

from __future__ import annotations

from typing import Any

import keras

from keras_vit.layers.composite import Composite
from keras_vit.layers.initializers import random_start
from keras_vit.layers.norm import LayerNorm
from keras_vit.layers.transformer import MLPBlock, MultiHeadSelfAttention, to_rows
from keras_vit.utils.backend import ops


@keras.saving.register_keras_serializable(package="keras_vit")
class AttentionPooling(Composite):
    """One vector for the image: a learned query looks at the patch tokens, then an MLP.

    The head "MAP" of "Scaling Vision Transformers" (arXiv 2106.04560, section 3.2) and SigLIP:
    `x = attention(probe, patches)`, `x += mlp(norm(x))`.

    Args:
        num_heads: Attention heads; divides the width.
        mlp_dim: Hidden channels of the MLP.
        gelu: `"tanh"` (the original), `"exact"` or `"quick"` (CLIP).
        epsilon: Of the layer norm; 1e-6 in the original.
        num_prefix_tokens: Leading tokens that are no patches. They are left out.

    Input: `[B, P + N, D]`. Output: `[B, D]`.
    """

    def __init__(
        self,
        num_heads: int,
        mlp_dim: int,
        gelu: str = "tanh",
        epsilon: float = 1e-6,
        num_prefix_tokens: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.mlp_dim = mlp_dim
        self.gelu = gelu
        self.epsilon = epsilon
        self.num_prefix_tokens = num_prefix_tokens
        self.attention = self.part(MultiHeadSelfAttention, num_heads, name="attention")
        self.norm = self.part(LayerNorm, epsilon, name="norm")
        self.mlp = self.part(MLPBlock, mlp_dim, gelu=gelu, name="mlp")

    def build(self, input_shape: Any) -> None:
        width = input_shape[-1]
        self.probe = self.add_weight(
            name="probe", shape=(1, 1, width), initializer=random_start("glorot_uniform")
        )
        for layer in (self.attention, self.norm, self.mlp):
            layer.build((None, width))

    def call(self, tokens: Any, training: bool | None = None) -> Any:
        patches = tokens[:, self.num_prefix_tokens :]
        images, num_patches, width = ops.shape(patches)
        probe = ops.reshape(ops.convert_to_tensor(self.probe), (1, width))
        probe = ops.broadcast_to(probe, (images, width))  # [B, D]
        x = self.attention.attend(to_rows(patches), num_patches, training, asking=probe)
        return x + self.mlp(self.norm(x), training=training)  # [B, D]

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "mlp_dim": self.mlp_dim,
            "gelu": self.gelu,
            "epsilon": self.epsilon,
            "num_prefix_tokens": self.num_prefix_tokens,
        }
