"""Plans: closed forms against the original's tables, the paper's, built models and hands."""

from __future__ import annotations

import json
import re

import keras
import numpy as np
import pytest
from support.paths import TABLES

import keras_vit
from keras_vit import planner
from keras_vit.distribution import jax_sharding
from keras_vit.layers.standardized_conv import StandardizedConv2D
from keras_vit.models import ResNetStem
from keras_vit.planner import convolutions, costs
from keras_vit.planner.part import Grid, total
from keras_vit.recipes import paper_tables

FLOPS = json.loads((TABLES / "flops.json").read_text())
COUNTS = json.loads((TABLES / "param_counts.json").read_text())

# The names of the original's tables: ViT-B/16 is ViT-B_16, BiT-R50x1 is R50x1.
CONFIGS = {
    config.title.replace("/", "_").removeprefix("BiT-"): config
    for config in keras_vit.VARIANTS.values()
} | {"testing": keras_vit.ViTConfig(16, 10, 1, 2, 10)}

SMALL = {
    "vit": keras_vit.ViTConfig(8, 48, 3, 4, 96),
    "swiglu": keras_vit.ViTConfig(8, 48, 2, 4, 40, swiglu=True),
    "hybrid": keras_vit.ViTConfig(1, 32, 2, 4, 96, ResNetStem((2, 1), 0.5)),
    "bit": keras_vit.BiTConfig((2, 1, 1), 0.5),
    "mixer": keras_vit.MixerConfig(8, 32, 2, 12, 40),
}


def small(kind: str, dtype: str = "float32"):
    """A small configuration and its model for images of 48x40, 7 classes."""
    config = SMALL[kind]
    return config, config.build((48, 40), **config.architecture, classes=7, dtype=dtype)


# --- closed forms ---------------------------------------------------------------------------


def test_every_variant_is_in_the_originals_tables():
    names = {name.partition("@")[0] for name in FLOPS} | set(COUNTS["bit"])
    assert names == set(CONFIGS) - {"testing"}


@pytest.mark.parametrize("name", FLOPS)
def test_multiplications_are_those_of_the_original(name):
    variant, _, size = name.partition("@")
    assert planner.forward_macs(CONFIGS[variant], int(size)) == FLOPS[name]["macs"]


@pytest.mark.parametrize("name", [*COUNTS["vit"], *COUNTS["bit"]])
def test_parameters_are_those_of_the_original(name):
    config = CONFIGS[re.sub("-gap-norep|-unpooled", "", name)]
    row = {**COUNTS["vit"], **COUNTS["bit"]}[name]
    asked = {  # column -> image size, classes, width of pre_logits
        "1000": (224, 1000, None),
        "21843": (224, 21843, None),
        "no_head": (224, None, None),
        "21843_with_pre_logits(hidden)": (224, 21843, config.width),
        "1000_at_384": (384, 1000, None),
    }
    facts = {"tokens_at_224", "representation_size_in_config", "features"}
    assert set(row) <= set(asked) | facts
    token = not name.endswith(("-gap-norep", "-unpooled"))
    for column in set(row) - facts:
        size, classes, hidden = asked[column]
        options = {"representation_size": hidden, "class_token": token}
        assert planner.parameters(config, size, classes, **options) == row[column], column


@pytest.mark.parametrize("kind", SMALL)
def test_parameters_and_products_of_a_built_model(kind):
    config, model = small(kind)
    assert planner.parameters(config, (48, 40), 7) == model.count_params()
    convolutions = sum(
        int(np.prod(layer.output.shape[1:3])) * int(np.prod(layer.kernel.shape))
        for layer in model.layers
        if isinstance(layer, StandardizedConv2D)
    )
    # 30 patches of 8x8x3 or of 1x1x256, 31 tokens; 512 features of the BiT.
    rest = {
        "vit": 30 * 192 * 48 + 3 * (31 * (4 * 48**2 + 2 * 48 * 96) + 2 * 31**2 * 48) + 48 * 7,
        "swiglu": 30 * 192 * 48 + 2 * (31 * (4 * 48**2 + 3 * 48 * 40) + 2 * 31**2 * 48) + 48 * 7,
        "hybrid": 30 * 256 * 32 + 2 * (31 * (4 * 32**2 + 2 * 32 * 96) + 2 * 31**2 * 32) + 32 * 7,
        "bit": 512 * 7,
        "mixer": 30 * 192 * 32 + 2 * (2 * 32 * 30 * 12 + 2 * 30 * 32 * 40) + 32 * 7,
    }
    assert planner.forward_macs(config, (48, 40), 7) == convolutions + rest[kind]
    assert costs.forward_macs(model) == (rest[kind] if kind in ("vit", "swiglu") else None)


