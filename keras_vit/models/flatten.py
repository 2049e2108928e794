"""Takes an inner model out of an outer one, so that exports find all layers on one level."""

from __future__ import annotations

from typing import Any

import keras

from keras_vit.layers.initializers import weights_follow


def flat(model: Any) -> Any:
    """The same model, with the layers of its inner models as its own.

    Args:
        model: A functional model of one input and output, or a `keras.Sequential`; `model`
            itself is returned if there is no model inside.

    Returns:
        A model of copies of the layers, with their weights.
    """
    if isinstance(model, keras.Sequential) and model.built:
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    nested = any(isinstance(layer, keras.Model) for layer in getattr(model, "layers", ()))
    if not nested or len(model.inputs + model.outputs) != 2:
        return model
    image = model.inputs[0]
    inputs = keras.Input(batch_shape=image.shape, dtype=image.dtype, name=image.name)
    copies: list[tuple[Any, Any]] = []
    with weights_follow():
        flattened = keras.Model(inputs, _called(model, inputs, copies), name=model.name)
    for layer, copy in copies:
        copy.set_weights(layer.get_weights())
    return flattened


def _called(model: Any, inputs: Any, copies: list[tuple[Any, Any]]) -> Any:
    """The output of copies of a model's layers on another tensor; `copies` gets the pairs."""
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs[0], model.outputs[0])

    made = [inputs]

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        inner = isinstance(layer, keras.Model)
        made.append(_called(layer, args[0], copies) if inner else layer(*args, **kwargs))
        return made[-1]

    def copy(layer: Any) -> Any:
        if isinstance(layer, (keras.Model, keras.layers.InputLayer)):
            return layer
        copies.append((layer, type(layer).from_config(layer.get_config())))
        return copies[-1][1]

    # Not `clone.outputs`: what Keras makes on tensors in the middle of a model is cut off from it.
    keras.models.clone_model(
        model,
        keras.tree.pack_sequence_as(model.input, [inputs]),
        call_function=call,
        clone_function=copy,
    )
    return made[-1]  # layers are called in order, and there is one output
