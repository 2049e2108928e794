"""The recipes and the training loop."""

from __future__ import annotations

import math
from pathlib import Path

import keras
import numpy as np
import pytest
from support.colour_photos import write_photos
from support.combinations import slow

import keras_vit
from keras_vit import recipes
from keras_vit.data import digits, from_folder
from keras_vit.data.augment.augmentation import AUGMENTATIONS, Augmentation
from keras_vit.recipes import fine_tune_recipe, from_scratch_recipe
from keras_vit.training import fine_tune

TINY = {"patch_size": 8, "width": 16, "depth": 1, "num_heads": 2, "mlp_dim": 32}
# MixUp without RandAugment, whose operations take seconds to trace; tests/data has all.
MIXED = Augmentation("mixed", 0, 0, mixup=0.2)


def tiny(image_size=16, classes=2, **options) -> keras.Model:
    options = {"classifier_activation": "softmax", "include_preprocessing": True, **options}
    return keras_vit.ViT(image_size, **TINY, classes=classes, **options)


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "colours", 12, classes=2)


@pytest.fixture
def data(colours):
    return from_folder(colours, 16, 8, validation_share=0.25)


# --- recipes --------------------------------------------------------------------------------


def test_schedule_is_the_original_one(golden):
    rows = golden("schedules").facts["vit_create_learning_rate_schedule"]
    cosines = [row for row in rows if row["args"]["decay_type"] == "cosine"]
    assert len(cosines) >= 3
    for row in cosines:
        args = row["args"]
        recipe = fine_tune_recipe(args["total_steps"], args["base"], args["warmup_steps"])
        schedule = recipe.learning_rate_schedule()
        got = [float(schedule(step)) for step in row["steps"]]
        np.testing.assert_allclose(got, row["lr"], rtol=1e-5, atol=1e-7 * args["base"])


def test_schedule_warms_up_for_a_tenth():
    schedule = fine_tune_recipe(200, 0.5).learning_rate_schedule()
    rates = [float(schedule(step)) for step in (0, 10, 20, 110, 200)]
    np.testing.assert_allclose(rates, [0, 0.25, 0.5, 0.25, 0], atol=1e-7)
    assert fine_tune_recipe(100_000).warmup_steps == 500
    assert fine_tune_recipe(3).warmup_steps == 0  # too short to warm up


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0.1), "`steps`.*Received: steps=0"),
        ((1.5, 0.1), "`steps`.*Received: steps=1.5"),
        ((10, 0.0), "`learning_rate`.*Received: learning_rate=0.0"),
        ((10, math.nan), "`learning_rate`"),
        ((10, 0.1, 10), "`warmup_steps`.*Received: warmup_steps=10, steps=10"),
        ((10, 0.1, -1), "`warmup_steps`"),
    ],
)
@pytest.mark.parametrize("function", [from_scratch_recipe, fine_tune_recipe])
def test_schedule_out_of_range(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


def test_fine_tune_recipe_is_the_papers():
    args = fine_tune_recipe(100, 0.03).compile_args()
    optimizer = args["optimizer"]
    assert isinstance(optimizer, keras.optimizers.SGD)
    assert (optimizer.momentum, optimizer.nesterov) == (0.9, False)
    assert optimizer.global_clipnorm == 1
    assert not optimizer.weight_decay
    assert args["loss"].get_config()["from_logits"] is False
    logits = fine_tune_recipe().compile_args(from_logits=True)
    assert logits["loss"].get_config()["from_logits"] is True


def test_from_scratch_recipe_is_adam():
    optimizer = from_scratch_recipe(100).make_optimizer()
    assert isinstance(optimizer, keras.optimizers.AdamW)
    assert (optimizer.beta_1, optimizer.beta_2) == (0.9, 0.999)
    assert optimizer.global_clipnorm == 1
    assert optimizer.weight_decay > 0


def test_compile_args_are_enough(data):
    model = tiny()
    model.compile(**fine_tune_recipe(steps=3).compile_args())
    history = model.fit(data.train.repeat(), steps_per_epoch=3, shuffle=False, verbose=0).history
    assert set(history) == {"loss", "accuracy"}


# --- training -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("activation", "recipe"), [("softmax", fine_tune_recipe), (None, from_scratch_recipe)]
)
def test_it_learns(data, activation, recipe):
    keras.utils.set_random_seed(1)
    model = tiny(classifier_activation=activation)
    result = fine_tune(model, data, recipe(40, 0.01), verbose=0)
    assert result.validation_accuracy == 1
    assert result.train_accuracy == 1
    assert result.history["loss"][-1] < 0.7 * math.log(2) < result.history["loss"][0]
    probabilities = model.predict(data.validation, verbose=0)
    if activation is None:
        probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(probabilities))
    labels = np.concatenate([labels for _, labels in data.validation.as_numpy_iterator()])
    expected = -np.mean(np.log(probabilities[np.arange(len(labels)), labels]))
    assert result.history["val_loss"][-1] == pytest.approx(expected, rel=1e-3)


