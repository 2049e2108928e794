"""Adds the updates of LoRA to their kernels, for formats that have no place for them."""

from __future__ import annotations

import copy
from typing import Any

from keras_vit.layers.base.initializers import weights_follow
from keras_vit.utils.backend import ops


def has_lora(layer: Any) -> bool:
    """Whether `layer.enable_lora(...)` was called."""
    return bool(getattr(layer, "lora_enabled", False))


def merged(model: Any) -> Any:
    """The same model without LoRA (Hu et al., arXiv 2106.09685): each kernel with its update.

    Args:
        model: A model that `from_config` can rebuild.

    Returns:
        `model` itself if no layer has LoRA; else a new one, not compiled, of the same outputs.

    Raises:
        ValueError: If a layer with LoRA is quantized: the sum would have to be rounded again.
    """
    adapted = [layer for layer in model._flatten_layers() if has_lora(layer)]
    if not adapted:
        return model
    quantized = [layer.path for layer in adapted if layer.quantization_mode]
    if quantized:
        raise ValueError(
            "The LoRA of a quantized layer cannot be added to its kernel without another rounding. "
            "Save the model as .weights.h5 or .keras, which Keras merges and rounds, or call "
            f"`enable_lora` on the model before it is quantized. Received: {quantized[:4]}"
        )
    kernels = {id(layer._kernel): layer for layer in adapted}
    factors = {id(v) for layer in adapted for v in (layer.lora_kernel_a, layer.lora_kernel_b)}
    with weights_follow():
        plain: Any = type(model).from_config(_without_lora(copy.deepcopy(model.get_config())))
    kept = [variable for variable in model.weights if id(variable) not in factors]
    for source, target in zip(kept, plain.weights, strict=True):
        layer = kernels.get(id(source))
        target.assign(source if layer is None else _sum(layer))
    plain.dtype_policy = model.dtype_policy
    return plain


def _sum(layer: Any) -> Any:
    """In float32: `layer.kernel` would be in the compute dtype."""
    update = ops.matmul(layer.lora_kernel_a.value, layer.lora_kernel_b.value)
    scale = layer.lora_alpha / layer.lora_rank
    return ops.cast(layer._kernel.value, "float32") + scale * update


def _without_lora(config: Any) -> Any:
    if isinstance(config, (list, tuple)):
        return type(config)(_without_lora(value) for value in config)
    if not isinstance(config, dict):
        return config
    return {
        key: _without_lora(value)
        for key, value in config.items()
        if key not in ("lora_rank", "lora_alpha")
    }
