"""The recipes, the training loop, and the folder that a run leaves."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_vit
from keras_vit import plots, run_folder, runs
from keras_vit.data import digits, from_folder
from keras_vit.run_folder import new_folder
from keras_vit.train import (
    TrainingResult,
    fine_tune,
    fine_tune_recipe,
    from_scratch_recipe,
    learning_rate_schedule,
)

TINY = {"patch_size": 8, "width": 16, "depth": 2, "num_heads": 2, "mlp_dim": 32}


def tiny(image_size=16, classes=2, **options) -> keras.Model:
    options = {"classifier_activation": "softmax", "include_preprocessing": True, **options}
    return keras_vit.ViT(image_size, **TINY, classes=classes, **options)


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Two classes that a glance tells apart: 12 reddish and 12 bluish images."""
    rng = np.random.default_rng(0)
    for name, colour in (("red", (220, 30, 30)), ("sea blue", (30, 30, 220))):
        (tmp_path / "colours" / name).mkdir(parents=True)
        for i in range(12):
            pixels = np.clip(rng.normal(colour, 25, (20, 20, 3)), 0, 255).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / "colours" / name / f"{i}.png")
    return tmp_path / "colours"


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
        schedule = learning_rate_schedule(args["total_steps"], args["base"], args["warmup_steps"])
        got = [float(schedule(step)) for step in row["steps"]]
        np.testing.assert_allclose(got, row["lr"], rtol=1e-5, atol=1e-7 * args["base"])


def test_schedule_warms_up_for_a_tenth():
    schedule = learning_rate_schedule(200, 0.5)
    rates = [float(schedule(step)) for step in (0, 10, 20, 110, 200)]
    np.testing.assert_allclose(rates, [0, 0.25, 0.5, 0.25, 0], atol=1e-7)
    assert float(learning_rate_schedule(100_000, 1.0)(500)) == pytest.approx(1)
    assert float(learning_rate_schedule(3, 1.0)(0)) == 1  # too short to warm up


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
@pytest.mark.parametrize("function", [learning_rate_schedule, fine_tune_recipe])
def test_schedule_out_of_range(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


def test_fine_tune_recipe_is_the_papers():
    args = fine_tune_recipe(100, 0.03)
    optimizer = args["optimizer"]
    assert isinstance(optimizer, keras.optimizers.SGD)
    assert (optimizer.momentum, optimizer.nesterov) == (0.9, False)
    assert optimizer.global_clipnorm == 1
    assert not optimizer.weight_decay
    assert args["loss"].get_config()["from_logits"] is False
    assert fine_tune_recipe(from_logits=True)["loss"].get_config()["from_logits"] is True


def test_from_scratch_recipe_is_adam():
    optimizer = from_scratch_recipe(100)["optimizer"]
    assert isinstance(optimizer, keras.optimizers.AdamW)
    assert (optimizer.beta_1, optimizer.beta_2) == (0.9, 0.999)
    assert optimizer.global_clipnorm == 1
    assert optimizer.weight_decay > 0


def test_compile_args_are_enough(data):
    model = tiny()
    model.compile(**fine_tune_recipe(steps=3))
    history = model.fit(data.train.repeat(), steps_per_epoch=3, shuffle=False, verbose=0).history
    assert set(history) == {"loss", "accuracy"}


# --- training -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("activation", "recipe"), [("softmax", fine_tune_recipe), (None, from_scratch_recipe)]
)
def test_it_learns(data, activation, recipe):
    keras.utils.set_random_seed(1)
    model = tiny(classifier_activation=activation)
    result = fine_tune(model, data, steps=40, learning_rate=0.01, recipe=recipe, verbose=0)
    assert result.validation_accuracy == 1
    assert result.train_accuracy == 1
    assert result.history["loss"][-1] < 0.7 * math.log(2) < result.history["loss"][0]
    probabilities = model.predict(data.validation, verbose=0)
    if activation is None:
        probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(probabilities))
    labels = np.concatenate([labels for _, labels in data.validation.as_numpy_iterator()])
    expected = -np.mean(np.log(probabilities[np.arange(len(labels)), labels]))
    assert result.history["val_loss"][-1] == pytest.approx(expected, rel=1e-3)


def test_steps_and_evaluations(data):
    model = tiny()
    result = fine_tune(model, data, steps=23, verbose=0)
    assert result.steps == int(model.optimizer.iterations) == 30
    assert result.history["step"] == [3.0 * (i + 1) for i in range(10)]
    assert len(result.history["val_accuracy"]) == 10


