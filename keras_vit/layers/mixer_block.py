"""The block of MLP-Mixer: an MLP over the tokens, then one over the channels."""

from __future__ import annotations

from typing import Any

import keras

from keras_vit.layers.base.composite import Composite
from keras_vit.layers.base.rematerialise import rematerialised
from keras_vit.layers.mlp import MLPBlock
from keras_vit.layers.norm import LayerNorm
from keras_vit.layers.residual import StochasticDepth
from keras_vit.utils.backend import ops


@keras.saving.register_keras_serializable(package="keras_vit")
class MixerBlock(Composite):
    """One block: `x += token_mlp(norm(x)^T)^T`, then `x += channel_mlp(norm(x))`.

    Source: paper, eq. 1; `MixerBlock` of vision_transformer's `vit_jax/models_mixer.py`.

    Args:
        tokens_mlp_dim: Hidden channels of the MLP over the tokens.
        channels_mlp_dim: Hidden channels of the MLP over the channels.
        stochastic_depth_rate: Probability of dropping a branch, per image; in [0, 1).
        gelu: `"tanh"` (the original) or `"exact"`.
        rematerialise: As for `TransformerBlock`.

    Input: `[B, N, D]`, N known. Output: `[B, N, D]`.

    Raises:
        ValueError: If the number of tokens is not known.
    """

    def __init__(
        self,
        tokens_mlp_dim: int,
        channels_mlp_dim: int,
        stochastic_depth_rate: float = 0.0,
        gelu: str = "tanh",
        rematerialise: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.tokens_mlp_dim = tokens_mlp_dim
        self.channels_mlp_dim = channels_mlp_dim
        self.stochastic_depth_rate = stochastic_depth_rate
        self.gelu = gelu
        self.rematerialise = rematerialise
        part = self.part
        self.token_norm = part(LayerNorm, 1e-6, name="token_norm")
        self.token_mixing = part(MLPBlock, tokens_mlp_dim, gelu=gelu, name="token_mixing")
        self.channel_norm = part(LayerNorm, 1e-6, name="channel_norm")
        self.channel_mixing = part(MLPBlock, channels_mlp_dim, gelu=gelu, name="channel_mixing")
        self.stochastic_depth = part(
            StochasticDepth, stochastic_depth_rate, name="stochastic_depth"
        )

    def build(self, input_shape: Any) -> None:
        _, num_tokens, width = input_shape
        if num_tokens is None:
            raise ValueError(
                "The MLP over the tokens has a weight for each, so their number must be known. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.token_norm.build(input_shape)
        self.token_mixing.build((None, width, num_tokens))
        self.channel_norm.build(input_shape)
        self.channel_mixing.build(input_shape)

    def call(self, tokens: Any, training: bool | None = None) -> Any:
        if self.rematerialise and training:
            return rematerialised(self, lambda x: self._mix(x, training), tokens)
        return self._mix(tokens, training)

    def _mix(self, tokens: Any, training: bool | None) -> Any:
        channels = ops.transpose(self.token_norm(tokens), (0, 2, 1))  # [B, D, N]
        branch = ops.transpose(self.token_mixing(channels, training=training), (0, 2, 1))
        tokens = tokens + self.stochastic_depth(branch, training=training)

        branch = self.channel_mixing(self.channel_norm(tokens), training=training)
        return tokens + self.stochastic_depth(branch, training=training)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "tokens_mlp_dim": self.tokens_mlp_dim,
            "channels_mlp_dim": self.channels_mlp_dim,
            "stochastic_depth_rate": self.stochastic_depth_rate,
            "gelu": self.gelu,
            "rematerialise": self.rematerialise,
        }
