"""Writes the `config.json` and the `preprocessor_config.json` of a Hugging Face model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_vit.checkpoints.model_arrays import Arrays
from keras_vit.layers.pixels import NORMALISATIONS
from keras_vit.models.variants import DEFAULT_IMAGE_SIZE


def hugging_face_config(arrays: Arrays) -> dict[str, Any]:
    """The `config.json` with which `from_pretrained` opens the arrays.

    Raises:
        ValueError: If that class of Hugging Face has no such model.
    """
    width, channels, patch, _ = _shape(arrays, "patch_embed/projection/kernel")
    rows, columns = _image_size(arrays)
    architecture, others = _MODELS[arrays.format.model_type]
    config: dict[str, Any] = {
        "architectures": [architecture],
        "model_type": arrays.format.model_type,
        "hidden_size": width,
        "num_hidden_layers": sum(name.endswith("/mlp_norm/gamma") for name in arrays.variables),
        "num_attention_heads": arrays.num_heads,
        "hidden_act": _GELUS[arrays.settings.get("gelu", "exact")],
        "layer_norm_eps": arrays.settings["norm_epsilon"],
        "image_size": rows if rows == columns else [rows, columns],
        "patch_size": patch,
        "num_channels": channels,
        **others(arrays),
    }
    if "head/bias" in arrays.variables:
        classes = int(arrays.variables["head/bias"].shape[0])
        config["id2label"] = {str(i): f"LABEL_{i}" for i in range(classes)}
        config["label2id"] = {f"LABEL_{i}": i for i in range(classes)}
    return config


def _image_size(arrays: Arrays) -> tuple[int, int]:
    """(rows, columns) in pixels; the usual where rotary positions leave it open."""
    patch = arrays.variables["patch_embed/projection/kernel"].shape[0]
    if "grid_size" not in arrays.settings:
        return DEFAULT_IMAGE_SIZE, DEFAULT_IMAGE_SIZE
    rows, columns = (int(n * patch) for n in arrays.settings["grid_size"])
    return rows, columns


def _shape(arrays: Arrays, variable: str) -> tuple[int, ...]:
    """The shape of the array that holds a variable."""
    array, _ = arrays.format.array_of(variable)  # type: ignore[misc]
    return arrays.shapes[array]


_GELUS = {"exact": "gelu", "tanh": "gelu_pytorch_tanh", "quick": "quick_gelu"}
_USUAL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "qkv_bias": True}


def _vit(arrays: Arrays) -> dict[str, Any]:
    return {**_USUAL, "intermediate_size": _hidden(arrays)}


def _clip(arrays: Arrays) -> dict[str, Any]:
    config = _tower(arrays)
    if "head/kernel" in arrays.variables:
        config["architectures"] = ["CLIPVisionModelWithProjection"]
        config["projection_dim"] = arrays.variables["head/kernel"].shape[1]
    return config


def _siglip(arrays: Arrays) -> dict[str, Any]:
    return {**_tower(arrays), "vision_use_head": "pooling/probe" in arrays.variables}


def _check_square(arrays: Arrays, who: str) -> None:
    rows, columns = arrays.settings["grid_size"]
    if rows != columns:
        raise ValueError(
            f"Hugging Face's {who} positions for a square grid of patches. Make the model square "
            "first, by `keras_vit.resize_model`. Received: a grid of "
            f"{rows} x {columns} patches"
        )


def _tower(arrays: Arrays) -> dict[str, Any]:
    _check_square(arrays, "CLIP and SigLIP take their")
    return {"intermediate_size": _hidden(arrays)}


def _deit(arrays: Arrays) -> dict[str, Any]:
    if arrays.settings.get("classifier") == "token+distillation":
        return {**_vit(arrays), "architectures": ["DeiTForImageClassificationWithTeacher"]}
    return _vit(arrays)


def _dinov2(arrays: Arrays) -> dict[str, Any]:
    _check_square(arrays, "DINOv2 takes its")
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
    return {**_USUAL, "mlp_ratio": ratio, "use_swiglu_ffn": swiglu, "use_mask_token": False}


def _dinov2_registers(arrays: Arrays) -> dict[str, Any]:
    registers = _shape(arrays, "registers/token")[1]
    return {**_dinov2(arrays), "num_register_tokens": registers}


def _dinov3(arrays: Arrays) -> dict[str, Any]:
    registers = "registers/token" in arrays.variables
    config: dict[str, Any] = {
        "intermediate_size": _hidden(arrays),
        "key_bias": "block_0/attention/key/bias" in arrays.variables,
        "num_register_tokens": _shape(arrays, "registers/token")[1] if registers else 0,
        "rope_theta": arrays.settings["rotary_base"],
    }
    if "block_0/mlp/gate/kernel" in arrays.variables:
        config |= {"use_gated_mlp": True, "hidden_act": "silu"}
    return config


def _hidden(arrays: Arrays) -> int:
    """Hidden channels of an MLP."""
    return int(arrays.variables["block_0/mlp/dense_2/kernel"].shape[0])


# `model_type` -> the class, and what only its configuration has.
_MODELS: dict[str, tuple[str, Callable[[Arrays], dict[str, Any]]]] = {
    "vit": ("ViTForImageClassification", _vit),
    "deit": ("DeiTForImageClassification", _deit),
    "clip_vision_model": ("CLIPVisionModel", _clip),
    "siglip_vision_model": ("SiglipVisionModel", _siglip),
    "dinov2": ("Dinov2ForImageClassification", _dinov2),
    "dinov3_vit": ("DINOv3ViTModel", _dinov3),
    "dinov2_with_registers": ("Dinov2WithRegistersForImageClassification", _dinov2_registers),
}


def preprocessor_config(arrays: Arrays) -> dict[str, Any]:
    """The `preprocessor_config.json`: the pixels that the model takes in PyTorch."""
    wanted = arrays.settings["normalisation"]
    mean, std = NORMALISATIONS[wanted] if isinstance(wanted, str) else wanted
    rows, columns = _image_size(arrays)
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": rows, "width": columns},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(mean),
        "image_std": list(std),
    }
