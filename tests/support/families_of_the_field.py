"""The Vision Transformers of other libraries that open here, a row each.

tests/checkpoints/test_families.py compares every row with ours, and docs/generate.py makes the
table of families in docs/convert.md of them. Importing this file needs neither timm nor torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from support.models_of_the_field import (
    HEADS,
    as_dino_saves,
    as_facebook_saves,
    as_mae_saves,
    clip_and_texts,
    deit,
    dinov2,
    headless,
    hugging_face,
    hugging_face_tokens,
    mae_tokens,
    timm_clip,
    timm_distilled,
    timm_giant,
    timm_siglip,
    timm_tokens,
    timm_vit,
    tower,
    tower_tokens,
)

SIZE = 32
LIBRARIES = {"timm": ("timm", "timm"), "transformers": ("Hugging Face", "huggingface")}


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
