"""The loss of the papers' pre-training, where an image has several labels."""

from __future__ import annotations

from typing import Any

import keras

from keras_vit.utils.backend import ops


@keras.saving.register_keras_serializable(package="keras_vit")
class SigmoidCrossentropy(keras.losses.Loss):
    """Binary cross-entropy summed over the classes, not averaged as in Keras.

    The sum is the original's (big_vision, `sigmoid_xent`). With 21,843 classes the gradients of
    the mean are so much smaller that clipping them never happens.

    Args:
        from_logits: Whether the model ends in logits; else in a sigmoid.
        sparse: Whether labels are integers `[B]`; else `[B, classes]` in [0, 1].
        **options: Of `keras.losses.Loss`.
    """

    def __init__(
        self,
        from_logits: bool = False,
        sparse: bool = False,
        name: str = "sigmoid_crossentropy",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        self.from_logits = from_logits
        self.sparse = sparse

    def call(self, y_true: Any, y_pred: Any) -> Any:
        classes = y_pred.shape[-1]
        if self.sparse:
            y_true = ops.one_hot(ops.reshape(ops.cast(y_true, "int32"), (-1,)), classes)
        y_true = ops.cast(y_true, y_pred.dtype)
        each = ops.binary_crossentropy(y_true, y_pred, from_logits=self.from_logits)
        return ops.sum(each, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "from_logits": self.from_logits,
            "sparse": self.sparse,
        }
