"""What loading says of a file, a line for each fact."""

from __future__ import annotations

from typing import Any

from keras_vit.checkpoints.checkpoint import Checkpoint
from keras_vit.checkpoints.vit_info import ViTInfo


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
