"""The variables of a model under the names that `names/` uses."""

from __future__ import annotations

from typing import Any

import keras

from keras_vit.checkpoints.names.formats import FORMATS
from keras_vit.checkpoints.names.keys import FAMILIES, Family
from keras_vit.layers import (
    AttentionPooling,
    ClassToken,
    PatchEmbed,
    PositionEmbedding,
    TransformerBlock,
)
from keras_vit.models.lora import has_lora


def model_family(model: keras.Model) -> Family:
    """The family that a model belongs to.

    Raises:
        ValueError: If it has the layers of none.
    """
    names = {layer.name for layer in getattr(model, "layers", [])}
    for family in FAMILIES:
        if family.layer in names:
            return family
    raise ValueError(
        "`model` must have the layers of a model that keras_vit built, itself and not inside "
        f"another layer. Received: model={getattr(model, 'name', model)!r}"
    )


def model_variables(model: keras.Model) -> dict[str, Any]:
    """Name -> variable, `"block_0/mlp_norm/gamma"` for example.

    Layers before and after it, of the user's own, are left out.

    Raises:
        ValueError: If a layer has variables that no checkpoint knows: it is quantized or has LoRA.
    """
    family = model_family(model)
    _check_plain(model)
    own = next(f for f in FORMATS if f.name == "keras" and f.family is family)
    ours = (AttentionPooling, ClassToken, PatchEmbed, PositionEmbedding, TransformerBlock)
    variables = {}
    for layer in model.layers:
        for variable in layer.weights:
            path = variable.path.split("/")
            name = "/".join(path[path.index(layer.name) :]) if layer.name in path else variable.path
            if own.array_of(name) is not None:
                variables[name] = variable
            elif isinstance(layer, ours) and "seed_generator" not in name:
                raise ValueError(f"No format of checkpoints has a name for the variable {name!r}.")
    return variables


def _check_plain(model: Any) -> None:
    layers = model._flatten_layers(include_self=False)
    quantized = [layer.path for layer in layers if layer.quantization_mode]
    adapted = [layer.path for layer in layers if has_lora(layer)]
    advice = (
        "are quantized. Save such a model as .weights.h5 (format='keras'), or take the model that "
        "it was made from"
        if quantized
        else "have LoRA. Load the weights first, and call `enable_lora` then"
    )
    if quantized or adapted:
        raise ValueError(
            f"Some layers of the model {model.name!r} {advice}. Received: "
            f"{len(quantized or adapted)} such layers, {(quantized or adapted)[0]!r} for example"
        )


def layers_of(model: keras.Model, kind: type) -> list[Any]:
    """All layers of one kind in the model, in order."""
    return [layer for layer in model.layers if isinstance(layer, kind)]


def number_of_heads(model: keras.Model) -> int:
    """Attention heads of a block; 1 in a model without attention."""
    return next((block.num_heads for block in layers_of(model, TransformerBlock)), 1)