@pytest.mark.parametrize("kind", SMALL)
def test_thirteen_channels(kind):
    config = SMALL[kind]
    model = config.build((48, 40), **config.architecture, classes=7, input_shape=(48, 40, 13))
    assert planner.parameters(config, (48, 40), 7, channels=13) == model.count_params()


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize(("kernel", "strides"), [(1, 1), (1, 2), (3, 1), (3, 2), (7, 2)])
def test_products_with_padding(kernel, strides, same):
    """An image and a kernel of ones: their convolution counts the products on the image."""
    rows, columns = 11, 8
    image = np.ones((1, rows, columns, 1), "float32")
    pad = 0 if same else kernel // 2
    padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    ones = np.ones((kernel, kernel, 1, 1), "float32")
    padding = "same" if same else "valid"
    found = np.asarray(keras.ops.conv(padded, ones, strides, padding, "channels_last"))
    ours = convolutions.convolve(Grid(rows, columns, 1), 1, kernel, strides, same)
    assert (ours.output.rows, ours.output.columns) == found.shape[1:3]
    assert ours.macs == found.size * kernel**2
    assert ours.macs - ours.padding_macs == round(found.sum())


def test_backward_is_twice_forward_and_rematerialisation_once_more():
    config = SMALL["vit"]  # no padding
    parts = planner.parts(config, 48, 7)
    forward = 2 * planner.forward_macs(config, 48, 7)
    assert planner.training_flops(parts) == 3 * forward
    outside = 2 * (36 * 192 * 48 + 48 * 7)  # the patches' and the head's products
    assert planner.training_flops(parts, rematerialise=True) == 4 * forward - outside


# --- the paper ------------------------------------------------------------------------------


@pytest.mark.parametrize("run", planner.TABLE_6, ids=lambda run: f"{run.model}-{run.epochs}")
def test_compute_of_the_papers_pretrainings(run):
    found = planner.pretraining_exaflops(run.model, dataset="jft", epochs=run.epochs)
    # 10 % is what was asked for. The published 859 of R50+ViT-L/16 is 3.1 % above the half of its
    # own 14 epochs, and the 55 of ViT-B/32 2.3 % below ours; the other 16 are within 1.4 %.
    assert abs(found / run.exaflops - 1) <= 0.031


def test_table_6_has_all_rows():
    runs = {(run.model, run.epochs): (run.imagenet, run.exaflops) for run in planner.TABLE_6}
    assert len(runs) == len(planner.TABLE_6) == 18
    assert runs["ViT_H14", 14] == (88.08, 4262)
    assert runs["BiT_R152x2", 7] == (84.97, 563)
    assert runs["R50_ViT_B16", 7] == (85.58, 274)
    # Table 3 of the paper, which `recipes` has, names the same models and epochs.
    for model, epochs in runs:
        assert model == "BiT_R200x3" or epochs in (7, 14)
        if model in paper_tables.JFT_MODELS and model != "BiT_R152x2":
            assert epochs in paper_tables.JFT_MODELS[model][0]


@pytest.mark.parametrize(
    ("model", "core_days", "utilisation"), [("ViT_L16", 680, 0.43), ("ViT_H14", 2500, 0.32)]
)
def test_default_utilisation_is_what_the_papers_trainings_reached(model, core_days, utilisation):
    plan = planner.plan(model, "TPUv3-core", 1, epochs=14, accumulate=4096, utilisation=1.0)
    reached = plan.device_days / core_days
    assert reached == pytest.approx(utilisation, abs=0.01)
    assert abs(reached - planner.plans.UTILISATION) <= 0.1


