"""The parts of a model that keras_vit built: embeddings, blocks, and what lies before the head."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from keras_vit.layers import (
    MixerBlock,
    PatchEmbed,
    PositionEmbedding,
    RotaryEmbedding,
    TransformerBlock,
)
from keras_vit.models.graph import functional, nodes

# The first layer of a hybrid, a ViT, a Mixer and a BiT. A hybrid has the layer of a ViT too.
_FIRST = ("stem_root_conv", "patch_embed", "stem", "root_conv")
# The norm after the last block, and what lies between it and the head.
_NORM = ("encoder_norm", "norm", "norm_relu")
_LAST = ("pooling", "pooled_norm", "pre_logits")
_HEAD = "head"
# A block of a BiT is a group of layers: `block2_unit01_a_conv` and its like.
_BLOCK_OF_BIT = re.compile(r"block(\d+)_unit\d+_")


class Parts(NamedTuple):
    """The parts of a model, in the order in which they run.

    Attributes:
        embeddings: The nodes of the layers before the first block, from the patches (or the root)
            on.
        blocks: The nodes of each block: one, or those of all layers of a BiT's block.
        norm: The layers of the norm after the last block; none where the pooling comes first.
        last: The layers between the norm and the head.
        head: The head, if there is one.
    """

    embeddings: list[Any]
    blocks: list[list[Any]]
    norm: list[Any]
    last: list[Any]
    head: list[Any]

    def layers(self) -> Iterator[Any]:
        """All layers of the model, the head too."""
        for node in itertools.chain(self.embeddings, *self.blocks):
            if isinstance(node.operation, keras.layers.Layer):
                yield node.operation
        yield from (*self.norm, *self.last, *self.head)

    @property
    def is_bit(self) -> bool:
        """Whether the blocks are those of a BiT, which take and give feature maps."""
        return _BLOCK_OF_BIT.match(self.blocks[0][0].operation.name) is not None

    @property
    def grid(self) -> Any:
        """The patches as they lie in the image, `[B, rows, columns, D]`."""
        cuts = [node for node in self.embeddings if isinstance(node.operation, PatchEmbed)]
        return cuts[0].outputs[1]


def parts_of(graph: Any) -> Parts | None:
    """The parts of a functional model, if its own layers are those of a model of keras_vit.

    Args:
        graph: As `graph.functional` returns it. What is in models inside it does not count.
    """
    found = list(nodes(graph))
    layers = {node.operation.name: node.operation for node in found}
    first = next((name for name in _FIRST if name in layers), None)
    blocks: dict[str, list[Any]] = {}
    for node in found:
        if (block := _block(node.operation)) is not None:
            blocks.setdefault(block, []).append(node)
    if first is None or not blocks:
        return None
    output, norm = list(blocks.values())[-1][-1].outputs[0], []
    for node in found:
        if node.operation.name in _NORM and node.input_tensors[0] is output:
            norm.append(node.operation)
            output = node.outputs[0]
    return Parts(
        _up_to(first, next(iter(blocks.values()))[0]),
        list(blocks.values()),
        norm,
        last=[layer for name, layer in layers.items() if name in _LAST],
        head=[layer for name, layer in layers.items() if name == _HEAD],
    )


def _block(operation: Any) -> str | None:
    """The name of the block that a layer is or belongs to."""
    if isinstance(operation, (TransformerBlock, MixerBlock)):
        return operation.name
    of_bit = _BLOCK_OF_BIT.match(operation.name)
    return of_bit[1] if of_bit else None


def _up_to(first: str, block: Any) -> list[Any]:
    """The nodes that lead from the layer `first` to a block; layers of a user lie before them."""
    found: dict[int, Any] = {}
    waiting = [block]
    while waiting:
        for tensor in waiting.pop().input_tensors:
            operation, index, _ = tensor._keras_history
            node = operation._inbound_nodes[index]
            if isinstance(operation, keras.layers.InputLayer) or id(node) in found:
                continue
            found[id(node)] = node
            if operation.name != first:
                waiting.append(node)
    return list(found.values())[::-1]


def positions_of(model: Any) -> Any:
    """The layer of a Vision Transformer that knows positions, and has a `grid_size`.

    Returns:
        A `PositionEmbedding`, a `RotaryEmbedding`, or `None` for a model without.
    """
    kinds = (PositionEmbedding, RotaryEmbedding)
    layers = getattr(model, "layers", ())
    return next((x for kind in kinds for x in layers if isinstance(x, kind)), None)


def model_of_ours(model: Any) -> tuple[Any, Parts]:
    """The one model of keras_vit that `model` is or has inside: its graph, and its parts.

    Raises:
        ValueError: If there is none, or several.
    """
    found = list(models_of_ours(model))
    if len(found) != 1:
        raise ValueError(
            "`model` must be a built model of keras_vit, or have one inside; of several, pass one. "
            f"Received: model={getattr(model, 'name', model)!r} with {len(found)} of them"
        )
    return found[0]


def models_of_ours(model: Any) -> Iterator[tuple[Any, Parts]]:
    """Every model of keras_vit that `model` is or has inside: its graph, and its parts."""
    graph = functional(model)
    parts = None if graph is None else parts_of(graph)
    if parts is not None:
        yield graph, parts
    for layer in getattr(model, "layers", ()):
        yield from models_of_ours(layer)
