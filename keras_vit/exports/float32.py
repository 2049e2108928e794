"""The same model in float32, as other runtimes do not take mixed precision."""

from __future__ import annotations

import copy
from typing import Any

import keras

from keras_vit.models.lora import merged


def as_float32(model: keras.Model) -> keras.Model:
    """Rebuilds a model of another dtype policy, or with LoRA, in float32, with its weights.

    Args:
        model: A functional model.

    Returns:
        `model` itself if all its layers are float32 already and none has LoRA; else a new one, not
        compiled.

    Raises:
        ValueError: If a layer is quantized: its weights are no longer those of a float.
    """
    model = merged(model)
    policies = [layer.dtype_policy for layer in model._flatten_layers(include_self=False)]
    if all(policy.name == "float32" for policy in policies):
        return model
    quantized = sorted({p.name for p in policies if getattr(p, "quantization_mode", None)})
    if quantized:
        raise ValueError(
            "A quantized model cannot be rebuilt in float32; export the model that it was made "
            f"from. Received: model={model.name!r} with the dtype policies {quantized}"
        )
    config = _without_policies(copy.deepcopy(model.get_config()))
    rebuilt: Any = type(model).from_config(config)
    for source, target in zip(model.weights, rebuilt.weights, strict=True):
        target.assign(keras.ops.cast(source, "float32"))
    return rebuilt


def _without_policies(config: Any) -> Any:
    """The config with float32 wherever it has a dtype policy or a dtype of floats."""
    if isinstance(config, list):
        return [_without_policies(value) for value in config]
    if not isinstance(config, dict):
        return config
    return {
        key: "float32" if key == "dtype" and _is_float(value) else _without_policies(value)
        for key, value in config.items()
    }


def _is_float(dtype: Any) -> bool:
    if isinstance(dtype, dict):  # a serialized policy
        dtype = dtype.get("config", {}).get("name", "")
    return isinstance(dtype, str) and "float" in dtype
