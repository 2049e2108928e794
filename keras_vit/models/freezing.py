"""Says in one word which part of a model does not train."""

from __future__ import annotations

import itertools
from numbers import Integral
from typing import Any

import keras

from keras_vit.models.lora import has_lora
from keras_vit.models.parts import model_of_ours
from keras_vit.utils.checks import did_you_mean

ALL, EMBEDDINGS = "all", "embeddings"


def freeze(model: keras.Model, part: str | int | None) -> None:
    """Freezes a part of a model: training leaves its variables as they are. The rest trains.

    Call it before `compile`. What is frozen has no gradient, no weight decay and no state in the
    optimizer, and stays frozen in every copy of the model (`load_model`, `clone_model`,
    `resize_model`). No layer of our models keeps statistics of its batches, as BatchNorm does, so
    nothing else of a frozen part changes.

    Args:
        model: A built model of keras_vit, or one that has a model of keras_vit inside. Layers of
            your own are left as they are.
        part: `"all"` but the head; `"embeddings"`: the patches, the class token, the registers
            and the positions, of a hybrid the stem too, of a BiT the root; or a number n: the
            embeddings and the first n blocks. A BiT has four blocks, its stages. `None` freezes
            nothing: all layers of the model train again. Where you called `enable_lora` before,
            the updates (and the biases beside them) train in a frozen part too.

    Raises:
        ValueError: If `part` is something else, the model has fewer blocks, or it has no model of
            keras_vit inside, or several.
    """
    graph, parts = model_of_ours(model)
    count = len(parts.blocks) if part == ALL else _blocks(part, len(parts.blocks))
    frozen = itertools.chain(parts.embeddings, *parts.blocks[:count])
    names = {node.operation.name for node in (() if part is None else frozen)}
    if part == ALL:
        names |= {layer.name for layer in (*parts.norm, *parts.last)}
    for each in (model, graph):
        if not each.trainable:
            each.trainable = True  # else nothing in it could train
    for layer in parts.layers():
        layer.trainable = layer.name not in names
    for layer in model._flatten_layers():
        if has_lora(layer):
            layer.trainable = True
            layer._kernel.trainable = False


def _blocks(part: Any, most: int) -> int:
    """How many blocks are frozen."""
    if part is None or (isinstance(part, str) and part == EMBEDDINGS):
        return 0
    is_count = isinstance(part, Integral) and not isinstance(part, bool)
    if not is_count or not 0 <= int(part) <= most:
        raise ValueError(
            f"`part` must be {ALL!r}, {EMBEDDINGS!r}, or a number of blocks from 0 to {most}, as "
            f"the model has.{did_you_mean(part, (ALL, EMBEDDINGS))} Received: part={part!r}"
        )
    return int(part)
