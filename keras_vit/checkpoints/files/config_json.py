"""Reads what a `config.json` of Hugging Face or of timm says about the weights beside it.

A field that changes what the model computes is either understood or refused, never read past.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_vit.utils.files import read_json

_GELUS = {
    "gelu": "exact", "gelu_python": "exact", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh",
    "gelu_fast": "tanh", "gelu_tanh": "tanh",
}  # fmt: skip
# `model_type` of the models of Hugging Face whose configurations have these fields.
_HUGGING_FACE = ("vit", "vit_mae", "deit", "dinov2", "dinov2_with_registers")
# The two values of `global_pool` that a head here can take.
_POOLS = {"token": "token", "avg": "gap"}
# Part of timm's names of models -> what sets these apart. Their arrays look like any other's.
_OTHER_TIMM = (
    ("_rpn_", "a Transformer that normalises after each branch (res-post-norm)"),
    ("quickgelu", "a Transformer with the activation quick_gelu"),
)


def settings_beside(path: Path) -> dict[str, Any]:
    """What the `config.json` in the folder of a file says; empty where there is none.

    Raises:
        ValueError: If it says that the model is one that is not known here, or cannot be read:
            without it the file might open as another model.
    """
    config = path.with_name("config.json")
    if not config.is_file():
        return {}
    said = read_json(config, {})
    if said.get("model_type") in _HUGGING_FACE:
        found = _hugging_face(said, config)
    elif isinstance(said.get("architecture"), str):
        found = _timm(said, config)
    else:
        return {}
    return {key: value for key, value in found.items() if value is not None}


def _hugging_face(said: dict[str, Any], config: Path) -> dict[str, Any]:
    epsilon = said.get("layer_norm_eps")
    if epsilon is not None and not (isinstance(epsilon, int | float) and 0 < epsilon < 1):
        raise _refused(config, "layer_norm_eps", epsilon, "a number between 0 and 1")
    pooler = said.get("pooler_act", "tanh")
    if pooler not in (None, "tanh"):
        raise _refused(config, "pooler_act", pooler, "'tanh'")
    size = said.get("image_size")
    return {
        "width": said.get("hidden_size"),
        "depth": said.get("num_hidden_layers"),
        "num_heads": said.get("num_attention_heads"),
        "norm_epsilon": None if epsilon is None else float(epsilon),
        "gelu": _gelu(said.get("hidden_act"), "hidden_act", config),
        "image_size": [size, size] if isinstance(size, int) else size,
    }


def _timm(said: dict[str, Any], config: Path) -> dict[str, Any]:
    for part, title in _OTHER_TIMM:
        if part in f"{said['architecture']}_":
            raise ValueError(
                f"{str(config)!r} says that the file beside it is {said['architecture']!r}, "
                f"{title}, and keras_vit has no such model."
            )
    pretrained, arguments = said.get("pretrained_cfg"), said.get("model_args")
    pretrained = pretrained if isinstance(pretrained, dict) else {}
    arguments = arguments if isinstance(arguments, dict) else {}
    pool = said.get("global_pool", arguments.get("global_pool"))
    if pool not in (None, "", *_POOLS):
        raise _refused(config, "global_pool", pool, f"one of {list(_POOLS)}")
    size = pretrained.get("input_size")
    return {
        "num_heads": arguments.get("num_heads"),
        "gelu": _gelu(arguments.get("act_layer"), "act_layer", config),
        "classifier": _POOLS.get(pool or ""),
        "image_size": size[1:] if isinstance(size, list) and len(size) == 3 else None,
    }


def _gelu(name: Any, field: str, config: Path) -> str | None:
    if name is None:
        return None
    if name not in _GELUS:
        raise _refused(config, field, name, f"one of {list(_GELUS)}")
    return _GELUS[name]


def _refused(config: Path, field: str, value: Any, expected: str) -> ValueError:
    return ValueError(
        f"{str(config)!r} says {field}={value!r} of the model beside it. Expected: {expected}, "
        "as the models of keras_vit have it; with another the numbers would be wrong."
    )
