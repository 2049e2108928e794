"""Refuses to train in float16 without a scaled loss, where small gradients become zero."""

from __future__ import annotations

import sys
from typing import Any

import keras


def check_loss_is_scaled(layer: keras.Layer) -> None:
    """Refuses the first training step of a model that was compiled without loss scaling.

    Keras's `compile` decides by the policy of the outermost model alone whether to scale the loss;
    it does not look at the models inside. Call this in the `call` of a layer.

    Args:
        layer: Only a layer that computes in float16 is checked.

    Raises:
        ValueError: If the loss is not scaled.
    """
    if layer.compute_dtype != "float16":
        return
    model = _model_in_training(layer)
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        name = type(optimizer).__name__
        raise ValueError(
            "In float16 the small gradients become zero unless the loss is scaled, and Keras does "
            "not do it for a model inside another one or from a file. Compile with "
            f"`optimizer=keras.optimizers.LossScaleOptimizer(keras.optimizers.{name}(...))`, or "
            f'build the model with dtype="mixed_bfloat16". Received: '
            f"model={model.name!r}, optimizer={name}, and the layer {layer.name!r} in float16"
        )


def _model_in_training(layer: keras.Layer) -> Any:
    """The outermost model that calls the layer, if that is for a training step."""
    if keras.backend.backend() != "jax":
        context = layer._get_call_context()
        return context.entry_layer if context.get_value("training") else None
    # On JAX, `fit` calls the layers one by one, and only Keras's functions on the stack know the
    # model. An error in the training step would lose the weights, so the check comes before it,
    # when `fit` builds what is missing.
    frame, building = sys._getframe(), False
    while frame is not None:
        name, values = frame.f_code.co_name, frame.f_locals
        if name == "compute_loss_and_updates":
            return values["self"] if values["training"] else None
        if name == "fit" and building:
            return values["self"]
        building = building or name == "_symbolic_build"
        frame = frame.f_back
    return None
