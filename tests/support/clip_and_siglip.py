"""CLIP and SigLIP of other libraries, a row each, as in families_of_the_field.py."""

from __future__ import annotations

import functools
from typing import Any

from support.peers import DEPTH, HEADS, PATCH, WIDTH, Peer, hugging_face, timm_vit


def tower_tokens(model: Any, pixels: Any) -> Any:
    """The same, of the image tower of a model of images and texts."""
    tower = getattr(model, "vision_model", model)
    tokens = tower(pixels, interpolate_pos_encoding=True).last_hidden_state
    # CLIP normalises the class token alone, after this.
    return tower.post_layernorm(tokens) if model.config.model_type.startswith("clip") else tokens


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


CLIP_AND_SIGLIP = (
    Peer(
        "clip-timm", "CLIP", "timm", "`vit_*_clip_*`", timm_clip,
        {"num_heads": HEADS, "gelu": "exact"},
    ),
    Peer(
        "clip-quick-timm", "CLIP", "timm", "`vit_*_clip_quickgelu_*`",
        lambda timm, size: timm_clip(timm, size, act_layer="quick_gelu"),
        {"num_heads": HEADS, "gelu": "quick"},
    ),
    Peer(
        "clip-hugging-face", "CLIP", "transformers", "`CLIPVisionModelWithProjection`",
        lambda library, size: tower(
            library, size, "CLIPVisionModelWithProjection", "CLIPVisionConfig", projection_dim=7
        ),
        tokens=tower_tokens,
    ),
    Peer(
        "clip-tower-hugging-face", "CLIP", "transformers", "`CLIPVisionModel`",
        lambda library, size: tower(
            library, size, "CLIPVisionModel", "CLIPVisionConfig", hidden_act="gelu"
        ),
        {"pooling": "token"}, tokens=tower_tokens,
    ),
    Peer(
        "clip-both-hugging-face", "CLIP", "transformers", "`CLIPModel`",
        lambda library, size: clip_and_texts(library, size, "CLIP", projection_dim=7),
        has_head=False, tokens=tower_tokens, back="CLIPVisionModelWithProjection",
        left_out="the text tower",
    ),
    Peer(
        "siglip-timm", "SigLIP, SigLIP 2", "timm", "`vit_*_siglip_*`", timm_siglip,
        {"num_heads": HEADS},
    ),
    Peer(
        "siglip-without-head-timm", "SigLIP, SigLIP 2", "timm", "the same, `num_classes=0`",
        lambda timm, size: timm_siglip(timm, size, num_classes=0),
        {"num_heads": HEADS},
    ),
    Peer(
        "siglip-hugging-face", "SigLIP, SigLIP 2", "transformers", "`SiglipVisionModel`",
        lambda library, size: tower(library, size, "SiglipVisionModel", "SiglipVisionConfig"),
        tokens=tower_tokens,
    ),
    Peer(
        "siglip-both-hugging-face", "SigLIP, SigLIP 2", "transformers", "`SiglipModel`",
        lambda library, size: clip_and_texts(library, size, "Siglip"),
        has_head=False, tokens=tower_tokens, back="SiglipVisionModel", left_out="the text tower",
    ),
)  # fmt: skip
