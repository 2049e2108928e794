"""Takes an inner model out of an outer one, so that exports find all layers on one level."""

from __future__ import annotations

from typing import Any

import keras

from keras_vit.layers.base.initializers import weights_follow
from keras_vit.models.graph import functional, walk
from keras_vit.models.lora import merged


def flat(model: Any) -> Any:
    """The same model, with the layers of its inner models as its own.

    Args:
        model: A functional model or a `keras.Sequential`; `model` itself is returned if there is
            no model inside.

    Returns:
        A model of copies of the layers, with their weights; the updates of LoRA are added to their
        kernels. A name that two of them have is numbered in the second.
    """
    graph = functional(model)
    if graph is None:
        return model
    if not any(functional(layer) is not None for layer in graph.layers):
        return graph
    # Keras's own dense layer is rebuilt without its `lora_alpha`.
    graph = functional(merged(model))
    inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name) for x in graph.inputs]
    copies: dict[int, tuple[Any, Any]] = {}  # a layer that is called twice is copied once
    taken: set[str] = set()

    def call(node: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        operation = node.operation
        if id(operation) not in copies:
            copy = type(operation).from_config(
                {**operation.get_config(), "name": _free(operation.name, taken)}
            )
            copies[id(operation)] = operation, copy
        return keras.tree.flatten(copies[id(operation)][1](*args, **kwargs))

    with weights_follow():
        outputs = walk(graph, inputs, call)
        flattened = keras.Model(
            inputs if len(inputs) > 1 else inputs[0],
            keras.tree.pack_sequence_as(graph.output, outputs),
            name=model.name,
        )
    for operation, copy in copies.values():
        if isinstance(copy, keras.layers.Layer):  # `x / 127.5` is an operation without weights
            copy.set_weights(operation.get_weights())
    return flattened


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number if it is taken."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free)
    return free
