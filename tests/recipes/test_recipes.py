"""The rows of the papers, written down here once more, and that `fit` takes each."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

import keras_vit
from keras_vit import recipes
from keras_vit.data.augment import augmentation
from keras_vit.recipes.losses import SigmoidCrossentropy
from keras_vit.recipes.optimizers import NOT_KERNELS, AdamW, MomentumSGD
from keras_vit.recipes.schedules import BiTSteps, WarmupCosine, WarmupLinear

TINY = {"patch_size": 8, "width": 8, "depth": 1, "num_heads": 2, "mlp_dim": 16, "classes": 3}
CLASSES = 3


def _has(recipe, **expected):
    got = {name: getattr(recipe, name) for name in expected}
    assert got == expected


# --- rows -----------------------------------------------------------------------------------

# Table 3: model, epochs, learning rate.
JFT = """
ViT_B32 7 8e-4, ViT_B16 7 8e-4, ViT_L32 7 6e-4, ViT_L16 7 4e-4, ViT_H14 14 3e-4,
R50x1 7 1e-3, R50x2 7 1e-3, R101x1 7 8e-4, R152x1 7 6e-4, R152x2 7 6e-4,
R50_ViT_B16 7 8e-4, R50_ViT_B32 7 8e-4, R50_ViT_L32 7 2e-4, R50_ViT_L16 7 4e-4
"""


@pytest.mark.parametrize("row", [row.strip() for row in JFT.split(",")])
def test_jft(row):
    model, epochs, rate = row.split()
    recipe = recipes.get("vit-pretrain", "jft", model)
    _has(recipe, epochs=int(epochs), learning_rate=float(rate), schedule="linear")
    _has(recipe, weight_decay=0.1, dropout_rate=0, clip_norm=None, labels="one_hot")
    assert recipe.total_steps == int(epochs) * 303_000_000 // 4096
    assert model in recipe.name


def test_pretraining():
    small = recipes.get("vit-pretrain", "imagenet")
    large = recipes.get("vit-pretrain", "imagenet21k")
    for recipe in (small, large):
        _has(recipe, optimizer="adamw", batch_size=4096, warmup_steps=10_000, image_size=224)
        _has(recipe, dropout_rate=0.1, stochastic_depth_rate=0, no_decay=NOT_KERNELS)
    _has(small, epochs=300, learning_rate=3e-3, schedule="cosine", weight_decay=0.3, clip_norm=1)
    _has(small, head_bias=-6.9, dev_share=0.01, total_steps=93_835)
    _has(large, epochs=90, learning_rate=1e-3, schedule="linear", weight_decay=0.03)
    _has(large, head_bias=-10, loss="sigmoid", clip_norm=None)
    assert recipes.get("vit-pretrain", "imagenet21k", "ViT_L16", epochs=30).epochs == 30


@pytest.mark.parametrize(
    ("dataset", "steps", "warmup_steps", "rates", "dev_share"),
    [
        ("imagenet", 20_000, 500, (0.003, 0.01, 0.03, 0.06), 0.01),
        ("cifar10", 10_000, 500, (0.001, 0.003, 0.01, 0.03), 0.02),
        ("cifar100", 10_000, 500, (0.001, 0.003, 0.01, 0.03), 0.02),
        ("pets", 500, 100, (0.001, 0.003, 0.01, 0.03), 0.1),
        ("flowers", 500, 100, (0.001, 0.003, 0.01, 0.03), 0.1),
        ("vtab", 2_500, 500, (0.01,), 0.2),
    ],
)
def test_fine_tuning(dataset, steps, warmup_steps, rates, dev_share):
    recipe = recipes.get("vit-finetune", dataset)
    _has(recipe, steps=steps, warmup_steps=warmup_steps, learning_rates=rates)
    _has(recipe, optimizer="momentum", schedule="cosine", batch_size=512, weight_decay=0)
    _has(recipe, clip_norm=1, image_size=384, dev_share=dev_share, ema=None)
    _has(recipe, crop="inception", crop_area=(0.05, 1.0), flip=True, loss="softmax")
    assert recipe.learning_rate in rates


def test_fine_tuning_as_in_table_2():
    _has(recipes.get("vit-finetune", "imagenet", "ViT_L16"), image_size=512, ema=0.9999)
    _has(recipes.get("vit-finetune", "imagenet", "ViT_H14"), image_size=518, ema=0.9999)
    _has(recipes.get("vit-finetune", "imagenet", "ViT_B16"), image_size=384, ema=None)
    _has(recipes.get("vit-finetune", "cifar10", "ViT_L16"), image_size=384, ema=None)


@pytest.mark.parametrize(
    ("name", "layers", "magnitude", "mixup"),
    [
        ("none", 0, 0, 0),
        ("light1", 2, 0, 0),
        ("light2", 2, 10, 0.2),
        ("medium1", 2, 15, 0.2),
        ("medium2", 2, 15, 0.5),
        ("strong1", 2, 20, 0.5),
        ("strong2", 2, 20, 0.8),
    ],
)
def test_augreg(name, layers, magnitude, mixup):
    recipe = recipes.get("augreg", "imagenet21k", augmentation=name, weight_decay=0.03)
    assert dataclasses.astuple(recipe.augmentation) == (name, layers, magnitude, mixup, 0, 0)
    _has(recipe, weight_decay=0.03, labels="one_hot" if mixup else "integer")
    _has(recipe, epochs=300, learning_rate=1e-3, schedule="cosine", clip_norm=1, batch_size=4096)
    _has(recipe, warmup_steps=10_000, loss="sigmoid", no_decay=NOT_KERNELS)
    assert recipes.get("augreg", "imagenet").loss == "softmax"
    given = recipes.get("augreg", "imagenet", augmentation=augmentation.AUGMENTATIONS[name])
    assert given.augmentation is recipe.augmentation and given.labels == recipe.labels


def test_bit_hyperrule_is_the_originals(golden):
    facts = golden("schedules").facts
    for row in facts["bit_hyperrule_get_lr"]:
        recipe = recipes.get("bit-hyperrule", num_examples=row["dataset_size"], resolution=(9, 9))
        assert recipe.learning_rate_schedule().boundaries == tuple(row["schedule"])
        assert recipe.augmentation.mixup == row["mixup"]
        _has(recipe, learning_rate=row["base_lr"], batch_size=512, weight_decay=0, clip_norm=None)
    for row in facts["bit_hyperrule_get_resolution"]:
        recipe = recipes.get("bit-hyperrule", num_examples=1, resolution=tuple(row["hw"]))
        assert [recipe.resize, recipe.image_size] == row["out"]
    for count, steps in [(19_999, 500), (20_000, 10_000), (499_999, 10_000), (500_000, 20_000)]:
        assert recipes.get("bit-hyperrule", num_examples=count, resolution=(9, 9)).steps == steps


@pytest.mark.parametrize(
    ("dataset", "steps", "crop"),
    [("imagenet", 20_000, 480), ("cifar10", 10_000, 128), ("cifar100", 10_000, 128),
     ("pets", 500, 480), ("flowers", 500, 480)],
)  # fmt: skip
def test_bit_hyperrule_of_known_data(dataset, steps, crop):
    _has(recipes.get("bit-hyperrule", dataset), steps=steps, image_size=crop, crop="random")


# --- what becomes of them -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "dataset", "model", "optimizer", "schedule"),
    [
        ("vit-pretrain", "imagenet", None, AdamW, WarmupCosine),
        ("vit-pretrain", "jft", "ViT_B16", AdamW, WarmupLinear),
        ("vit-finetune", "imagenet", "ViT_H14", MomentumSGD, WarmupCosine),
        ("augreg", "imagenet", None, AdamW, WarmupCosine),
        ("bit-hyperrule", "cifar10", None, MomentumSGD, BiTSteps),
    ],
)
def test_optimizer(name, dataset, model, optimizer, schedule):
    recipe = recipes.get(name, dataset, model)
    got = recipe.make_optimizer()
    assert type(got) is optimizer
    rate = recipe.learning_rate_schedule()
    assert type(rate) is schedule
    assert (rate.learning_rate, rate.steps) == (recipe.learning_rate, recipe.total_steps)
    assert rate.warmup_steps == recipe.warmup_steps
    config = got.get_config()
    assert config["global_clipnorm"] == recipe.clip_norm
    assert (config["weight_decay"] or 0) == recipe.weight_decay
    assert tuple(config["no_decay"]) == recipe.no_decay
    assert (config["ema_momentum"] if config["use_ema"] else None) == recipe.ema
    if optimizer is AdamW:
        assert (got.beta_1, got.beta_2, got.epsilon) == (0.9, 0.999, 1e-8)
    else:
        assert (got.momentum, got.nesterov) == (0.9, False)


def _data(recipe, size, count=8):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, count)
    images = (
        rng.uniform(-0.3, 0.3, (count, size, size, 3)) + 0.5 * (labels - 1)[:, None, None, None]
    )
    if recipe.labels == "one_hot":
        labels = np.eye(CLASSES)[labels]
    return images.astype("float32"), labels.astype("float32" if labels.ndim > 1 else "int32")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dataset", "model"),
    [
        ("vit-pretrain", "imagenet21k", None),
        ("vit-pretrain", "jft", "ViT_B16"),
        ("vit-finetune", "imagenet", "ViT_L16"),
        ("augreg", "imagenet", None),
        ("bit-hyperrule", "cifar10", None),
    ],
)
def test_fit_learns(name, dataset, model):
    keras.utils.set_random_seed(0)
    recipe = recipes.get(name, dataset, model).replace(batch_size=8, steps=20, warmup_steps=2)
    recipe = recipe.replace(learning_rate=0.1 if recipe.optimizer == "momentum" else 0.02)
    if recipe.ema:
        recipe = recipe.replace(ema=0.5)
    network = keras_vit.ViT(16, **TINY, **recipe.model_args())
    recipe.set_head_bias(network)
    assert float(ops.max(network.get_layer("head").bias)) == recipe.head_bias
    data = _data(recipe, 16)
    network.compile(**recipe.compile_args())
    losses = network.fit(*data, batch_size=8, epochs=20, shuffle=False, verbose=0).history["loss"]
    assert losses[-1] < 0.85 * losses[0]  # from -10, 20 steps do not lead far
    assert network.evaluate(*data, verbose=0, return_dict=True)["accuracy"] > 0.6
    assert float(network.optimizer.learning_rate) == pytest.approx(
        1e-5 if recipe.schedule == "linear" else 0, abs=1e-9
    )


def test_a_bit_takes_the_hyperrule():
    recipe = recipes.get("bit-hyperrule", "flowers").replace(batch_size=8).shortened_to(10)
    assert recipe.learning_rate_schedule().boundaries == (2, 4, 6, 8, 10)
    model = keras_vit.BiT(32, (1,), 0.5, classes=CLASSES, **recipe.model_args())
    model.compile(**recipe.compile_args())
    model.fit(*_data(recipe, 32), batch_size=8, epochs=2, verbose=0)


def test_logits_and_probabilities_give_one_loss():
    logits = np.array([[2.0, -1.0, 0.5], [0.0, 1.0, -3.0]], "float32")
    labels = np.array([2, 0])
    one_hot = np.eye(3)[labels]
    probabilities = 1 / (1 + np.exp(-logits))
    expected = -(one_hot * np.log(probabilities) + (1 - one_hot) * np.log(1 - probabilities))
    expected = expected.sum(1).mean()  # over the classes a sum
    for sparse, y in ((True, labels), (True, labels[:, None]), (False, one_hot)):
        for from_logits, output in ((True, logits), (False, probabilities)):
            loss = SigmoidCrossentropy(from_logits, sparse)
            again = keras.losses.deserialize(keras.losses.serialize(loss))
            assert float(again(y, output)) == pytest.approx(expected, rel=1e-5)
    recipe = recipes.get("vit-finetune", "pets")
    assert recipe.compile_args(from_logits=True)["loss"].get_config()["from_logits"] is True


def test_accumulated_batches_keep_the_schedule():
    recipe = recipes.get("vit-finetune", "imagenet", "ViT_L16")
    optimizer = recipe.make_optimizer(gradient_accumulation_steps=8)
    config = optimizer.get_config()
    assert config["gradient_accumulation_steps"] == 8
    assert config["learning_rate"]["config"]["batches_per_step"] == 8
    assert config["ema_momentum"] ** 8 == pytest.approx(0.9999)


def test_model_args():
    recipe = recipes.get("augreg", "imagenet21k", dropout_rate=0.1, stochastic_depth_rate=0.1)
    expected = {"dropout_rate": 0.1, "stochastic_depth_rate": 0.1}
    assert recipe.model_args() == {"classifier_activation": "sigmoid", **expected}
    plain = recipes.get("vit-finetune", "pets").model_args()
    assert plain == {"classifier_activation": "softmax"}


# --- changes and printing -------------------------------------------------------------------


def test_replacing_changes_nothing_else():
    recipe = recipes.get("vit-finetune", "cifar10")
    other = recipe.replace(batch_size=64)
    assert dataclasses.replace(other, batch_size=512) == recipe
    assert recipe.replace(epochs=2, warmup_steps=5).total_steps == 2 * 50_000 // 512
    assert recipes.get("augreg", "imagenet").replace(steps=20_000).epochs is None


def test_linear_rule_keeps_the_number_of_images():
    recipe = recipes.get("vit-finetune", "cifar10").scaled_to(128)
    _has(recipe, batch_size=128, steps=40_000, warmup_steps=2_000, learning_rate=0.0075)
    assert recipe.learning_rates == (0.00025, 0.00075, 0.0025, 0.0075)
    recipe = recipes.get("augreg", "imagenet")
    scaled = recipe.scaled_to(1024)
    _has(scaled, epochs=300, warmup_steps=40_000, learning_rate=0.00025)
    assert scaled.total_steps == pytest.approx(4 * recipe.total_steps, rel=1e-4)


def test_every_field_is_printed():
    recipe = recipes.get("augreg", "imagenet", augmentation="medium2")
    lines = str(recipe).splitlines()
    names = [field.name for field in dataclasses.fields(recipe)]
    assert [line.split()[0] for line in lines] == [*names, "total_steps"]
    assert "medium2: RandAugment(2, 15), mixup 0.5" in str(recipe)


def test_names():
    assert recipes.names() == ("vit-pretrain", "vit-finetune", "augreg", "bit-hyperrule")


GET = recipes.get


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GET("vit"), "`name` must be one of vit-pretrain, .*Received: name='vit'"),
        (lambda: GET("vit-finetune"), "`dataset` must be one of imagenet, cifar10.*dataset=None"),
        (lambda: GET("augreg", "jft"), "`dataset` must be one of imagenet, imagenet21k"),
        (lambda: GET("vit-pretrain", "jft"), "`model` must be one of ViT_B16, .*model=None"),
        (lambda: GET("vit-pretrain", "imagenet21k", "ViT_H14"), "`model` must be one of ViT_B16"),
        (lambda: GET("vit-finetune", "imagenet", "ViT_L15"), "`model` must be.*'ViT_L15'"),
        (lambda: GET("augreg", "imagenet", augmentation="light3"), "`augmentation` must be one"),
        (lambda: GET("augreg", "imagenet", learning="x"), "`field` must be one of name, .*'learni"),
        (
            lambda: GET("augreg", "imagenet", steps=100),
            r"shortened_to\(steps\).*warmup_steps=10000",
        ),
        (lambda: GET("augreg", "imagenet", resolution=(9, 9)), "`resolution` is for the BiT"),
        (lambda: GET("augreg", "imagenet", labels="integer", augmentation="light2"), "one-hot"),
        (lambda: GET("augreg", "imagenet", loss="hinge"), "`loss` must be one of softmax, sigmoid"),
        (
            lambda: GET("augreg", "imagenet", batch_size=0),
            "`batch_size` must be a positive integer",
        ),
        (lambda: GET("augreg", "imagenet", epochs=None), "exactly one of `steps` and `epochs`"),
        (lambda: GET("vit-finetune", "pets", epochs=9, num_examples=0), "`num_examples` must be"),
        (lambda: GET("bit-hyperrule", num_examples=5), "`num_examples` and `resolution`.*=5, reso"),
        (lambda: GET("bit-hyperrule", "jft"), "`dataset` must be one of imagenet, cifar10"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(ValueError, match=message):
        make()
