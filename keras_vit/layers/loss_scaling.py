"""Refuses to train in float16 without a scaled loss, where small gradients become zero."""

from __future__ import annotations

import keras


def check_loss_is_scaled(layer: keras.Layer) -> None:
    """Refuses the first training step of a model that was compiled without loss scaling.

    Keras's `compile` scales the loss by the policy of the outermost model, which says nothing of
    the models inside it. Call this in the `call` of a layer.

    Args:
        layer: Of whose policy it depends; nothing happens in another than float16.

    Raises:
        ValueError: If the loss is not scaled. (With JAX's `fit` a layer does not see the model.)
    """
    if layer.compute_dtype != "float16":
        return
    context = layer._get_call_context()
    optimizer = getattr(context.entry_layer, "optimizer", None)
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if optimizer is not None and not scaled and context.get_value("training"):
        name = type(optimizer).__name__
        raise ValueError(
            "In float16 the small gradients become zero unless the loss is scaled, and Keras does "
            "not do it for a model inside another one. Compile with "
            f"`optimizer=keras.optimizers.LossScaleOptimizer(keras.optimizers.{name}(...))`, or "
            f'build the model with dtype="mixed_bfloat16". Received: '
            f"model={context.entry_layer.name!r}, optimizer={name}, and the layer {layer.name!r} "
            "in float16"
        )