# --- memory ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_memory_is_that_of_a_built_model(kind, precision):
    config, model = small(kind, precision)
    parts = planner.parts(config, (48, 40), 7)
    for images, optimizer, ema in ((1, "momentum", False), (5, "adamw", True)):
        found = planner.memory(parts, images, precision=precision, optimizer=optimizer, ema=ema)
        built = costs.training_memory(model, images, optimizer, ema)
        built["total"] -= built.pop("program")
        assert found == built


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_rematerialisation_keeps_one_block(precision):
    parts = planner.parts(SMALL["vit"], 48, 7)
    plain = planner.memory(parts, 2, precision=precision)["activations"]
    less = planner.memory(parts, 2, precision=precision, rematerialise=True)["activations"]
    block = costs.transformer_block_memory(37, 48, 96, precision)
    handed_on = 37 * 48 * costs.bytes_of(precision)
    assert plain - less == 2 * ((3 - 1) * block - 3 * handed_on)


def test_optimizer_shards_and_accumulated_gradients():
    parts = planner.parts(SMALL["vit"], 48, 7)
    whole = planner.memory(parts, 2, optimizer="adamw")
    shared = planner.memory(parts, 2, optimizer="adamw", optimizer_shards=4, accumulate=2)
    assert shared["optimizer"] == pytest.approx(whole["optimizer"] / 4, abs=4)
    assert shared["gradients"] == 2 * whole["gradients"]
    assert shared["weights"] == whole["weights"]
    # The sums stay; of a part's own gradients and the activations the larger counts.
    lesser = min(whole["gradients"], whole["activations"])
    assert shared["total"] == sum(shared.values()) - shared["total"] - lesser


def test_model_parallelism_divides_what_the_layout_divides():
    config, model = small("vit")
    parts = planner.parts(config, (48, 40), 7)
    divided = sum(
        int(np.prod(variable.shape))
        for variable in model.weights
        if any(re.fullmatch(path, variable.path) for path in jax_sharding.LAYOUT)
    )
    assert total(parts, "divided_parameters") == divided
    one, two = (planner.memory(parts, 2, model_parallel=n) for n in (1, 2))
    assert one["weights"] - two["weights"] == 4 * divided // 2
    # Queries, keys, values, heads; hidden channels. 3 blocks and the backward of one.
    shared = 31 * (4 * 48 + 96)
    assert one["activations"] - two["activations"] == 2 * 4 * (3 + 1) * shared // 2


# --- communication and time -----------------------------------------------------------------


def test_communication_by_hand():
    parts = planner.parts(SMALL["vit"], 48, 7)  # 37 tokens, width 48, 3 blocks
    parameters = total(parts, "parameters")
    found = planner.communication(parts, 6, data_parallel=4)
    assert found["gradients"] == found["total"] == 2 * 3 / 4 * 4 * parameters
    sharded = planner.communication(parts, 6, data_parallel=4, shard_optimizer=True)
    assert sharded["gradients"] == sharded["weights"] == found["total"] / 2
    assert planner.communication(parts, 6)["total"] == 0

    # Two branches, forward and backward, in each block; half the bytes in 16 bits.
    two = planner.communication(parts, 6, precision="mixed_bfloat16", model_parallel=2)
    assert two["activations"] == 6 * 3 * 2 * 2 * 37 * 48 * 2 * (2 * 1 / 2)
    again = planner.communication(parts, 6, model_parallel=2, rematerialise=True)
    assert again["activations"] == 6 * 3 * 2 * 3 * 37 * 48 * 4


def test_a_plan_by_hand():
    device = planner.Device("abacus", {"float32": 1e9}, 1e6, 1e6, "an abacus")
    config = SMALL["vit"]
    plan = planner.plan(
        config, device, 2, image_size=48, batch_size=10, dataset="cifar10", steps=86_400,
        optimizer="momentum", utilisation=0.5,
    )  # fmt: skip
    parts = planner.parts(config, 48, 10)
    flops = planner.training_flops(parts)
    assert plan.step_flops == 10 * flops
    assert plan.compute_seconds == pytest.approx(5 * flops / 0.5e9)
    assert plan.communication_seconds == pytest.approx(4 * plan.parameters / 1e6)
    assert plan.days == pytest.approx(plan.compute_seconds + plan.communication_seconds)
    assert plan.device_days == 2 * plan.days
    assert plan.images_per_second == pytest.approx(10 / plan.days)
    assert plan.exaflops == pytest.approx(864_000 * flops / 1e18)
    assert plan.memory == planner.memory(parts, 5)
    assert not plan.fits  # 1 MB


