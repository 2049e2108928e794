"""Random models of other libraries, as `families_of_the_field.py` compares them with ours."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

WIDTH, DEPTH, HEADS, PATCH, CLASSES = 48, 2, 4, 8, 5


def timm_tokens(model: Any, pixels: Any) -> Any:
    """[B, P + N, D] after the last norm."""
    return model.forward_features(pixels)


def hugging_face_tokens(model: Any, pixels: Any) -> Any:
    """[B, P + N, D] after the last norm."""
    always = model.config.model_type.startswith("dinov2")
    options = {} if always else {"interpolate_pos_encoding": True}
    return model.base_model(pixels, **options).last_hidden_state


def tower_tokens(model: Any, pixels: Any) -> Any:
    """The same, of the image tower of a model of images and texts."""
    tower = getattr(model, "vision_model", model)
    tokens = tower(pixels, interpolate_pos_encoding=True).last_hidden_state
    # CLIP normalises the class token alone, after this.
    return tower.post_layernorm(tokens) if model.config.model_type.startswith("clip") else tokens


def timm_vit(timm: Any, image_size: Any, **options: Any) -> Any:
    settings = {
        "img_size": image_size, "patch_size": PATCH, "embed_dim": WIDTH, "depth": DEPTH,
        "num_heads": HEADS, "num_classes": CLASSES, "dynamic_img_size": True, **options,
    }  # fmt: skip
    return timm.models.vision_transformer.VisionTransformer(**settings)


def hugging_face(
    transformers: Any, image_size: Any, model: str, config: str, **options: Any
) -> Any:
    settings = {
        "image_size": image_size, "patch_size": PATCH, "hidden_size": WIDTH,
        "num_hidden_layers": DEPTH, "num_attention_heads": HEADS, "num_labels": CLASSES, **options,
    }  # fmt: skip
    return getattr(transformers, model)(getattr(transformers, config)(**settings))


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


def timm_clip(timm: Any, image_size: Any, **options: Any) -> Any:
    norm = functools.partial(timm.layers.LayerNorm, eps=1e-5)
    return timm_vit(timm, image_size, pre_norm=True, norm_layer=norm, **options)


def timm_siglip(timm: Any, image_size: Any, **options: Any) -> Any:
    return timm_vit(timm, image_size, class_token=False, global_pool="map", **options)


def tower(transformers: Any, image_size: Any, model: str, config: str, **options: Any) -> Any:
    return hugging_face(transformers, image_size, model, config, intermediate_size=64, **options)


def clip_and_texts(transformers: Any, image_size: Any, name: str, **options: Any) -> Any:
    """CLIP or SigLIP with both towers."""
    images = {
        "image_size": image_size, "patch_size": PATCH, "num_hidden_layers": DEPTH,
        "hidden_size": WIDTH, "num_attention_heads": HEADS, "intermediate_size": 64,
    }  # fmt: skip
    texts = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "vocab_size": 8, "bos_token_id": 0, "eos_token_id": 1,
    }  # fmt: skip
    config = getattr(transformers, f"{name}Config")
    return getattr(transformers, f"{name}Model")(
        config(text_config=texts, vision_config=images, **options)
    )
