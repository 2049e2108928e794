"""Parameters and floating-point operations in closed form; the compute of a pre-training.

A multiply-accumulate is two operations. Norms, activations and sums are not counted, as in the
tables of the papers' code; ViT-B/16 at 224 pixels: 17,563,828,224 multiply-accumulates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_vit.models import VARIANTS
from keras_vit.models.variants import Config
from keras_vit.planner.architecture import parts
from keras_vit.planner.paper_runs import UNRELEASED
from keras_vit.planner.part import Part, total
from keras_vit.recipes import paper_tables
from keras_vit.utils.checks import check_choice

# Outputs of the released heads. Those of JFT-300M: Sun et al., arXiv 1707.02968, section 3.
CLASSES = {
    "jft": 18_291,
    "imagenet21k": 21_843,
    "imagenet": 1_000,
    "cifar10": 10,
    "cifar100": 100,
    "pets": 37,
    "flowers": 102,
}


def config_of(model: str | Config) -> tuple[str, Config]:
    """The printed name and the configuration of a model.

    Args:
        model: A name in `keras_vit.VARIANTS` or in `UNRELEASED`, or a configuration.

    Raises:
        ValueError: If there is no such name.
    """
    if not isinstance(model, str):
        return getattr(model, "title", "") or type(model).__name__, model
    known = {**VARIANTS, **UNRELEASED}
    config = known[check_choice("model", model, known)]
    return config.title, config


def dataset_of(dataset: str) -> tuple[int, int]:
    """Training images and classes of a data set.

    Raises:
        ValueError: If it is not in the table.
    """
    check_choice("dataset", dataset, CLASSES)
    rows = {**paper_tables.FINETUNE, **paper_tables.PRETRAIN}
    return rows[dataset]["num_examples"], CLASSES[dataset]


def parameters(
    model: str | Config,
    image_size: int | tuple[int, int] = 224,
    classes: int | None = 1000,
    **options: Any,
) -> int:
    """Trainable parameters of a model, without building it.

    Args:
        model: A name in `keras_vit.VARIANTS` or `planner.UNRELEASED`, or a configuration.
        image_size: Pixels, one number or (rows, columns).
        classes: Outputs of the head; `None` for no head.
        **options: `representation_size` and `class_token`, as for `planner.parts`.

    Raises:
        ValueError: If there is no such model, or a size is not possible.
    """
    return total(parts(config_of(model)[1], image_size, classes, **options), "parameters")


def forward_macs(
    model: str | Config,
    image_size: int | tuple[int, int] = 224,
    classes: int | None = 1000,
    **options: Any,
) -> int:
    """Multiply-accumulates of a forward pass for one image, those with padding included.

    Args:
        model: As for `parameters`.
        image_size: Pixels, one number or (rows, columns).
        classes: Outputs of the head; `None` for no head.
        **options: `representation_size` and `class_token`, as for `planner.parts`.
    """
    return total(parts(config_of(model)[1], image_size, classes, **options), "macs")


def training_flops(model_parts: Sequence[Part], rematerialise: bool = False) -> int:
    """Floating-point operations of a training step for one image.

    The backward pass has two products for each of the forward pass (the gradients of the input and
    of the weights), so a step costs three forward passes. Rematerialisation runs the blocks once
    more. Products with padding are left out, as in the count of XLA (`valid_position_counts` in
    its `hlo_cost_analysis.cc`); only ResNets have them.

    Args:
        model_parts: As `planner.parts` returns them.
        rematerialise: Whether the backward pass computes the inside of the blocks again.
    """
    forward = total(model_parts, "macs") - total(model_parts, "padding_macs")
    blocks = [part for part in model_parts if part.kept]
    again = total(blocks, "macs") - total(blocks, "padding_macs") if rematerialise else 0
    return 2 * (3 * forward + again)


def pretraining_exaflops(
    model: str | Config,
    dataset: str = "jft",
    epochs: float = 7,
    image_size: int | tuple[int, int] = 224,
) -> float:
    """Compute of a pre-training in exaFLOPs, 1e18 operations, as in the ViT paper's Table 6.

    Images of the data set (303 million in JFT-300M, as the paper says) x epochs x three times the
    forward pass (`training_flops`) at 224 pixels, two operations a multiply-accumulate, with a
    head for the data set's classes. The result is within 3.1 % of all 18 rows of the table, and
    within 1 % of 15 of them. With the products on padding, the ResNets would be 3 to 5 % above.

    Args:
        model: A name in `keras_vit.VARIANTS` or `planner.UNRELEASED`, or a configuration.
        dataset: One of `planner.CLASSES`.
        epochs: Passes over the data set.
        image_size: Pixels, one number or (rows, columns).

    Raises:
        ValueError: If there is no such model or data set.
    """
    images, classes = dataset_of(dataset)
    step = training_flops(parts(config_of(model)[1], image_size, classes))
    return images * epochs * step / 1e18
