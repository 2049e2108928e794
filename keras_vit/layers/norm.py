"""The layer norm in the blocks and after them."""

from __future__ import annotations

from typing import Any

import keras

from keras_vit.layers.functional import layer_norm
from keras_vit.utils.backend import ops


@keras.saving.register_keras_serializable(package="keras_vit")
class LayerNorm(keras.layers.LayerNormalization):
    """Keras's layer norm over the channels, with the gradient of `functional.layer_norm`.

    Args:
        epsilon: Added to the variance; 1e-6 in the original.
        **kwargs: `name`, `dtype` and the other arguments of every layer.

    Input: `[..., D]`. Output: the same shape, in the compute dtype.

    Raises:
        ValueError: If the arguments ask for another axis than the last, or leave out gamma or beta.
    """

    def __init__(self, epsilon: float = 1e-6, **kwargs: Any):
        super().__init__(epsilon=epsilon, **kwargs)
        if self.axis not in (-1, [-1]) or not (self.center and self.scale):
            raise ValueError(
                "LayerNorm is over the last axis, with gamma and beta. Received: "
                f"axis={self.axis}, center={self.center}, scale={self.scale}. Use "
                "`keras.layers.LayerNormalization`"
            )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        normed = layer_norm(inputs, self.gamma, self.beta, self.epsilon, training)
        return ops.cast(normed, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**keras.layers.Layer.get_config(self), "epsilon": self.epsilon}
