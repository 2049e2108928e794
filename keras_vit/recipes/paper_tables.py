"""The papers' tables of hyper-parameters, one row each. `recipes.get` makes recipes of them."""

from __future__ import annotations

from typing import Any

# ViT paper, Table 3: what all rows of a data set share. Images of ImageNet-2012 as its authors
# count them, of ImageNet-21k in its file, of JFT-300M as the ViT paper says.
PRETRAIN: dict[str, dict[str, Any]] = {
    "imagenet": {
        "num_examples": 1_281_167, "epochs": 300, "learning_rate": 3e-3, "schedule": "cosine",
        "weight_decay": 0.3, "dropout_rate": 0.1, "clip_norm": 1.0, "head_bias": -6.9,
        "dev_share": 0.01,
    },
    "imagenet21k": {
        "num_examples": 14_197_122, "epochs": 90, "learning_rate": 1e-3, "schedule": "linear",
        "weight_decay": 0.03, "dropout_rate": 0.1, "loss": "sigmoid", "head_bias": -10.0,
    },
    "jft": {
        "num_examples": 303_000_000, "schedule": "linear", "weight_decay": 0.1,
        "loss": "sigmoid", "labels": "one_hot", "head_bias": -10.0,
    },
}  # fmt: skip

# Model: epochs (the first is taken), learning rate.
JFT_MODELS: dict[str, tuple[tuple[int, ...], float]] = {
    "ViT_B16": ((7,), 8e-4),
    "ViT_B32": ((7,), 8e-4),
    "ViT_L32": ((7,), 6e-4),
    "ViT_L16": ((7, 14), 4e-4),
    "ViT_H14": ((14,), 3e-4),
    "BiT_R50x1": ((7,), 1e-3),
    "BiT_R50x2": ((7,), 1e-3),
    "BiT_R101x1": ((7,), 8e-4),
    "BiT_R152x1": ((7,), 6e-4),
    "BiT_R152x2": ((7,), 6e-4),
    "R50_ViT_B16": ((7,), 8e-4),
    "R50_ViT_B32": ((7,), 8e-4),
    "R50_ViT_L32": ((7,), 2e-4),
    "R50_ViT_L16": ((7, 14), 4e-4),
}

# Model: epochs (the first is taken).
IMAGENET21K_EPOCHS: dict[str, tuple[int, ...]] = {
    "ViT_B16": (90,),
    "ViT_B32": (90,),
    "ViT_L16": (90, 30),
    "ViT_L32": (90, 30),
}

_SMALL_RATES = (0.001, 0.003, 0.01, 0.03)

# ViT paper, Table 4. Of each sweep, .03 (the default of the original's code) where the sweep has
# it. With 500 steps the code's warmup of 500 would be the whole training; 100 is BiT's.
FINETUNE: dict[str, dict[str, Any]] = {
    "imagenet": {
        "num_examples": 1_281_167, "steps": 20_000, "warmup_steps": 500, "learning_rate": 0.03,
        "learning_rates": (0.003, 0.01, 0.03, 0.06), "dev_share": 0.01,
    },
    "cifar10": {
        "num_examples": 50_000, "steps": 10_000, "warmup_steps": 500, "learning_rate": 0.03,
        "learning_rates": _SMALL_RATES, "dev_share": 0.02,
    },
    "cifar100": {
        "num_examples": 50_000, "steps": 10_000, "warmup_steps": 500, "learning_rate": 0.03,
        "learning_rates": _SMALL_RATES, "dev_share": 0.02,
    },
    "pets": {
        "num_examples": 3_680, "steps": 500, "warmup_steps": 100, "learning_rate": 0.03,
        "learning_rates": _SMALL_RATES, "dev_share": 0.1,
    },
    "flowers": {
        "num_examples": 1_020, "steps": 500, "warmup_steps": 100, "learning_rate": 0.03,
        "learning_rates": _SMALL_RATES, "dev_share": 0.1,
    },
    # 800 images to choose by and 200 to choose on, then all 1,000. Flips and crops only where
    # they leave the label right: not for positions, distances, orientations.
    "vtab": {
        "num_examples": 1_000, "steps": 2_500, "warmup_steps": 500, "learning_rate": 0.01,
        "learning_rates": (0.01,), "dev_share": 0.2,
    },
}  # fmt: skip

# Table 2's ImageNet numbers: pixels of the image; the weights are averaged as well.
FINETUNE_LARGE: dict[str, int] = {"ViT_L16": 512, "ViT_H14": 518}

# AugReg pre-training; 300 epochs are the released files'.
AUGREG: dict[str, dict[str, Any]] = {
    "imagenet": {"num_examples": 1_281_167, "dev_share": 0.01},
    "imagenet21k": {"num_examples": 14_197_122, "loss": "sigmoid", "head_bias": -10.0},
}

# BiT HyperRule: fewer images than, steps, share of them when the rate falls, warmup, mixup.
# The shares are of the repository's steps, (200, 300, 400 of 500); the paper has 30, 60 and 90 %.
HYPERRULE: tuple[tuple[float, int, tuple[float, ...], int, str], ...] = (
    (20_000, 500, (0.4, 0.6, 0.8), 100, "none"),
    (500_000, 10_000, (0.3, 0.6, 0.9), 500, "mixup"),
    (float("inf"), 20_000, (0.3, 0.6, 0.9), 500, "mixup"),
)

# Images of data sets, and their rows and columns as far as the rule asks: below 96 x 96 or not.
HYPERRULE_DATASETS: dict[str, tuple[int, tuple[int, int]]] = {
    "imagenet": (1_281_167, (224, 224)),
    "cifar10": (50_000, (32, 32)),
    "cifar100": (50_000, (32, 32)),
    "pets": (3_680, (224, 224)),
    "flowers": (1_020, (224, 224)),
}


def hyperrule_sizes(resolution: tuple[int, int]) -> tuple[int, int]:
    """(resize, crop) in pixels for images of (rows, columns), as in the BiT repository.

    The paper has (448, 384) where the repository, and this, has (512, 480).
    """
    rows, columns = resolution
    return (160, 128) if rows * columns < 96 * 96 else (512, 480)
