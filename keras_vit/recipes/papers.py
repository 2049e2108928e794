"""The papers' recipes by name: `get` makes one from a row of `paper_tables.py`."""

from __future__ import annotations

from typing import Any

from keras_vit.data.augment.augmentation import AUGMENTATIONS, as_augmentation
from keras_vit.models import VARIANTS
from keras_vit.recipes import paper_tables as rows
from keras_vit.recipes.recipe import Recipe
from keras_vit.utils.checks import check_choice


def names() -> tuple[str, ...]:
    """The recipes that `get` knows."""
    return tuple(_RECIPES)


def get(
    name: str,
    dataset: str | None = None,
    model: str | None = None,
    *,
    num_examples: int | None = None,
    resolution: tuple[int, int] | None = None,
    **overrides: Any,
) -> Recipe:
    """A recipe of the papers.

    Args:
        name: `"vit-pretrain"` (ViT paper, Table 3), `"vit-finetune"` (its Table 4), `"augreg"`
            (pre-training of AugReg) or `"bit-hyperrule"` (BiT).
        dataset: Row of the table; an unknown one is answered with those that there are. For
            images of your own take the row whose number of images is nearest; the BiT HyperRule
            can do with `num_examples` and `resolution` in its place.
        model: Name of the constructor, where the row depends on it: needed for JFT; for
            ImageNet-21k it chooses the epochs; `"ViT_L16"` and `"ViT_H14"` fine-tuned on
            ImageNet get the larger images and the averaged weights of Table 2 (without it:
            384 pixels and no average, as in Table 5).
        num_examples: Number of training images, if not that of the data set.
        resolution: (rows, columns) of the images before any resize, for the BiT HyperRule.
        **overrides: Fields of `Recipe`, as for `Recipe.replace`: `steps`, `batch_size`,
            `image_size`, `augmentation="strong1"`, ...

    Returns:
        The recipe.

    Raises:
        ValueError: If there is no such recipe, row or field, or something is needed.
    """
    check_choice("name", name, _RECIPES)
    if model is not None and dataset != "jft":  # whose rows have models that are not here
        check_choice("model", model, VARIANTS)
    if resolution is not None and name != "bit-hyperrule":
        raise ValueError(
            "`resolution` is for the BiT HyperRule; the size of the crop is `image_size`. "
            f"Received: name={name!r}, resolution={resolution!r}"
        )
    fields = _RECIPES[name](dataset, model, num_examples, resolution)
    asked = ", ".join(part for part in (dataset, model) if part)
    recipe = Recipe(name=f"{name} ({asked})" if asked else name, **fields)
    if num_examples is not None:
        overrides["num_examples"] = num_examples
    if as_augmentation(overrides.get("augmentation")).mixes:
        overrides.setdefault("labels", "one_hot")
    return recipe.replace(**overrides)


def _vit_pretrain(dataset: Any, model: Any, num_examples: Any, resolution: Any) -> dict[str, Any]:
    fields = dict(rows.PRETRAIN[check_choice("dataset", dataset, rows.PRETRAIN)])
    if dataset == "jft":
        model = f"BiT_{model}" if f"BiT_{model}" in rows.JFT_MODELS else model
        epochs, rate = rows.JFT_MODELS[check_choice("model", model, rows.JFT_MODELS)]
        fields |= {"epochs": epochs[0], "learning_rate": rate}
    elif dataset == "imagenet21k" and model is not None:
        table = rows.IMAGENET21K_EPOCHS
        fields["epochs"] = table[check_choice("model", model, table)][0]
    return {
        "source": "ViT, arXiv 2010.11929, Table 3",
        "optimizer": "adamw", "warmup_steps": 10_000, "batch_size": 4096, **fields,
    }  # fmt: skip


def _vit_finetune(dataset: Any, model: Any, num_examples: Any, resolution: Any) -> dict[str, Any]:
    fields = dict(rows.FINETUNE[check_choice("dataset", dataset, rows.FINETUNE)])
    source = "ViT, arXiv 2010.11929, Table 4"
    if dataset == "imagenet" and model in rows.FINETUNE_LARGE:
        fields |= {"image_size": rows.FINETUNE_LARGE[model], "ema": 0.9999}
        source += " and 2"
    return {"source": source, "image_size": 384, "clip_norm": 1.0, **fields}


def _augreg(dataset: Any, model: Any, num_examples: Any, resolution: Any) -> dict[str, Any]:
    fields = rows.AUGREG[check_choice("dataset", dataset, rows.AUGREG)]
    return {
        "source": "AugReg, arXiv 2106.10270; big_vision vit_i1k.py, vit_i21k.py",
        "optimizer": "adamw", "learning_rate": 1e-3, "warmup_steps": 10_000,
        "weight_decay": 0.1, "batch_size": 4096, "epochs": 300, "clip_norm": 1.0, **fields,
    }  # fmt: skip


def _bit_hyperrule(dataset: Any, model: Any, num_examples: Any, resolution: Any) -> dict[str, Any]:
    if dataset is not None:
        known = rows.HYPERRULE_DATASETS[check_choice("dataset", dataset, rows.HYPERRULE_DATASETS)]
        num_examples = num_examples or known[0]
        resolution = resolution or known[1]
    if num_examples is None or resolution is None:
        raise ValueError(
            "The BiT HyperRule follows from `num_examples` and `resolution` (rows, columns), or "
            f"from a `dataset`, one of {', '.join(rows.HYPERRULE_DATASETS)}. Received: "
            f"dataset={dataset!r}, num_examples={num_examples}, resolution={resolution}"
        )
    rule = next(rule for rule in rows.HYPERRULE if num_examples < rule[0])
    _, steps, decay_at, warmup_steps, augmentation = rule
    resize, crop = rows.hyperrule_sizes(resolution)
    return {
        "source": "BiT, arXiv 1912.11370, section 3.3; big_transfer bit_hyperrule.py",
        "learning_rate": 0.003, "schedule": "steps", "warmup_steps": warmup_steps,
        "decay_at": decay_at, "steps": steps, "num_examples": num_examples,
        "image_size": crop, "resize": resize, "crop": "random",
        "augmentation": AUGMENTATIONS[augmentation],
        "labels": "integer" if augmentation == "none" else "one_hot",
    }  # fmt: skip


_RECIPES = {
    "vit-pretrain": _vit_pretrain,
    "vit-finetune": _vit_finetune,
    "augreg": _augreg,
    "bit-hyperrule": _bit_hyperrule,
}