def test_epochs_are_steps():
    plan = planner.plan("ViT_Ti16", dataset="imagenet", epochs=300, batch_size=4096)
    assert plan.steps == 93_836  # 1,281,167 x 300 / 4096, rounded up
    assert plan.precision == "mixed_bfloat16"
    assert planner.plan("ViT_Ti16", "T4", dataset="imagenet").precision == "float32"


def test_model_parallelism_divides_the_work_of_the_blocks():
    one, four = (
        planner.plan("ViT_H14", "H100", n, batch_size=32, model_parallel=n) for n in (1, 4)
    )
    # All but the products of patches and head, which each device makes whole.
    assert one.compute_seconds / 4 < four.compute_seconds < one.compute_seconds / 4 * 1.01
    assert four.data_parallel == 1
    assert four.communication["gradients"] == 0 < four.communication["activations"]


# --- what fits ------------------------------------------------------------------------------


def test_what_fits():
    found = {fit.model: fit for fit in planner.fits(16, image_size=224, batch_size=32)}
    assert set(found) == set(keras_vit.VARIANTS)
    for name, fit in found.items():
        parts = planner.parts(keras_vit.VARIANTS[name], 224)
        for batch, fits in ((fit.largest_batch, True), (fit.largest_batch + 1, False)):
            needed = planner.memory(parts, batch, precision="mixed_bfloat16")["total"] + 1e9
            assert (needed <= 16e9) == fits, (name, batch)
        # Of large models with few patches the gradients are more than the activations.
        assert (fit.rematerialised_bytes < fit.bytes) == (name not in ("ViT_B32", "ViT_L32"))
    assert found["ViT_Ti16"].answer == found["ViT_B16"].answer == "yes"
    more = planner.fits(16, image_size=384, batch_size=32)
    assert {fit.model for fit in more} == {n for n in found if not n.startswith("Mixer")}
    assert all(fit.bytes > found[fit.model].bytes for fit in more)
    assert [fit.bytes for fit in more] == sorted(fit.bytes for fit in more)
    assert {fit.answer for fit in planner.fits(2)} >= {"yes", "no"}


# --- what a user gets wrong -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "ViT_XXL"}, "ViT_B16.*Received: model='ViT_XXL'"),
        ({"device": "A1000"}, "A100-80.*Received: device='A1000'"),
        ({"dataset": "mnist"}, "imagenet21k.*Received: dataset='mnist'"),
        ({"precision": "float64"}, "mixed_bfloat16.*Received: precision='float64'"),
        ({"optimizer": "lion"}, "adamw.*Received: optimizer='lion'"),
        ({"devices": 3}, "multiple of the copies.*batch_size=4096, copies=3"),
        ({"devices": 0}, "devices=0"),
        ({"accumulate": 3}, "accumulate=3"),
        ({"epochs": 0}, "positive.*epochs=0"),
        ({"steps": 0}, "steps=0"),
        ({"utilisation": 1.5}, "utilisation=1.5"),
        ({"image_size": 8}, "at least one patch"),
        ({"devices": 8, "model_parallel": 8}, "divide.*num_heads=12"),
        ({"devices": 2, "model_parallel": 4}, "divide the number of devices"),
        ({"model": "BiT_R50x1", "devices": 2, "model_parallel": 2}, "Only Vision Transformers"),
    ],
)
def test_errors_say_what_was_expected(arguments, message):
    with pytest.raises(ValueError, match=message):
        planner.plan(**{"model": "ViT_B16", **arguments})


def test_other_errors():
    with pytest.raises(TypeError, match="VARIANTS"):
        planner.parts("ViT_B16")
    with pytest.raises(ValueError, match="memory_gb=0"):
        planner.fits(0)
    with pytest.raises(ValueError, match="batch_size=0"):
        planner.fits(16, batch_size=0)
    with pytest.raises(ValueError, match="classes=0"):
        planner.parameters("ViT_B16", classes=0)
