"""The formats of checkpoints: one row for each way to name the arrays of a family of models.

What a format is shows in the names of the arrays alone; the kind of file (`.npz`, `.safetensors`)
is another matter.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Any

from keras_vit.checkpoints.names.big_vision import (
    BIG_VISION_KEYS,
    BIG_VISION_RENAMES,
    BIG_VISION_SINCOS_KEYS,
    GOOGLE_RENAMES,
)
from keras_vit.checkpoints.names.clip import (
    HUGGING_FACE_CLIP_KEYS,
    HUGGING_FACE_TOWER_RENAMES,
    OPEN_CLIP_KEYS,
    OPEN_CLIP_RENAMES,
    TIMM_CLIP_KEYS,
)
from keras_vit.checkpoints.names.deit import (
    DEIT_KEYS,
    DEIT_RENAMES,
    DEIT_TEACHER_KEYS,
    TIMM_DISTILLED_KEYS,
)
from keras_vit.checkpoints.names.dinov2 import DINOV2_FORMATS
from keras_vit.checkpoints.names.google import BIT_KEYS, MIXER_KEYS, VIT_KEYS
from keras_vit.checkpoints.names.keys import BIT, MIXER, VIT, Family, Key
from keras_vit.checkpoints.names.pytorch import (
    HUGGING_FACE_KEYS,
    HUGGING_FACE_RENAMES,
    TIMM_BIT_KEYS,
    TIMM_RENAMES,
    TIMM_STEM_ONLY_KEYS,
    TIMM_SWIGLU_KEYS,
    TIMM_VIT_KEYS,
)
from keras_vit.checkpoints.names.rotary import (
    FACEBOOK_DINOV3_KEYS,
    HUGGING_FACE_DINOV3_KEYS,
    TIMM_DINOV3_KEYS,
    TIMM_DINOV3_SWIGLU_KEYS,
)
from keras_vit.checkpoints.names.siglip import (
    BIG_VISION_POOLING_KEYS,
    HUGGING_FACE_SIGLIP_KEYS,
    TIMM_POOLING_KEYS,
)
from keras_vit.checkpoints.names.templates import fill, numbers_in


@dataclasses.dataclass(frozen=True)
class Format:
    """How files of one origin name the arrays of one family of models.

    Attributes:
        name: What `save_weights(format=...)` calls it.
        title: For people.
        family: The models that it can hold.
        keys: All arrays.
        markers: Arrays that every such file has, and none of the formats after it in `FORMATS`.
        renames: (pattern, replacement) from other spellings of the names to those of `keys`.
        gelu, norm_epsilon: Of the code that reads such files.
        interpolation: How that code resamples positions.
        container: What such files usually are.
        heads: What a head may read where there is a class token: values of `classifier` in `ViT`.
        model_type: What Hugging Face's `config.json` calls such a model.
        packed: Two arrays of which the first has twice as many rows as the second has columns, in
            such files alone: names do not tell a packed SwiGLU from another MLP.
        normalisation: How that code normalises pixels, as in `ViT`; `None` where every model of
            the library has its own.
        lacks: Arrays that no such file has.
        position_embedding: As in `ViT`; `None` where such a file may be of any.
    """

    name: str
    title: str
    family: Family
    keys: tuple[Key, ...]
    markers: tuple[str, ...]
    renames: tuple[tuple[str, str], ...] = ()
    gelu: str = "tanh"
    norm_epsilon: float = 1e-6
    interpolation: str = "bilinear"
    container: str = ".npz"
    heads: tuple[str, ...] = ("token",)
    model_type: str = ""
    packed: tuple[str, str] | None = None
    normalisation: str | None = "centred"
    lacks: tuple[str, ...] = ()
    position_embedding: str | None = "learned"

    def spelling(self, name: str) -> str:
        """The name of an array as `keys` has it."""
        for pattern, replacement in self.renames:
            name = re.sub(pattern, replacement, name)
        return name

    def array_of(self, variable: str) -> tuple[str, Key] | None:
        """`"block_3/mlp_norm/beta"` -> the name of its array and its row, or `None`."""
        return _array_of(self, variable)

    def variables_of(self, array: str) -> list[tuple[str, Key]]:
        """The variables that an array holds: one, three where they are fused, or none."""
        found = []
        for key in self.keys:
            numbers = numbers_in(key.array, array)
            if numbers is not None:
                found.append((fill(key.variable, numbers), key))
        return found


@functools.cache
def _array_of(file_format: Format, variable: str) -> tuple[str, Key] | None:
    for key in file_format.keys:
        numbers = numbers_in(key.variable, variable)
        if numbers is not None:
            return fill(key.array, numbers), key
    return None


def _keras(family: Family, keys: tuple[Key, ...], marker: str) -> Format:
    """Keras's own files have our names."""
    own = dict.fromkeys(key.variable for key in keys)
    rows = tuple(Key(variable, variable) for variable in own)
    positions = "position_embedding/embedding"
    rows = tuple(
        dataclasses.replace(row, layout="positions") if row.array == positions else row
        for row in rows
    )
    return Format(
        "keras", f"Keras, {family.name}", family, rows, (marker,), container=".keras",
        heads=("token", "gap", "token+avg", "token+distillation", "map"), position_embedding=None,
    )  # fmt: skip


