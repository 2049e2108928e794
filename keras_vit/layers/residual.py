"""What may change a residual branch before the sum: stochastic depth and layer scale."""

from __future__ import annotations

from typing import Any

import keras

from keras_vit.utils.backend import ops
from keras_vit.utils.checks import check_numbers


@keras.saving.register_keras_serializable(package="keras_vit")
class StochasticDepth(keras.layers.Layer):
    """Drops a residual branch for whole images while training (Huang et al., 2016; AugReg).

    Args:
        rate: Probability of dropping, in [0, 1). What is kept is scaled by 1 / (1 - rate).
        seed: Optional seed.

    Input: `[B, ...]`. Output: the same shape.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        check_numbers("[0, 1)", rate=rate)
        self.rate = rate
        self.seed = seed
        if rate > 0:  # a generator is a variable: no need to save one that is never used
            self.seed_generator = keras.random.SeedGenerator(seed)
        # It is called only in training, and `Model.quantize` stops at a layer that is not built.
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> Any:
        if not training or self.rate == 0:
            return x
        shape = (ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
        # Dropout of one number per image: zero, or 1 / (1 - rate).
        return x * keras.random.dropout(
            ops.ones(shape, dtype=x.dtype), self.rate, seed=self.seed_generator
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable(package="keras_vit")
class LayerScale(keras.layers.Layer):
    """Multiplies each channel by a learned number ("Going deeper with Image Transformers",
    arXiv 2103.17239, section 2; DeiT-III and DINOv2 have it, the paper does not).

    Args:
        initial_value: Of every channel.

    Input: `[..., D]`. Output: the same shape.
    """

    def __init__(self, initial_value: float = 1e-5, **kwargs: Any):
        super().__init__(**kwargs)
        self.initial_value = initial_value

    def build(self, input_shape: Any) -> None:
        self.gamma = self.add_weight(
            name="gamma",
            shape=(input_shape[-1],),
            initializer=keras.initializers.Constant(self.initial_value),
        )

    def call(self, x: Any) -> Any:
        return x * ops.convert_to_tensor(self.gamma)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "initial_value": self.initial_value}
