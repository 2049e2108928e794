"""Questions that the arrays of a file leave open although the answer changes the result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from keras_vit.checkpoints.checkpoint import Checkpoint
from keras_vit.checkpoints.info.vit import ViTInfo


@dataclasses.dataclass(frozen=True)
class Doubt:
    """A question that a file leaves open.

    Attributes:
        argument: The argument of `from_checkpoint` that answers it.
        applies: Whether this file leaves the question open.
        question: A sentence for the user.
    """

    argument: str
    applies: Callable[[Checkpoint, ViTInfo], bool]
    question: str


def _size(info: ViTInfo) -> tuple[int, int, int]:
    return info.config.width, info.config.depth, info.config.mlp_dim


# (width, depth, MLP) of the models that timm has with either GELU, all without a class token.
_SIGLIP = ((768, 12, 3072), (1024, 24, 4096), (1152, 27, 4304), (1536, 40, 6144))


# Formats that do not say the GELU of a CLIP tower.
_CLIP_FORMATS = ("timm", "huggingface", "open_clip")


def _is_timm(checkpoint: Checkpoint) -> bool:
    return checkpoint.format.name == "timm"


DOUBTS = (
    Doubt(
        "classifier",
        lambda file, info: info.class_token and info.norm_after_pooling,
        "its last norm is `fc_norm`: did the model take the mean of the patches "
        "(classifier='gap', timm's global_pool='avg') or the class token (classifier='token')?",
    ),
    Doubt(
        "classifier",
        lambda file, info: (
            _is_timm(file) and info.position_embedding == "rotary" and info.classes is not None
        ),
        "the head of a DINOv3 of timm reads the mean of the patches (classifier='gap', timm's "
        "usual global_pool='avg') or the class token (classifier='token')?",
    ),
    Doubt(
        "gelu",
        lambda file, info: (
            _is_timm(file) and not info.class_token and not info.registers
            and _size(info) in _SIGLIP
        ),
        "models of this size have either GELU: gelu='tanh' (SigLIP 2 and its largest models) or "
        "gelu='exact' (timm's usual)?",
    ),
    Doubt(
        "gelu",
        lambda file, info: info.embedding_norm and file.format.name in _CLIP_FORMATS,
        "CLIP models have either activation: gelu='quick' (OpenAI's weights, and names with "
        "quickgelu) or gelu='exact' (open_clip's usual)? A Perception Encoder (vit_pe_*) has the "
        "same arrays and rotary positions: as CLIP its numbers would be wrong.",
    ),
    Doubt(
        "num_heads",
        lambda file, info: (
            _is_timm(file) and info.classifier == "gap" and not info.class_token
            and _size(info) == (768, 12, 3072)
        ),
        "timm has models of this size with num_heads=12 (most) and num_heads=16 "
        "(vit_base_patch16_gap_224)?",
    ),
    Doubt(
        "patch_size",
        lambda file, info: (
            file.format.name == "big_vision" and info.config.stem is None
            and (info.config.patch_size, info.num_positions) == (32, 49)
        ),
        "a kernel of 32 x 32 with 7 x 7 positions is either a model with patches of 32 pixels "
        "(patch_size=32) or FlexiViT, which resamples the kernel to the patches wanted: "
        "patch_size=16 and image_size=240 for example?",
    ),
)  # fmt: skip


def check_no_doubt(checkpoint: Checkpoint, info: Any, given: Mapping[str, Any]) -> None:
    """Asks for every argument without which the file may open as another model.

    Args:
        checkpoint: The file.
        info: The architecture that `describe` found in it.
        given: The user's arguments; `None` does not count as an answer.

    Raises:
        ValueError: If questions are open (it lists them all), or if keras_vit has no such model.
    """
    if not isinstance(info, ViTInfo):
        return
    if _is_res_post_norm(checkpoint, info):
        raise ValueError(
            f"{str(checkpoint.path)!r} has the arrays of timm's vit_base_patch16_rpn_224, a "
            "Transformer that normalises after each branch (res-post-norm), and keras_vit has no "
            "such model. If yours normalises before each branch, add zeros as `attn.qkv.bias` to "
            "every block of the file."
        )
    known = {key for key, value in given.items() if value is not None} | set(checkpoint.metadata)
    questions = [
        f"  {doubt.argument}=: {doubt.question}"
        for doubt in DOUBTS
        if doubt.argument not in known and doubt.applies(checkpoint, info)
    ]
    if questions:
        raise ValueError(
            f"{str(checkpoint.path)!r} does not say all that its model computes. Pass these "
            "arguments to `keras_vit.from_checkpoint`:\n" + "\n".join(questions)
        )


def _is_res_post_norm(checkpoint: Checkpoint, info: ViTInfo) -> bool:
    """Recognises these models by the arrays that they lack; they have none of their own."""
    return (
        _is_timm(checkpoint)
        and not info.class_token
        and info.norm_after_pooling
        and not info.has_layer_scale
        and not info.registers
        and not checkpoint.has("block_0/attention/query/bias")
    )
