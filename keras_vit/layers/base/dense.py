"""A dense layer that Keras's own verbs leave right after it is saved and loaded."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="keras_vit")
class Dense(keras.layers.Dense):
    """Keras's `Dense`, which may be quantized and given LoRA, and trains on after `load_model`.

    Keras's own layer forgets `lora_alpha` when it is loaded, and starts both factors of the update
    at zero, from which nothing is learned.
    """

    def quantize(self, mode: Any = None, type_check: bool = True, config: Any = None) -> None:
        # Keras refuses classes derived from its own, as they may compute something else.
        super().quantize(mode, type_check=False, config=config)

    def enable_lora(self, rank: int, lora_alpha: Any = None, *args: Any, **kwargs: Any) -> None:
        # When a layer is loaded, its `build` passes only the rank.
        super().enable_lora(rank, lora_alpha or self.lora_alpha, *args, **kwargs)

    def load_own_variables(self, store: Any) -> None:
        super().load_own_variables(store)
        if self.lora_enabled:
            # The file holds the kernel with its update added, so the update starts at zero again.
            # Keras sets both of its factors to zero. Then neither has a gradient, and training
            # changes nothing; one zero factor is enough.
            start = keras.initializers.HeUniform()
            self.lora_kernel_a.assign(start(self.lora_kernel_a.shape))
