"""Reads what Hugging Face, timm and open_clip say in files of JSON about the weights beside them.

A field that changes what the model computes is either understood or refused, never read past.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_vit.layers.pixels import normalisation_of
from keras_vit.layers.rotary_embedding import ROTARY_BASE
from keras_vit.utils.files import read_json

SILU = "silu"
_GELUS = {
    "gelu": "exact", "gelu_python": "exact", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh",
    "gelu_fast": "tanh", "gelu_tanh": "tanh", "quick_gelu": "quick",
}  # fmt: skip
# The values of `global_pool` that a head here can take.
_POOLS = {"token": "token", "avg": "gap", "map": "map"}
# Part of timm's names of models -> what sets these apart. Their arrays look like any other's.
_OTHER_TIMM = (
    ("_rpn_", "a Transformer that normalises after each branch (res-post-norm)"),
    ("_rope_", "a Transformer with rotary positions of another kind than DINOv3's"),
    ("_pe_", "a Perception Encoder, with rotary positions of another kind than DINOv3's"),
)
# Part of timm's names of models -> the GELU of them all.
_GELU_OF_TIMM = {"quickgelu": "quick", "_clip_": "exact"}
# timm's models whose MLPs are SwiGLUs by their name.
_SWIGLU_OF_TIMM = ("vit_giant_patch14_dinov2", "vit_giant_patch14_reg4_dinov2")
# `quick_gelu` of open_clip.
_GELU_OF_OPEN_CLIP = {True: "quick", False: "exact"}


def settings_beside(path: Path) -> dict[str, Any]:
    """What the files of JSON in the folder of a file say; empty where there are none.

    Raises:
        ValueError: If they say that the model is one that is not known here, or cannot be read:
            without them the file might open as another model.
    """
    found: dict[str, Any] = {}
    for name, read in CONFIGURATIONS.items():
        file = path.with_name(name)
        if file.is_file():
            found |= {k: v for k, v in read(read_json(file, {}), file).items() if v is not None}
    return found


def _config(said: dict[str, Any], config: Path) -> dict[str, Any]:
    kind = said.get("model_type")
    if isinstance(kind, str) and kind in _HUGGING_FACE:
        inside = said.get("vision_config", said)  # of a model of images and texts
        if not isinstance(inside, dict):
            raise _refused(config, "vision_config", inside, "an object")
        found = _hugging_face({**_HUGGING_FACE[kind], **inside}, config)
        return {**found, "normalisation": _NORMALISATION.get(kind)}
    if isinstance(said.get("architecture"), str):
        return _timm(said, config)
    return {}


# `model_type` of the models of Hugging Face that are known -> what transformers takes where the
# file is silent.
_CLIP = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
_SIGLIP = {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6}
_DINOV3 = {"hidden_act": "gelu", "layer_norm_eps": 1e-5}
_HUGGING_FACE: dict[str, dict[str, Any]] = {
    "vit": {}, "vit_mae": {}, "deit": {}, "dinov2": {}, "dinov2_with_registers": {},
    "clip": _CLIP, "clip_vision_model": _CLIP, "siglip": _SIGLIP, "siglip_vision_model": _SIGLIP,
    "dinov3_vit": _DINOV3,
}  # fmt: skip
# Those with the arrays of another model, which is trained on pixels that are normalised otherwise.
_NORMALISATION = {"vit_mae": "imagenet"}


def _hugging_face(said: dict[str, Any], config: Path) -> dict[str, Any]:
    epsilon = said.get("layer_norm_eps")
    if epsilon is not None and not (isinstance(epsilon, int | float) and 0 < epsilon < 1):
        raise _refused(config, "layer_norm_eps", epsilon, "a number between 0 and 1")
    pooler = said.get("pooler_act", "tanh")
    if pooler not in (None, "tanh"):
        raise _refused(config, "pooler_act", pooler, "'tanh'")
    if said.get("rope_theta", ROTARY_BASE) != ROTARY_BASE:
        raise _refused(config, "rope_theta", said["rope_theta"], f"{ROTARY_BASE:g}")
    act = said.get("hidden_act")
    size = said.get("image_size")
    return {
        "width": said.get("hidden_size"),
        "depth": said.get("num_hidden_layers"),
        "num_heads": said.get("num_attention_heads"),
        "norm_epsilon": None if epsilon is None else float(epsilon),
        # The SwiGLUs of DINOv2 do not ask for it.
        "activation": None if said.get("use_swiglu_ffn") else act,
        "gelu": _gelu(act, "hidden_act", config),
        "image_size": [size, size] if isinstance(size, int) else size,
    }


def _timm(said: dict[str, Any], config: Path) -> dict[str, Any]:
    name = said["architecture"]
    for part, title in _OTHER_TIMM:
        if part in f"{name}_":
            raise ValueError(
                f"{str(config)!r} says that the file beside it is {name!r}, "
                f"{title}, and keras_vit has no such model."
            )
    pretrained, arguments = said.get("pretrained_cfg"), said.get("model_args")
    pretrained = pretrained if isinstance(pretrained, dict) else {}
    arguments = arguments if isinstance(arguments, dict) else {}
    pool = said.get("global_pool", arguments.get("global_pool"))
    if pool not in (None, "", *_POOLS):
        raise _refused(config, "global_pool", pool, f"one of {list(_POOLS)}")
    size = pretrained.get("input_size")
    act = arguments.get("act_layer")
    if act is None and name.startswith(_SWIGLU_OF_TIMM):
        act = SILU
    gelu = _gelu(act, "act_layer", config)
    return {
        "num_heads": arguments.get("num_heads"),
        "activation": act,
        "gelu": gelu or next((g for part, g in _GELU_OF_TIMM.items() if part in name), None),
        "classifier": _POOLS.get(pool or ""),
        "image_size": size[1:] if isinstance(size, list) and len(size) == 3 else None,
        "normalisation": _normalisation(pretrained, "mean", "std", config),
    }


def _preprocessor(said: dict[str, Any], config: Path) -> dict[str, Any]:
    """Hugging Face's `preprocessor_config.json`, or `processor_config.json` with one inside."""
    inside = said.get("image_processor", said)
    if not isinstance(inside, dict) or inside.get("do_normalize") is False:
        return {}
    return {"normalisation": _normalisation(inside, "image_mean", "image_std", config)}


