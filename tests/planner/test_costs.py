"""What a training costs, told before it starts."""

from __future__ import annotations

import json

import pytest

import keras_vit
from keras_vit import planner, runs
from keras_vit.planner import costs
from keras_vit.runs import dry_run


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ViT-Ti_16@224", (224, 16, 192, 12, 3, 768)),
        ("ViT-S_32@384", (384, 32, 384, 12, 6, 1536)),
    ],
)
def test_multiplications_are_those_of_the_original(shared, name, arguments):
    table = json.loads((shared / "golden" / "tables" / "flops.json").read_text())
    assert costs.forward_macs(keras_vit.ViT(*arguments, classes=1000)) == table[name]["macs"]


def test_multiplications_by_hand():
    # 4 patches of 8x8x3, 5 tokens, width 6, 2 heads, MLP 7, 3 classes, 2 blocks.
    model = keras_vit.ViT(16, 8, 6, 2, 2, 7, classes=3)
    block = 5 * (4 * 6 * 6 + 2 * 6 * 7) + 2 * 25 * 6
    assert costs.forward_macs(model) == 4 * 192 * 6 + 2 * block + 6 * 3
    assert costs.forward_macs(keras_vit.Mixer(32, 16, 8, 1, 5, 7, classes=3)) is None


def test_memory():
    model = keras_vit.ViT(16, 8, 6, 2, 2, 7, classes=3)
    one, two = (costs.training_memory(model, size) for size in (1, 2))
    assert one["weights"] == one["gradients"] == one["optimizer"] == 4 * model.count_params()
    assert two["activations"] == 2 * one["activations"] > 0
    rest = sum(one[name] for name in ("weights", "optimizer", "program"))
    assert one["total"] == rest + max(one["gradients"], one["activations"])
    adam = costs.training_memory(model, 1, "adamw", ema=True)
    assert adam["optimizer"] == 3 * one["optimizer"]


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_memory_by_hand(dtype):
    two, three = (
        costs.training_memory(keras_vit.ViT(16, 8, 6, depth, 2, 7, classes=3, dtype=dtype), 2)
        for depth in (2, 3)
    )
    block = 5 * (6 * 6 + 7) * costs.bytes_of(dtype)  # 5 tokens of width 6, MLP 7
    assert three["activations"] - two["activations"] == 2 * block
    per_parameter = {"float32": 4, "mixed_bfloat16": 6}[dtype]  # with a copy to compute with
    assert two["weights"] / two["gradients"] == per_parameter / 4


def test_a_frozen_part_is_computed_once_and_keeps_nothing():
    # 4 patches of 8x8x3, 5 tokens, width 6, 2 heads, MLP 7, 3 classes, 2 blocks.
    model, whole = (keras_vit.ViT(16, 8, 6, 2, 2, 7, classes=3) for _ in range(2))
    block = 5 * (4 * 6 * 6 + 2 * 6 * 7) + 2 * 25 * 6
    for part, trained, kept in (
        (None, 4 * 192 * 6 + 2 * block + 6 * 3, 2),
        ("embeddings", 2 * block + 6 * 3, 2),
        (1, block + 6 * 3, 1),
        ("all", 6 * 3, 0),
    ):
        keras_vit.freeze(model, part)
        assert costs.forward_macs(model) == costs.forward_macs(whole)
        assert costs.forward_macs(model, trained=True) == trained
        memory, most = costs.training_memory(model, 1), costs.training_memory(whole, 1)
        assert memory["weights"] == most["weights"]
        of_blocks = costs.transformer_block_memory(5, 6, 7)
        less = most["activations"] - memory["activations"]
        assert (less >= (2 - kept) * of_blocks) and (less == 0) == (part is None)
    settings = runs.settings_for("digits", steps=30, freeze="all")
    assert dry_run.describe(settings).count("of which 650 are trained") == 1  # (64 + 1) * 10


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_memory_of_rematerialised_blocks_by_hand(dtype):
    sizes = (16, 8, 6, 3, 2, 7)
    model = keras_vit.ViT(*sizes, classes=3, rematerialise=True, dtype=dtype)
    once = costs.transformer_block_memory(5, 6, 7, dtype)
    kept, again = (
        costs.training_memory(x, 2) for x in (keras_vit.ViT(*sizes, classes=3, dtype=dtype), model)
    )
    between = 5 * 6 * costs.bytes_of(dtype)
    assert kept["activations"] - again["activations"] == 2 * (2 * once - 3 * between)
    assert again["program"] > kept["program"]


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_memory_of_a_mixer_by_hand(dtype):
    # 8 tokens of width 6, MLPs over 5 hidden tokens and 7 hidden channels.
    two, three = (
        costs.training_memory(keras_vit.Mixer((16, 32), 8, 6, depth, 5, 7, dtype=dtype), 2)
        for depth in (2, 3)
    )
    block = (2 * 8 * 6 + 6 * 5 + 8 * 7) * costs.bytes_of(dtype)
    assert three["activations"] - two["activations"] == 2 * block


@pytest.mark.parametrize("model", ["BiT_R50x1", "Mixer_B16"])
def test_dry_run_counts_models_that_are_no_vits(model):
    settings = runs.settings_for("digits", model=model, weights=None, image_size=224, steps=1)
    macs = planner.forward_macs(model, 224, 10)
    text = dry_run.describe(settings)
    assert f"{6 * macs * settings.batch_size:,} (forward {2 * macs:,} per image)" in text


@pytest.mark.parametrize("recipe", [None, "augreg", "vit-finetune", "vit-pretrain"])
def test_dry_run_says_everything(recipe):
    settings = runs.settings_for("digits", recipe=recipe, steps=30, augmentation="light2")
    text = dry_run.describe(settings)
    for part in (
        "augmentation",
        "30 of 64 images (1.3 passes)",
        "1437 training and 360 validation images, 10 classes",
        "148,746",
        "FLOPs per step",
        "memory, estimated",
        "activations",
    ):
        assert part in text
