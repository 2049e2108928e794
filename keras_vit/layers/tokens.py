"""Adds tokens to the patches, and pools all tokens at the end."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_vit.layers.base.composite import Composite
from keras_vit.layers.base.initializers import random_start
from keras_vit.layers.mlp import MLPBlock, to_rows
from keras_vit.layers.norm import LayerNorm
from keras_vit.layers.transformer import MultiHeadSelfAttention
from keras_vit.utils.backend import ops
from keras_vit.utils.checks import check_choice

POOLINGS = ("token", "avg", "max", "token+avg", "token+distillation")


@keras.saving.register_keras_serializable(package="keras_vit")
class ClassToken(keras.layers.Layer):
    """Puts learned tokens before the others: the class token, or registers after it.

    Args:
        num_tokens: How many; 1 is the paper's class token.
        position: Where they go. Registers follow the class token, at 1.
        initializer: Initial value; zeros in the original.

    Input: `[B, N, D]`. Output: `[B, N + num_tokens, D]`.
    """

    def __init__(
        self,
        num_tokens: int = 1,
        position: int = 0,
        initializer: Any = "zeros",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_tokens = num_tokens
        self.position = position
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape: Any) -> None:
        self.token = self.add_weight(
            name="token",
            shape=(1, self.num_tokens, input_shape[-1]),
            initializer=self.initializer,
        )

    def call(self, tokens: Any) -> Any:
        learned = ops.convert_to_tensor(self.token)
        learned = ops.broadcast_to(
            learned, (ops.shape(tokens)[0], self.num_tokens, tokens.shape[-1])
        )
        if self.position == 0:
            return ops.concatenate([learned, tokens], axis=1)
        before, after = tokens[:, : self.position], tokens[:, self.position :]
        return ops.concatenate([before, learned, after], axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        batch, length, width = input_shape
        return (batch, None if length is None else length + self.num_tokens, width)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_tokens": self.num_tokens,
            "position": self.position,
            "initializer": keras.initializers.serialize(self.initializer),
        }


@keras.saving.register_keras_serializable(package="keras_vit")
class FeatureMap(keras.layers.Layer):
    """Lays the patch tokens out as they lie in the image; the prefix tokens are left out.

    Args:
        num_prefix_tokens: Leading tokens that are no patches.

    Input: tokens `[B, P + N, D]` and the `[B, rows, columns, D]` grid of `PatchEmbed`.
    Output: `[B, rows, columns, D]`.
    """

    def __init__(self, num_prefix_tokens: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_prefix_tokens = num_prefix_tokens

    def call(self, tokens: Any, grid: Any) -> Any:
        _, rows, columns, width = ops.shape(grid)
        return ops.reshape(tokens[:, self.num_prefix_tokens :], (-1, rows, columns, width))

    def compute_output_shape(self, tokens_shape: Any, grid_shape: Any) -> Any:
        return grid_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_prefix_tokens": self.num_prefix_tokens}


@keras.saving.register_keras_serializable(package="keras_vit")
class TokenPooling(keras.layers.Layer):
    """One vector for the image: the class token, or the mean or maximum of the patch tokens.

    Args:
        pooling: `"token"`, `"avg"`, `"max"`; `"token+avg"`, the first two one after the other
            (DINOv2's linear classifiers, arXiv 2304.07193); or `"token+distillation"`, the first
            two tokens one after the other (distilled DeiT, arXiv 2012.12877).
        num_prefix_tokens: Leading tokens that are no patches.

    Input: `[B, P + N, D]`. Output: `[B, D]`, or `[B, 2 D]` for the last two.
    """

    def __init__(self, pooling: str = "token", num_prefix_tokens: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.pooling = check_choice("pooling", pooling, POOLINGS)
        self.num_prefix_tokens = num_prefix_tokens

    def call(self, tokens: Any) -> Any:
        # A slice and a reshape: TFLite delegates cannot take a slice that drops an axis.
        if self.pooling == "token+distillation":
            return ops.reshape(tokens[:, 0:2], (-1, 2 * tokens.shape[-1]))
        first = ops.reshape(tokens[:, 0:1], (-1, tokens.shape[-1]))
        if self.pooling == "token":
            return first
        patches = tokens[:, self.num_prefix_tokens :]
        if self.pooling == "max":
            return ops.max(patches, axis=1)
        mean = ops.mean(patches, axis=1)
        return mean if self.pooling == "avg" else ops.concatenate([first, mean], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], input_shape[-1] * (2 if "+" in self.pooling else 1))

    def save_own_variables(self, store: Any) -> None:
        # No array tells it, and a file must not open as another model.
        store["pooling"] = np.array(POOLINGS.index(self.pooling), "int32")

    def load_own_variables(self, store: Any) -> None:
        """Features may be pooled in another way than the model that was saved."""

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pooling": self.pooling,
            "num_prefix_tokens": self.num_prefix_tokens,
        }


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