def _open_clip(said: dict[str, Any], config: Path) -> dict[str, Any]:
    """open_clip's configuration of both towers."""
    model, pixels = (said.get(key) for key in ("model_cfg", "preprocess_cfg"))
    model, pixels = (x if isinstance(x, dict) else {} for x in (model, pixels))
    tower = model.get("vision_cfg")
    tower = tower if isinstance(tower, dict) else {}
    heads, width, quick = tower.get("head_width"), tower.get("width"), model.get("quick_gelu")
    size = tower.get("image_size")
    return {
        # With timm's code for the images, timm decides.
        "gelu": None if "timm_model_name" in tower else _GELU_OF_OPEN_CLIP[bool(quick)],
        "width": width,
        "num_heads": width // heads if isinstance(width, int) and isinstance(heads, int) else None,
        "image_size": [size, size] if isinstance(size, int) else size,
        "normalisation": _normalisation(pixels, "mean", "std", config),
    }


# The files of JSON that may lie beside the weights -> what reads them.
CONFIGURATIONS: dict[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {
    "config.json": _config,
    "preprocessor_config.json": _preprocessor,
    "processor_config.json": _preprocessor,
    "open_clip_config.json": _open_clip,
}


def _normalisation(said: dict[str, Any], mean: str, std: str, config: Path) -> Any:
    pair = said.get(mean), said.get(std)
    if None in pair:
        return None
    try:
        return normalisation_of(pair)
    except ValueError:
        raise _refused(config, f"{mean}, {std}", pair, "a number for each channel") from None


def _gelu(name: Any, field: str, config: Path) -> str | None:
    """A GELU; none where nothing is said, or SiLU, which only goes with a gate."""
    if name in (None, SILU):
        return None
    if not isinstance(name, str) or name not in _GELUS:
        raise _refused(config, field, name, f"one of {list(_GELUS)}")
    return _GELUS[name]


def _refused(config: Path, field: str, value: Any, expected: str) -> ValueError:
    return ValueError(
        f"{str(config)!r} says {field}={value!r} of the model beside it. Expected: {expected}, "
        "as the models of keras_vit have it; with another the numbers would be wrong."
    )
