"""The Vision Transformers of other libraries that open here, a row each.

tests/checkpoints/test_families.py compares every row with ours, and docs/generate.py makes the
table of families in docs/convert.md of them. Importing this file needs neither timm nor torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from support.clip_and_siglip import CLIP_AND_SIGLIP
from support.dinov3 import DINOV3
from support.peers import (
    CLASSES,
    DEPTH,
    HEADS,
    PATCH,
    WIDTH,
    Peer,
    hugging_face,
    hugging_face_tokens,
    timm_vit,
)


def dinov2(model: str, **options: Any) -> Callable[[Any, Any], Any]:
    config = f"{model.removesuffix('Model').removesuffix('ForImageClassification')}Config"
    return lambda library, size: hugging_face(library, size, model, config, **options)


def mae_tokens(model: Any, pixels: Any) -> Any:
    """Nothing is masked, and the noise leaves the patches in order."""
    if model.config.model_type != "vit_mae":
        return hugging_face_tokens(model, pixels)
    import torch

    patches = pixels.shape[2] * pixels.shape[3] // PATCH**2
    noise = torch.arange(patches).expand(len(pixels), -1).float()
    return model.vit(pixels, noise=noise, interpolate_pos_encoding=True).last_hidden_state


def as_mae_saves(state: dict[str, Any]) -> dict[str, Any]:
    """With the arrays of a decoder, as Facebook's repository names them."""
    token = state["cls_token"]
    names = (
        "mask_token",
        "decoder_pos_embed",
        "decoder_blocks.0.norm1.weight",
        "decoder_pred.bias",
    )
    return state | {name: token.clone() for name in names}


def as_dino_saves(state: dict[str, Any]) -> dict[str, Any]:
    """The teacher of a checkpoint of Facebook's repository, with its head."""
    head = ("head.mlp.0.weight", "head.mlp.0.bias", "head.last_layer.weight_g")
    renamed = {f"teacher.backbone.{name}": array for name, array in state.items()}
    return renamed | {f"teacher.{name}": state["cls_token"].clone() for name in head}


def headless(timm: Any, image_size: Any) -> Any:
    return timm_vit(timm, image_size, num_classes=0)


def timm_distilled(timm: Any, image_size: Any) -> Any:
    return timm.models.deit.VisionTransformerDistilled(
        img_size=image_size, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS,
        num_classes=CLASSES, dynamic_img_size=True,
    )  # fmt: skip


def deit(model: str) -> Callable[[Any, Any], Any]:
    return lambda library, size: hugging_face(
        library, size, model, "DeiTConfig", intermediate_size=64
    )


def timm_giant(timm: Any, image_size: Any) -> Any:
    return timm_vit(
        timm, image_size, init_values=1e-5, mlp_ratio=2.66667 * 2,
        mlp_layer=timm.layers.SwiGLUPacked, act_layer="silu",
    )  # fmt: skip


def as_facebook_saves(state: dict[str, Any]) -> dict[str, Any]:
    """Arrays of a timm DINOv2 under the names of Facebook's repository, the blocks in chunks."""
    import torch

    hidden = state["blocks.0.mlp.fc2.weight"].shape[1]
    swiglu = len(state["blocks.0.mlp.fc1.weight"]) == 2 * hidden
    renamed = {}
    for name, array in state.items():
        name = re.sub(r"^blocks\.(\d+)\.", r"blocks.\1.\1.", name)
        if swiglu:
            name = name.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3")
        renamed[name] = array
    renamed["mask_token"] = state["cls_token"][0].clone()
    if "reg_token" not in state:
        return renamed
    # The position of the class token, which timm adds to the token.
    place = torch.full_like(state["cls_token"], 0.2)
    return renamed | {
        "cls_token": state["cls_token"] - place,
        "pos_embed": torch.cat([place, state["pos_embed"]], dim=1),
        "register_tokens": renamed.pop("reg_token"),
    }