def test_same_seed_same_weights(colours):
    def train():
        keras.utils.set_random_seed(3)
        model = tiny()
        fine_tune(model, from_folder(colours, 16, 8, seed=3), steps=5, verbose=0)
        return model.get_weights()

    for one, other in zip(train(), train(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_divergence_is_said(data):
    def recipe(*args, **options):
        return fine_tune_recipe(*args, **options) | {"loss": lambda y, p: math.nan * p[:, 0]}

    with pytest.raises(ValueError, match=r"diverged.*Received: learning_rate=0\.5"):
        fine_tune(tiny(), data, steps=2, learning_rate=0.5, recipe=recipe, verbose=0)


def test_model_without_preprocessing_is_refused(data):
    with pytest.raises(ValueError, match="include_preprocessing=True"):
        fine_tune(tiny(include_preprocessing=False), data, steps=1)


def test_model_of_another_size_is_refused(data):
    with pytest.raises(ValueError, match=r"same image size.*\(24, 24\), data of \(16, 16\)"):
        fine_tune(tiny(24), data, steps=1)


def test_model_of_other_classes_is_refused(data):
    with pytest.raises(ValueError, match=r"must have 2 outputs.*new_head=True.*\(None, 5\)"):
        fine_tune(tiny(classes=5), data, steps=1)


def test_digits_from_scratch_are_learnt():
    keras.utils.set_random_seed(0)
    data = digits(20, 64)
    model = keras_vit.ViT(
        20, 4, 32, 2, 2, 64, classes=10, classifier_activation="softmax", include_preprocessing=True
    )
    result = fine_tune(
        model, data, steps=300, learning_rate=5e-3, recipe=from_scratch_recipe, verbose=0
    )
    assert result.validation_accuracy > 0.85


# --- the folder appears whole or not at all ---------------------------------------------------


def test_new_folder_appears_at_the_end(tmp_path):
    target = tmp_path / "runs" / "one"
    with new_folder(target) as folder:
        (folder / "a").write_text("a")
        assert not target.exists()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["one"]
    assert (target / "a").read_text() == "a"
    (tmp_path / "plain").mkdir()
    assert target.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_existing_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "one").mkdir()
    with (
        pytest.raises(ValueError, match=r"one exists already.*--overwrite"),
        new_folder(tmp_path / "one"),
    ):
        pytest.fail("the work was begun")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_overwrite_keeps_the_old_folder(tmp_path):
    for i in range(3):
        with new_folder(tmp_path / "one", overwrite=True) as folder:
            (folder / "a").write_text(str(i))
            if i > 0:
                assert (tmp_path / "one" / "a").read_text() == str(i - 1)
    contents = {path.name: (path / "a").read_text() for path in tmp_path.iterdir()}
    assert contents == {"one": "2", "one.old": "0", "one.old-2": "1"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_interrupted_work_leaves_no_folder(tmp_path, error):
    with pytest.raises(error), new_folder(tmp_path / "one"):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_interrupted_work_does_not_touch_the_old_folder(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "one", overwrite=True) as folder:
        (folder / "a").write_text("half")
        raise KeyboardInterrupt
    contents = {path.name: (path / "a").read_text() for path in tmp_path.iterdir()}
    assert contents == {"one": "old", "one.unfinished": "half"}


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="Cannot write in"), new_folder(tmp_path / "file" / "one"):
        pytest.fail("the work was begun")


# --- a run ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, dict]:
    """A short run on three classes of plain colours."""
    tmp_path = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    for name, colour in (("blå", (30, 30, 220)), ("green", (30, 200, 30)), ("red", (220, 30, 30))):
        for split, count in (("train", 10), ("test", 5)):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.clip(rng.normal(colour, 25, (20, 20, 3)), 0, 255).astype("uint8")
                Image.fromarray(pixels).save(tmp_path / "data" / split / name / f"{i}.png")
    (tmp_path / "data" / "train" / "red" / "broken.png").write_bytes(b"")
    settings = runs.settings_for(
        str(tmp_path / "data"),
        model="small",
        image_size=16,
        steps=30,
        batch_size=10,
        on_error="skip",
    )
    with pytest.warns(UserWarning, match=r"broken\.png"):
        summary = runs.run(settings, tmp_path / "runs" / "colours", verbose=0)
    return tmp_path / "runs" / "colours", summary


def test_run_folder_has_everything(finished):
    folder, summary = finished
    assert sorted(path.name for path in folder.iterdir()) == [
        "curves.png",
        "labels.txt",
        "model.keras",
        "predictions.png",
        "summary.json",
    ]
    assert (folder / "labels.txt").read_text("utf-8") == "blå\ngreen\nred\n"
    assert json.loads((folder / "summary.json").read_text("utf-8")) == summary
    for name in ("curves.png", "predictions.png"):
        with Image.open(folder / name) as image:
            assert image.width > 500
            assert len(image.convert("RGB").resize((100, 100)).getcolors(10_000)) > 100


def test_summary_says_what_was_done(finished):
    _, summary = finished
    assert summary["data"] == {
        "name": "data",
        "classes": 3,
        "train_images": 30,
        "validation_images": 15,
        "unreadable": ["train/red/broken.png"],
        "resize": "squash",
    }
    assert summary["settings"]["steps"] == 30
    assert summary["settings"]["data"] == "data"
    assert summary["steps"] == 30
    assert summary["validation_accuracy"] == summary["train_accuracy"] == 1
    assert set(summary["versions"]) == {"keras_vit", "keras", "tensorflow", "python"}


def test_saved_model_takes_raw_pixels(finished):
    folder, _ = finished
    model = keras.models.load_model(folder / "model.keras")
    colours = np.array([[30, 30, 220], [30, 200, 30], [220, 30, 30]], "uint8")
    images = np.broadcast_to(colours[:, None, None], (3, 16, 16, 3))
    probabilities = model.predict(images, verbose=0)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(axis=-1), [0, 1, 2])
    # No optimiser inside: the file holds the weights once.
    size = 4 * model.count_params()
    assert (folder / "model.keras").stat().st_size < 1.5 * size + 200_000
    assert getattr(model, "optimizer", None) is None


