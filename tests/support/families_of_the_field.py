"""The Vision Transformers of other libraries that open here, a row each.

tests/checkpoints/test_families.py compares every row with ours, and docs/generate.py makes the
table of families in docs/convert.md of them. Importing this file needs neither timm nor torch.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

WIDTH, DEPTH, HEADS, PATCH, CLASSES = 48, 2, 4, 8, 5
SIZE = 32
LIBRARIES = {"timm": ("timm", "timm"), "transformers": ("Hugging Face", "huggingface")}


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


TOKENS = {"timm": timm_tokens, "transformers": hugging_face_tokens}


@dataclasses.dataclass(frozen=True)
class Peer:
    """A kind of file of another library.

    Attributes:
        name: Of its test, `pytest tests/checkpoints/test_families.py -k NAME`.
        family: What people call these models.
        library: The module that has them, a key of `LIBRARIES`.
        classes: What the library calls them, for people.
        build: (the module, size of the image) -> a small random model in PyTorch.
        options: Arguments of `from_checkpoint` for what the file does not say.
        has_head: Whether the logits are compared, or the tokens alone.
        tokens: (their model, pixels) -> its tokens after the last norm. Default: by the library.
        saved: What is done to the names of its arrays before they are saved.
        back: Class of the library that opens what we write, where it is not that of `build`;
            `""` where none does.
        left_out: What of the file is no part of our model; the loader says it.
        other_sizes: Sizes of images, in pixels, that the file was not trained at.
    """

    name: str
    family: str
    library: str
    classes: str
    build: Callable[[Any, Any], Any]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    has_head: bool = True
    tokens: Callable[[Any, Any], Any] | None = None
    saved: Callable[[dict[str, Any]], dict[str, Any]] = dict
    back: str | None = None
    left_out: str = ""
    other_sizes: tuple[Any, ...] = (48, (40, 64))

    @property
    def format(self) -> str:
        """The `format=` of `save_weights`."""
        return LIBRARIES[self.library][1]

    @property
    def row(self) -> list[str]:
        """Its cells in the table of docs/convert.md."""
        title, _ = LIBRARIES[self.library]
        back = {None: "yes", "": "-"}.get(self.back) or f"as `{self.back}`"
        return [self.family, f"{title}: {self.classes}", f"`{self.format}`", "yes", back,
                self.left_out or "-", f"`{self.name}`"]  # fmt: skip


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


# Their models take pixels that are normalised, as ours do with this argument.
RAW = {"normalisation": "centred"}

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
        dinov2("Dinov2ForImageClassification", use_swiglu_ffn=True), RAW, left_out="the mask token",
    ),
    Peer(
        "dinov2-giant-registers-hugging-face", "DINOv2 giant with registers", "transformers",
        "`Dinov2WithRegistersModel`", dinov2("Dinov2WithRegistersModel", use_swiglu_ffn=True),
        RAW, has_head=False, left_out="the mask token",
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
        RAW, has_head=False, left_out="the mask token",
    ),
    Peer(
        "dinov2-head-hugging-face", "DINOv2 with a head", "transformers",
        "`Dinov2ForImageClassification`", dinov2("Dinov2ForImageClassification"),
        RAW, left_out="the mask token",
    ),
    Peer(
        "dinov2-registers-hugging-face", "DINOv2 with registers", "transformers",
        "`Dinov2WithRegistersModel`", dinov2("Dinov2WithRegistersModel"),
        RAW, has_head=False, left_out="the mask token",
    ),
    Peer(
        "dinov2-registers-head-hugging-face", "DINOv2 with registers and a head", "transformers",
        "`Dinov2WithRegistersForImageClassification`",
        dinov2("Dinov2WithRegistersForImageClassification"), RAW, left_out="the mask token",
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
        RAW, has_head=False, tokens=mae_tokens, back="ViTModel", left_out="the decoder",
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
        RAW,
    ),
    Peer(
        "deit-hugging-face", "DeiT with a distillation token and one head", "transformers",
        "`DeiTForImageClassification`, `DeiTModel`", deit("DeiTForImageClassification"), RAW,
    ),
    Peer(
        "clip-timm", "CLIP", "timm", "`vit_*_clip_*`", timm_clip,
        {"num_heads": HEADS, "gelu": "exact", **RAW},
    ),
    Peer(
        "clip-quick-timm", "CLIP", "timm", "`vit_*_clip_quickgelu_*`",
        lambda timm, size: timm_clip(timm, size, act_layer="quick_gelu"),
        {"num_heads": HEADS, "gelu": "quick", **RAW},
    ),
    Peer(
        "clip-hugging-face", "CLIP", "transformers", "`CLIPVisionModelWithProjection`",
        lambda library, size: tower(
            library, size, "CLIPVisionModelWithProjection", "CLIPVisionConfig", projection_dim=7
        ),
        RAW, tokens=tower_tokens,
    ),
    Peer(
        "clip-tower-hugging-face", "CLIP", "transformers", "`CLIPVisionModel`",
        lambda library, size: tower(
            library, size, "CLIPVisionModel", "CLIPVisionConfig", hidden_act="gelu"
        ),
        {"pooling": "token", **RAW}, tokens=tower_tokens,
    ),
    Peer(
        "clip-both-hugging-face", "CLIP", "transformers", "`CLIPModel`",
        lambda library, size: clip_and_texts(library, size, "CLIP", projection_dim=7),
        RAW, has_head=False, tokens=tower_tokens, back="CLIPVisionModelWithProjection",
        left_out="the text tower",
    ),
    Peer(
        "siglip-timm", "SigLIP, SigLIP 2", "timm", "`vit_*_siglip_*`", timm_siglip,
        {"num_heads": HEADS, **RAW},
    ),
    Peer(
        "siglip-without-head-timm", "SigLIP, SigLIP 2", "timm", "the same, `num_classes=0`",
        lambda timm, size: timm_siglip(timm, size, num_classes=0),
        {"num_heads": HEADS, **RAW},
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
