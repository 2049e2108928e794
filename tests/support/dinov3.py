"""DINOv3 of other libraries, a row each, as in families_of_the_field.py."""

from __future__ import annotations

import functools
from typing import Any

from support.peers import CLASSES, DEPTH, HEADS, PATCH, SIZE, WIDTH, Peer, hugging_face


def timm_dinov3(timm: Any, image_size: Any, **options: Any) -> Any:
    """As `vit_*_dinov3_qkvb` of timm makes it."""
    settings = {
        "img_size": image_size, "patch_size": PATCH, "embed_dim": WIDTH, "depth": DEPTH,
        "num_heads": HEADS, "num_classes": CLASSES, "dynamic_img_size": True, "init_values": 1e-5,
        "rope_type": "dinov3", "rope_temperature": 100, "rope_rotate_half": True,
        "use_rot_pos_emb": True, "use_abs_pos_emb": False, "num_reg_tokens": 4,
        "use_fc_norm": False, "norm_layer": functools.partial(timm.layers.LayerNorm, eps=1e-5),
        **options,
    }  # fmt: skip
    return timm.models.eva.Eva(**settings)


def timm_eva02(timm: Any, **options: Any) -> Any:
    """EVA-02, which is not known here."""
    return timm.models.eva.Eva(
        SIZE, PATCH, embed_dim=WIDTH, depth=1, num_heads=HEADS, mlp_ratio=4 * 2 / 3,
        swiglu_mlp=True, use_rot_pos_emb=True, ref_feat_shape=(16, 16), **options,
    )  # fmt: skip


def timm_swiglu(timm: Any, image_size: Any) -> Any:
    return timm_dinov3(
        timm, image_size, swiglu_mlp=True, swiglu_align_to=8, mlp_ratio=1.5, global_pool="token"
    )


def hugging_face_dinov3(transformers: Any, image_size: Any, **options: Any) -> Any:
    return hugging_face(
        transformers, image_size, "DINOv3ViTModel", "DINOv3ViTConfig", intermediate_size=64,
        num_register_tokens=4, **options,
    )  # fmt: skip


def hugging_face_tokens(model: Any, pixels: Any) -> Any:
    """Its `base_model` is the encoder alone."""
    return model(pixels).last_hidden_state


def as_facebook_saves(state: dict[str, Any]) -> dict[str, Any]:
    """Arrays of a timm model under the names of Facebook's repository, with what it saves more."""
    import torch

    names = {"reg_token": "storage_tokens", "gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma"}
    names |= {"mlp.fc1_g": "mlp.w1", "mlp.fc1_x": "mlp.w2"}
    if any("fc1_g" in name for name in state):
        names["mlp.fc2"] = "mlp.w3"
    renamed = {}
    for name, array in state.items():
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        renamed[name] = array.clone()
    for name in [name for name in renamed if name.endswith("q_bias")]:
        query, value = renamed.pop(name), renamed.pop(name.replace("q_bias", "v_bias"))
        ones = torch.ones_like(query)  # what is masked may be any number
        place = name.replace("q_bias", "qkv.bias")
        renamed[place] = torch.cat([query, 7 * ones, value])
        renamed[f"{place}_mask"] = torch.cat([ones, 0 * ones, ones])
    periods = torch.ones(WIDTH // HEADS // 4)
    return renamed | {"mask_token": torch.zeros(1, WIDTH), "rope_embed.periods": periods}


def timm_headless(timm: Any, image_size: Any) -> Any:
    return timm_dinov3(timm, image_size, num_classes=0)


_HEADS, _SWIGLU = {"num_heads": HEADS}, "DINOv3 with SwiGLU (S+, H+, 7B)"
_TOKEN, _MEAN = {**_HEADS, "classifier": "token"}, {**_HEADS, "classifier": "gap"}
_LEFT_OUT = "the mask token, the periods of the angles"

DINOV3 = (
    Peer(
        "dinov3-timm", "DINOv3", "timm", "`vit_*_dinov3_qkvb`, `vit_*_lingbot`", timm_dinov3, _MEAN,
        opened_at=SIZE,
    ),
    Peer(
        "dinov3-without-biases-timm", "DINOv3", "timm", "`vit_*_dinov3`",
        lambda library, size: timm_dinov3(library, size, qkv_bias=False, num_classes=0),
        _HEADS, has_head=False, back="vit_*_dinov3_qkvb", build_back=timm_headless, opened_at=SIZE,
    ),
    Peer(
        "dinov3-swiglu-timm", _SWIGLU, "timm", "`vit_*_dinov3_qkvb`", timm_swiglu, _TOKEN,
        opened_at=SIZE,
    ),
    Peer(
        "dinov3-facebook", "DINOv3", "timm", "Facebook's names", timm_headless, _HEADS,
        has_head=False, saved=as_facebook_saves, left_out=_LEFT_OUT, opened_at=SIZE,
    ),
    Peer(
        "dinov3-swiglu-facebook", _SWIGLU, "timm", "Facebook's names", timm_swiglu, _TOKEN,
        saved=as_facebook_saves, left_out=_LEFT_OUT, opened_at=SIZE,
    ),
    Peer(
        "dinov3-hugging-face", "DINOv3", "transformers", "`DINOv3ViTModel`", hugging_face_dinov3,
        has_head=False, tokens=hugging_face_tokens, left_out="the mask token",
    ),
    Peer(
        "dinov3-swiglu-hugging-face", _SWIGLU, "transformers", "`DINOv3ViTModel`",
        lambda library, size: hugging_face_dinov3(
            library, size, use_gated_mlp=True, hidden_act="silu", query_bias=False, value_bias=False
        ),
        has_head=False, tokens=hugging_face_tokens, left_out="the mask token",
    ),
)  # fmt: skip