def test_interrupted_run_leaves_nothing(colours, tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.Model, "fit", interrupt)
    settings = runs.settings_for(str(colours), model="small", image_size=16)
    with pytest.raises(KeyboardInterrupt):
        runs.run(settings, tmp_path / "runs" / "one", verbose=0)
    assert list((tmp_path / "runs").iterdir()) == []


def test_pictures_are_checked_for_before_the_training(colours, tmp_path, monkeypatch):
    def missing():
        raise ImportError("pip install keras-vit-applications[plots]")

    monkeypatch.setattr(plots, "require_matplotlib", missing)
    monkeypatch.setattr(runs, "load_data", lambda *_, **__: pytest.fail("the work was begun"))
    with pytest.raises(ImportError, match="plots"):
        runs.run(runs.settings_for(str(colours)), tmp_path / "one", verbose=0)


def test_settings_suit_the_data():
    assert runs.settings_for() == runs.DIGITS
    photos = runs.settings_for("photos", steps=7)
    assert (photos.model, photos.weights, photos.steps) == ("ViT_Ti16", "imagenet", 7)
    assert runs.settings_for("digits", model="ViT_Ti16").weights == "imagenet"
    small = runs.settings_for("photos", model="small")
    assert small == dataclasses.replace(runs.DIGITS, data="photos")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "ViT_Q16"}, "`model` must be .*ViT_Ti16.*Received: model='ViT_Q16'"),
        ({"model": "small", "weights": "imagenet"}, "no weights for the model 'small'"),
    ],
)
def test_settings_that_make_no_model(given, message):
    with pytest.raises(ValueError, match=message):
        runs.build(runs.settings_for(**given), classes=2)


def test_a_name_that_is_nothing(monkeypatch):
    from keras_vit import tfds_source

    def missing(*_):
        raise ImportError("pip install keras-vit-applications[tfds]")

    monkeypatch.setattr(tfds_source, "load", missing)
    with pytest.raises(ValueError, match=r"no folder 'photoz'.*\[tfds\]"):
        runs.load_data(runs.settings_for("photoz"))


# --- pictures -------------------------------------------------------------------------------


def test_rollout_by_hand():
    # One block, one head, two tokens: (A + I) with rows normalised.
    maps = np.array([[0.2, 0.8], [0.6, 0.4]]).reshape(1, 1, 1, 2, 2)
    expected = np.array([[0.6, 0.4], [0.3, 0.7]])
    np.testing.assert_allclose(plots.attention_rollout(maps)[0], expected)
    # A second block stands to the left; heads are averaged.
    second = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    two = np.stack([np.stack([maps[0, 0, 0]] * 2), np.stack(second)])[None]
    np.testing.assert_allclose(
        plots.attention_rollout(two)[0], np.array([[0.75, 0.25], [0.25, 0.75]]) @ expected
    )


def test_masks_lie_as_the_patches_do():
    # The class token looks at the patch in row 1, column 2 of 2 x 3.
    maps = np.zeros((1, 1, 1, 7, 7))
    maps[..., 1 + 1 * 3 + 2] = 1
    mask = plots.attention_masks(maps, (2, 3), (20, 30))
    assert mask.shape == (1, 20, 30)
    assert mask.max() == pytest.approx(1)
    assert np.unravel_index(mask[0].argmax(), mask[0].shape) >= (14, 24)
    assert mask[0, :10, :10].max() == 0


def test_predictions_grid_tells_right_from_wrong():
    figure = plots.predictions_grid(
        np.zeros((2, 8, 8, 3)),
        np.array([[0.9, 0.1], [0.7, 0.3]]),
        np.array([0, 1]),
        ("cat", "dog"),
        np.zeros((2, 8, 8)),
    )
    titles = [part._suptitle for part in figure.subfigs]
    assert [title.get_text().strip() for title in titles] == [
        "cat (90 %)",
        "cat (70 %)\ntrue: dog (30 %)",
    ]
    assert [title.get_color() for title in titles] == [plots.RIGHT, plots.WRONG]
    assert len(figure.subfigs[0].axes) == 2


def test_example_predictions_are_spread_over_the_classes(data):
    model = tiny()
    result = TrainingResult({}, train_accuracy=0, validation_accuracy=0.5, steps=0, seconds=0)
    figure = run_folder.example_predictions(model, data, result)
    shown = [part for part in figure.subfigs if part.axes]
    assert len(shown) == data.num_validation == 6