_TIMM_MARKERS = ("patch_embed.proj.weight", "blocks.0.attn.qkv.weight")
_TIMM: dict[str, Any] = {
    "gelu": "exact", "interpolation": "bicubic_antialias", "container": ".safetensors",
    "heads": ("token", "gap", "map"), "normalisation": None,
}  # fmt: skip
_DINOV3: dict[str, Any] = {
    **_TIMM, "norm_epsilon": 1e-5, "heads": ("gap", "token"), "lacks": ("pos_embed",),
    "position_embedding": "rotary",
}  # fmt: skip
_HUGGING_FACE: dict[str, Any] = {
    "gelu": "exact", "norm_epsilon": 1e-12, "interpolation": "bicubic",
    "container": ".safetensors",
}  # fmt: skip

FORMATS = (
    Format(
        "big_vision", "big_vision", VIT, BIG_VISION_KEYS + BIG_VISION_POOLING_KEYS,
        ("embedding/kernel", "pos_embedding"),
        BIG_VISION_RENAMES, heads=("token", "map"),
    ),
    Format(
        "big_vision", "big_vision, sincos2d positions", VIT, BIG_VISION_SINCOS_KEYS,
        ("embedding/kernel", "Transformer/encoder_norm/scale"),
        lacks=tuple(f"Transformer/{place}pos_embedding" for place in ("", "posembed_input/")),
    ),
    Format(
        "google", "Google, Vision Transformer", VIT, VIT_KEYS, ("embedding/kernel",),
        GOOGLE_RENAMES,
    ),
    Format(
        "google", "Google, BiT", BIT, BIT_KEYS, ("resnet/root_block/standardized_conv2d/kernel",),
        GOOGLE_RENAMES,
    ),
    Format(
        "google", "Google, MLP-Mixer", MIXER, MIXER_KEYS, ("stem/kernel",),
        GOOGLE_RENAMES,
    ),
    Format(
        "timm", "timm, stem without blocks", VIT, TIMM_STEM_ONLY_KEYS,
        ("patch_embed.backbone.conv.weight",), TIMM_RENAMES, **_TIMM,
    ),
    Format(
        "timm", "timm, DINOv3", VIT, TIMM_DINOV3_KEYS,
        ("cls_token", "reg_token", "blocks.0.gamma_1", "blocks.0.mlp.fc1.weight"), **_DINOV3,
    ),
    Format(
        "timm", "timm, DINOv3 with SwiGLU", VIT, TIMM_DINOV3_SWIGLU_KEYS,
        ("cls_token", "reg_token", "blocks.0.gamma_1", "blocks.0.mlp.fc1_g.weight"), **_DINOV3,
    ),
    Format(
        "timm", "Facebook, DINOv3", VIT, FACEBOOK_DINOV3_KEYS,
        ("storage_tokens", "blocks.0.ls1.gamma"), **{**_DINOV3, "normalisation": "imagenet"},
    ),
    Format(
        "timm", "timm, with SwiGLU", VIT, TIMM_SWIGLU_KEYS, _TIMM_MARKERS, TIMM_RENAMES, **_TIMM,
        packed=("blocks.0.mlp.fc1.weight", "blocks.0.mlp.fc2.weight"),
    ),
    Format(
        "timm", "timm, CLIP", VIT, TIMM_CLIP_KEYS + TIMM_POOLING_KEYS,
        ("patch_embed.proj.weight", "norm_pre.weight"), norm_epsilon=1e-5, **_TIMM,
    ),
    Format(
        "timm", "timm, distilled DeiT", VIT, TIMM_DISTILLED_KEYS,
        (*_TIMM_MARKERS, "dist_token", "head_dist.weight"), TIMM_RENAMES,
        **{**_TIMM, "heads": ("token+distillation",)},
    ),
    Format(
        "timm", "timm, Vision Transformer", VIT, TIMM_VIT_KEYS + TIMM_POOLING_KEYS, _TIMM_MARKERS,
        TIMM_RENAMES, **_TIMM,
    ),
    Format(
        "timm", "timm, BiT", BIT, TIMM_BIT_KEYS,
        ("stem.conv.weight", "stages.0.blocks.0.conv1.weight"),
        container=".safetensors",
    ),
    *(
        Format(
            "huggingface", f"Hugging Face, DINOv2{kind}", VIT, keys,
            tuple(f"{base}.{marker}" for marker in markers), renames, gelu="exact",
            interpolation=interpolation, container=".safetensors", heads=("token+avg",),
            model_type=base, normalisation="imagenet",
        )
        for kind, base, keys, markers, renames, interpolation in DINOV2_FORMATS
    ),
    Format(
        "huggingface", "Hugging Face, DINOv3", VIT, HUGGING_FACE_DINOV3_KEYS,
        ("embeddings.patch_embeddings.weight", "layer.0.layer_scale1.lambda1"), gelu="exact",
        norm_epsilon=1e-5, interpolation="bicubic", container=".safetensors",
        model_type="dinov3_vit", normalisation="imagenet", position_embedding="rotary",
    ),
    Format(
        "huggingface", "Hugging Face, distilled DeiT", VIT, DEIT_TEACHER_KEYS,
        ("deit.embeddings.distillation_token", "distillation_classifier.weight"), DEIT_RENAMES,
        **_HUGGING_FACE, heads=("token+distillation",), model_type="deit", normalisation="imagenet",
    ),
    Format(
        "huggingface", "Hugging Face, DeiT", VIT, DEIT_KEYS,
        ("deit.embeddings.distillation_token",), DEIT_RENAMES, **_HUGGING_FACE, model_type="deit",
        normalisation="imagenet",
    ),
    Format(
        "huggingface", "Hugging Face, ViT", VIT, HUGGING_FACE_KEYS,
        ("vit.embeddings.patch_embeddings.projection.weight",),
        HUGGING_FACE_RENAMES, **_HUGGING_FACE, model_type="vit",
    ),
    Format(
        "huggingface", "Hugging Face, CLIP", VIT, HUGGING_FACE_CLIP_KEYS,
        ("vision_model.embeddings.patch_embedding.weight", "vision_model.pre_layrnorm.weight"),
        HUGGING_FACE_TOWER_RENAMES, gelu="quick", norm_epsilon=1e-5,
        interpolation="bicubic", container=".safetensors", normalisation="clip",
        model_type="clip_vision_model",
    ),
    Format(
        "huggingface", "Hugging Face, SigLIP", VIT, HUGGING_FACE_SIGLIP_KEYS,
        ("vision_model.embeddings.patch_embedding.weight",),
        HUGGING_FACE_TOWER_RENAMES, interpolation="bicubic", container=".safetensors",
        heads=("map",), model_type="siglip_vision_model",
    ),
    Format(
        "open_clip", "OpenAI and open_clip, CLIP", VIT, OPEN_CLIP_KEYS,
        ("visual.conv1.weight", "visual.class_embedding"), OPEN_CLIP_RENAMES,
        gelu="quick", norm_epsilon=1e-5, interpolation="bicubic_antialias",
        container=".safetensors", normalisation="clip",
    ),
    _keras(
        VIT, VIT_KEYS + TIMM_VIT_KEYS + TIMM_CLIP_KEYS + TIMM_POOLING_KEYS,
        "patch_embed/projection/kernel",
    ),
    _keras(BIT, BIT_KEYS, "root_conv/kernel"),
    _keras(MIXER, MIXER_KEYS, "stem/projection/kernel"),
)  # fmt: skip

FORMAT_NAMES = tuple(dict.fromkeys(file_format.name for file_format in FORMATS))