def test_steps_evaluations_and_what_is_said_of_them(data, capsys):
    model = tiny()
    result = fine_tune(model, data, fine_tune_recipe(23), verbose=2)
    assert result.steps == int(model.optimizer.iterations) == 30
    assert result.history["step"] == [3.0 * (i + 1) for i in range(10)]
    assert len(result.history["val_accuracy"]) == 10
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[4].startswith("step 15/30 ")
    for part in ("images/s", "left", "lr ", "loss ", "val_accuracy "):
        assert part in lines[4]


def test_same_seed_same_weights(colours):
    def train():
        keras.utils.set_random_seed(3)
        model = tiny()
        fine_tune(model, from_folder(colours, 16, 8, seed=3), fine_tune_recipe(5), verbose=0)
        return model.get_weights()

    for one, other in zip(train(), train(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_divergence_is_said(data):
    model = tiny()
    model.get_layer("head").bias.assign([math.nan, 0.0])
    with pytest.raises(ValueError, match=r"diverged.*Received: learning_rate=0\.5"):
        fine_tune(model, data, fine_tune_recipe(2, 0.5), verbose=0)


def test_model_without_preprocessing_is_refused(data):
    with pytest.raises(ValueError, match="include_preprocessing=True"):
        fine_tune(tiny(include_preprocessing=False), data)


def test_model_of_another_size_is_refused(data):
    with pytest.raises(ValueError, match=r"same image size.*\(24, 24\), data of \(16, 16\)"):
        fine_tune(tiny(24), data)


def test_model_of_other_classes_is_refused(data):
    with pytest.raises(ValueError, match=r"must have 2 outputs.*new_head=True.*\(None, 5\)"):
        fine_tune(tiny(classes=5), data)


def test_digits_from_scratch_are_learnt():
    keras.utils.set_random_seed(0)
    data = digits(16, 64)
    model = keras_vit.ViT(
        16, 4, 32, 1, 2, 64, classes=10, classifier_activation="softmax", include_preprocessing=True
    )
    result = fine_tune(model, data, from_scratch_recipe(300, 5e-3), verbose=0)
    assert result.validation_accuracy > 0.85


# --- labels that are shares, recipes of the papers ------------------------------------------


@pytest.mark.parametrize("recipe", [fine_tune_recipe, slow(from_scratch_recipe)])
def test_it_learns_from_mixed_labels(colours, recipe):
    keras.utils.set_random_seed(1)
    data = from_folder(colours, 16, 8, validation_share=0.25, augmentation=MIXED)
    assert data.one_hot
    model = tiny()
    result = fine_tune(model, data, recipe(40, 0.01), verbose=0)
    assert isinstance(model.loss, keras.losses.CategoricalCrossentropy)
    assert result.validation_accuracy >= 0.8


def test_a_recipe_of_the_papers(colours):
    recipe = recipes.get(
        "augreg", "imagenet", augmentation="light2", steps=20, warmup_steps=2, batch_size=8,
        image_size=16, ema=0.9,
    )  # fmt: skip
    assert recipe.data_args() == {
        "image_size": 16,
        "batch_size": 8,
        "crop_area": (0.05, 1.0),
        "flip": True,
        "augmentation": AUGMENTATIONS["light2"],
    }
    assert recipe.data_args(2)["batch_size"] == 4
    with pytest.raises(ValueError, match=r"must divide.*batches_per_step=3, batch_size=8"):
        recipe.data_args(3)
    bit = recipes.get("bit-hyperrule", "pets")
    assert bit.data_args()["crop_area"] == pytest.approx(((480 / 512) ** 2, 1))

    args = {**recipe.data_args(2), "augmentation": MIXED}
    data = from_folder(colours, validation_share=0.25, **args)
    model = tiny(**recipe.model_args())
    result = fine_tune(model, data, recipe, accumulate=2, verbose=0)
    assert result.steps == 20
    assert int(model.optimizer.iterations) == 20  # Keras counts updates here
    assert result.history["step"] == [2.0 * (i + 1) for i in range(10)]


def test_images_of_other_channels_are_refused_with_a_sentence(tmp_path):
    """`keras_vit.data` and the commands read photos, of three channels."""
    model = keras_vit.ViT(
        8, 4, 16, 1, 2, 16, classes=10, input_shape=(8, 8, 4), include_preprocessing=True
    )
    model.save(tmp_path / "a.keras")
    for refused in (
        lambda: keras_vit.training.fine_tune(model, keras_vit.data.digits(image_size=8)),
        lambda: keras_vit.evaluate.accuracy(model, tmp_path),
        lambda: keras_vit.predict.load_classifier(tmp_path / "a.keras"),
    ):
        with pytest.raises(
            ValueError, match=r"images of 4 channels, and these have 3.*`ImageData`"
        ):
            refused()
