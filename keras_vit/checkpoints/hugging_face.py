"""Writes the configurations of a Hugging Face model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_vit.checkpoints.model_arrays import Arrays
from keras_vit.layers.pixels import NORMALISATIONS

_GELUS = {"exact": "gelu", "tanh": "gelu_pytorch_tanh", "quick": "quick_gelu"}
_COMMON = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "qkv_bias": True}


def hugging_face_config(arrays: Arrays) -> dict[str, Any]:
    """The `config.json` with which `from_pretrained` opens the arrays.

    Raises:
        ValueError: If that class of Hugging Face has no such model.
    """
    width, channels, patch, _ = _shape(arrays, "patch_embed/projection/kernel")
    rows, columns = (n * patch for n in arrays.settings["grid_size"])
    config: dict[str, Any] = {
        "model_type": arrays.format.model_type,
        "hidden_size": width,
        "num_hidden_layers": sum(name.endswith("/mlp_norm/gamma") for name in arrays.variables),
        "num_attention_heads": arrays.num_heads,
        "hidden_act": _GELUS[arrays.settings["gelu"]],
        "layer_norm_eps": arrays.settings["norm_epsilon"],
        "image_size": rows if rows == columns else [rows, columns],
        "patch_size": patch,
        "num_channels": channels,
        **_MODELS[arrays.format.model_type](arrays),
    }
    if "head/bias" in arrays.variables:
        classes = _shape(arrays, "head/bias")[0]
        config["id2label"] = {str(i): f"LABEL_{i}" for i in range(classes)}
        config["label2id"] = {f"LABEL_{i}": i for i in range(classes)}
    return config


def preprocessor_config(arrays: Arrays) -> dict[str, Any]:
    """The `preprocessor_config.json`: the pixels that the model takes."""
    wanted = arrays.settings["normalisation"]
    mean, std = NORMALISATIONS[wanted] if isinstance(wanted, str) else wanted
    patch = _shape(arrays, "patch_embed/projection/kernel")[-1]
    height, width = (n * patch for n in arrays.settings["grid_size"])
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(mean),
        "image_std": list(std),
    }


def _shape(arrays: Arrays, variable: str) -> tuple[int, ...]:
    """The shape of the array that holds a variable."""
    array, _ = arrays.format.array_of(variable)  # type: ignore[misc]
    return arrays.shapes[array]


def _vit(arrays: Arrays) -> dict[str, Any]:
    return {
        "architectures": ["ViTForImageClassification"],
        "intermediate_size": _hidden(arrays),
        **_COMMON,
    }


def _clip(arrays: Arrays) -> dict[str, Any]:
    config: dict[str, Any] = {"intermediate_size": _hidden(arrays)}
    if "head/kernel" not in arrays.variables:
        return {**config, "architectures": ["CLIPVisionModel"]}
    projection = arrays.variables["head/kernel"].shape[1]
    return {
        **config,
        "architectures": ["CLIPVisionModelWithProjection"],
        "projection_dim": projection,
    }


def _siglip(arrays: Arrays) -> dict[str, Any]:
    return {
        "architectures": ["SiglipVisionModel"],
        "intermediate_size": _hidden(arrays),
        "vision_use_head": "pooling/probe" in arrays.variables,
    }


def _dinov2(arrays: Arrays) -> dict[str, Any]:
    rows, columns = arrays.settings["grid_size"]
    if rows != columns:
        raise ValueError(
            "Hugging Face's DINOv2 takes its positions for a square grid of patches. Make the "
            "model square first, by `keras_vit.resize_model`. Received: a grid of "
            f"{rows} x {columns} patches"
        )
    width, hidden = _shape(arrays, "encoder_norm/gamma")[0], _hidden(arrays)
    swiglu = "block_0/mlp/gate/kernel" in arrays.variables
    # Of a SwiGLU it takes two thirds, rounded up to a multiple of eight.
    sizes = {r: (r * width * 2 // 3 + 7) // 8 * 8 if swiglu else r * width for r in range(1, 17)}
    ratio = next((ratio for ratio, size in sizes.items() if size == hidden), None)
    if ratio is None:
        raise ValueError(
            f"Hugging Face's DINOv2 of this width has one of these sizes as `mlp_dim`: "
            f"{', '.join(map(str, sizes.values()))}. Save the model with format='timm' or 'keras'. "
            f"Received: mlp_dim={hidden}, width={width}"
        )
    return {
        "architectures": ["Dinov2ForImageClassification"],
        "mlp_ratio": ratio,
        "use_swiglu_ffn": swiglu,
        "use_mask_token": False,
        **_COMMON,
    }


def _dinov2_registers(arrays: Arrays) -> dict[str, Any]:
    registers = _shape(arrays, "registers/token")[1]
    return {
        **_dinov2(arrays),
        "architectures": ["Dinov2WithRegistersForImageClassification"],
        "num_register_tokens": registers,
    }


def _hidden(arrays: Arrays) -> int:
    """Hidden channels of an MLP."""
    return int(arrays.variables["block_0/mlp/dense_2/kernel"].shape[0])


# `model_type` -> what only the configuration of such a model has.
_MODELS: dict[str, Callable[[Arrays], dict[str, Any]]] = {
    "vit": _vit,
    "dinov2": _dinov2,
    "dinov2_with_registers": _dinov2_registers,
    "clip_vision_model": _clip,
    "siglip_vision_model": _siglip,
}