PEERS = (
    Peer("vit-timm", "ViT", "timm", "`vit_*`, `deit_*`", timm_vit, {"num_heads": HEADS}),
    Peer(
        "vit-hugging-face", "ViT", "transformers", "`ViTForImageClassification`, `ViTModel`",
        lambda library, size: hugging_face(
            library, size, "ViTForImageClassification", "ViTConfig", intermediate_size=64
        ),
    ),
    Peer(
        "dinov2-timm", "DINOv2", "timm", "`vit_*_dinov2`",
        lambda library, size: timm_vit(library, size, init_values=1e-5, num_classes=0),
        {"num_heads": HEADS}, has_head=False,
    ),
    Peer(
        "dinov2-giant-timm", "DINOv2 giant (SwiGLU)", "timm", "`vit_giant_patch14_dinov2`",
        timm_giant, {"num_heads": HEADS},
    ),
    Peer(
        "dinov2-giant-facebook", "DINOv2 giant (SwiGLU)", "timm", "Facebook's names", timm_giant,
        {"num_heads": HEADS}, saved=as_facebook_saves, left_out="the mask token",
    ),
    Peer(
        "swiglu-timm", "ViT with SwiGLU", "timm", "`mlp_layer=SwiGLU`",
        lambda library, size: timm_vit(
            library, size, mlp_layer=library.layers.SwiGLU, act_layer="silu"
        ),
        {"num_heads": HEADS}, back="",
    ),
    Peer(
        "dinov2-giant-hugging-face", "DINOv2 giant (SwiGLU)", "transformers",
        "`Dinov2ForImageClassification`",
        dinov2("Dinov2ForImageClassification", use_swiglu_ffn=True), left_out="the mask token",
    ),
    Peer(
        "dinov2-giant-registers-hugging-face", "DINOv2 giant with registers", "transformers",
        "`Dinov2WithRegistersModel`", dinov2("Dinov2WithRegistersModel", use_swiglu_ffn=True),
        has_head=False, left_out="the mask token",
    ),
    Peer(
        "dinov2-facebook", "DINOv2 with registers", "timm",
        "`vit_*_reg4_dinov2`, and Facebook's names",
        lambda library, size: timm_vit(
            library, size, init_values=1e-5, num_classes=0, reg_tokens=4, no_embed_class=True
        ),
        {"num_heads": HEADS}, has_head=False, saved=as_facebook_saves, left_out="the mask token",
    ),
    Peer(
        "dinov2-hugging-face", "DINOv2", "transformers", "`Dinov2Model`", dinov2("Dinov2Model"),
        has_head=False, left_out="the mask token",
    ),
    Peer(
        "dinov2-head-hugging-face", "DINOv2 with a head", "transformers",
        "`Dinov2ForImageClassification`", dinov2("Dinov2ForImageClassification"),
        left_out="the mask token",
    ),
    Peer(
        "dinov2-registers-hugging-face", "DINOv2 with registers", "transformers",
        "`Dinov2WithRegistersModel`", dinov2("Dinov2WithRegistersModel"),
        has_head=False, left_out="the mask token",
    ),
    Peer(
        "dinov2-registers-head-hugging-face", "DINOv2 with registers and a head", "transformers",
        "`Dinov2WithRegistersForImageClassification`",
        dinov2("Dinov2WithRegistersForImageClassification"), left_out="the mask token",
    ),
    Peer(
        "mae-facebook", "MAE", "timm", "`vit_*.mae`, and Facebook's whole checkpoints", headless,
        {"num_heads": HEADS}, has_head=False, saved=as_mae_saves,
        left_out="the decoder, the mask token",
    ),
    Peer(
        "mae-hugging-face", "MAE", "transformers", "`ViTMAEForPreTraining`, `ViTMAEModel`",
        lambda library, size: hugging_face(
            library, size, "ViTMAEForPreTraining", "ViTMAEConfig", intermediate_size=64,
            mask_ratio=0.0, decoder_hidden_size=16, decoder_num_hidden_layers=1,
            decoder_num_attention_heads=1, decoder_intermediate_size=16,
        ),
        has_head=False, tokens=mae_tokens, back="ViTModel", left_out="the decoder",
    ),
    Peer(
        "dino-facebook", "DINO", "timm", "`vit_*.dino`, and Facebook's whole checkpoints", headless,
        {"num_heads": HEADS}, has_head=False, saved=as_dino_saves, left_out="DINO's head",
    ),
    Peer(
        "deit-distilled-timm", "DeiT, distilled", "timm", "`deit_*_distilled_*`", timm_distilled,
        {"num_heads": HEADS},
    ),
    Peer(
        "deit-distilled-hugging-face", "DeiT, distilled", "transformers",
        "`DeiTForImageClassificationWithTeacher`", deit("DeiTForImageClassificationWithTeacher"),
    ),
    Peer(
        "deit-hugging-face", "DeiT with a distillation token and one head", "transformers",
        "`DeiTForImageClassification`, `DeiTModel`", deit("DeiTForImageClassification"),
    ),
    *DINOV3,
    *CLIP_AND_SIGLIP,
)  # fmt: skip
