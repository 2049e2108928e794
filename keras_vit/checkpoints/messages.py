"""What loading says of a file, a sentence for each fact."""

from __future__ import annotations

import warnings
from typing import Any

from keras_vit.checkpoints.checkpoint import Checkpoint
from keras_vit.checkpoints.info.vit import ViTInfo


def left_out_line(checkpoint: Checkpoint) -> str:
    """Which arrays of a file are no part of the model; empty where all are."""
    names = checkpoint.left_out
    if not names:
        return ""
    shown = ", ".join(ascii(name)[1:-1] for name in names[:5])
    return (
        f"{checkpoint.path.name}: {len(names)} arrays that are no part of the model are left out: "
        f"{shown}{', ...' if len(names) > 5 else ''}"
    )


def pixels_line(
    checkpoint: Checkpoint, info: Any, options: dict[str, Any], settings: dict[str, Any]
) -> str:
    """Which pixels a ViT takes, where its library does not mean [-1, 1] or does not say it."""
    name, used = checkpoint.path.name, settings.get("normalisation", "centred")
    scale = "[0, 255]" if settings.get("include_preprocessing") else "[-1, 1]"
    if used != "centred":
        return (
            f"{name}: give the model images in {scale}. It applies the mean and the deviation that "
            f"the weights were trained with ({used}) by itself; for images that have them already, "
            "pass normalisation='centred' to keras_vit.from_checkpoint."
        )
    if isinstance(info, ViTInfo) and info.normalisation is None and "normalisation" not in options:
        return (
            f"{name}: the file does not say how its images were normalised, so the model takes "
            f"them in {scale}, as AugReg's and SigLIP's. For weights of DeiT, DINO or MAE pass "
            "normalisation='imagenet' to keras_vit.from_checkpoint, of CLIP normalisation='clip'."
        )
    return ""


def gate_line(checkpoint: Checkpoint, info: Any) -> str:
    """That nothing says the activation of timm's gated MLPs; empty where something does."""
    if checkpoint.format.name != "timm" or not isinstance(info, ViTInfo) or not info.config.swiglu:
        return ""
    # DINOv3's are SwiGLUs, and so are those under Facebook's names of DINOv2, w12 and w3.
    names = (name for source, _ in checkpoint.sources.values() for name in source)
    known = info.position_embedding == "rotary" or any(".mlp.w12." in name for name in names)
    if known or {"activation", "gelu"} & set(checkpoint.metadata):
        return ""
    return (
        f"{checkpoint.path.name}: the file does not say the activation of its gated MLPs, so the "
        "model takes SiLU (SwiGLU, as DINOv2's giant). If it is another, GEGLU for example, the "
        "numbers are wrong. The config.json of timm beside a file says it."
    )


def warn_of_zero_head(checkpoint: Checkpoint) -> None:
    """Says that the class scores of a model mean nothing yet."""
    warnings.warn(
        f"The head in {checkpoint.path.name!r} is all zeros, so its class scores mean "
        "nothing. (The ImageNet-21k files of the ViT paper are like this: Google released "
        "them for their features.) Use include_top=False, or a new head (classes=..., "
        "new_head=True) and train it. The AugReg files of ImageNet-21k have trained heads.",
        stacklevel=4,
    )


def warn_of_unlike_settings(name: str, usual: dict[str, Any], here: dict[str, Any]) -> None:
    """Says that the weights in a file were probably trained in another model.

    Args:
        name: Of the file.
        usual: What the code that reads such files has.
        here: What the model has.
    """
    warnings.warn(
        f"Weights like those in {name!r} are usually of a model with {usual}, and this model has "
        f"{ {key: here[key] for key in usual} }. The file does not say it. If it is so, the "
        "results differ: build the model with the same, or by keras_vit.from_checkpoint.",
        stacklevel=3,
    )
