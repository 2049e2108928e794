"""A run: the folder that it leaves, and the pictures in it."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from support.colour_photos import write_photos
from support.interruptions import NOT_TRAINED

import keras_vit
from keras_vit import plots, recipes, runs
from keras_vit.cli.main import main
from keras_vit.data import from_folder
from keras_vit.predict import load_classifier
from keras_vit.runs import from_settings, run_folder, settings, training_run
from keras_vit.training import TrainingResult


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "colours", 8)


# --- a run ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, dict]:
    """A short run of a model with one block on three classes of plain colours."""
    tmp_path = tmp_path_factory.mktemp("run")
    for split, count in (("train", 10), ("test", 5)):
        write_photos(tmp_path / "data" / split, count)
    (tmp_path / "data" / "train" / "red" / "broken.png").write_bytes(b"")
    settings = runs.settings_for(
        str(tmp_path / "data"),
        model="small",
        image_size=16,
        steps=30,
        batch_size=10,
        on_error="skip",
    )
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.warns(UserWarning, match=r"broken\.png"),
    ):
        patch.setitem(from_settings.SMALL_MODEL, "depth", 1)
        summary = runs.run(settings, tmp_path / "runs" / "colours", verbose=0)
    return tmp_path / "runs" / "colours", summary


def test_run_folder_has_everything(finished):
    folder, summary = finished
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.txt",
        "curves.png",
        "labels.txt",
        "log.csv",
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


def test_the_readme_in_the_folder_is_right(finished, monkeypatch):
    """What it says about Python works as it stands there."""
    folder, _ = finished
    lines = (folder / "README.txt").read_text("utf-8").splitlines()
    program = textwrap.dedent("\n".join(x for x in lines if x.startswith("    ") and "$" not in x))
    assert "import keras_vit" in program.partition("load_model")[0]
    program, shell = program.split("keras-vit ")
    assert shell.startswith("predict photo.jpg --model FOLDER")
    monkeypatch.chdir(folder)
    names = {"photos": np.zeros((2, 16, 16, 3), "uint8")}
    exec(program, names)
    np.testing.assert_allclose(names["probabilities"].sum(axis=-1), 1, atol=1e-5)


@pytest.mark.skipif(os.name != "posix", reason="needs names of any bytes")
def test_names_of_any_bytes(tmp_path, capsys, monkeypatch):
    """Classes, photos and the run itself: learnt, written, read and printed."""
    photos = write_photos(tmp_path / "photos", 2, classes=2)
    names = [os.fsdecode(b"caf\xe9 $^$"), "two\nlines\x1b[31m"]
    for old, new in zip(sorted(photos.iterdir()), names, strict=True):
        (old / "0.png").rename(old / os.fsdecode(b"\xff\n\x1b.png"))
        old.rename(photos / new)
    out = tmp_path / os.fsdecode(b"run\xff\n\x1b")
    settings = runs.settings_for(str(photos), model="small", image_size=16, steps=2, batch_size=2)
    monkeypatch.setitem(from_settings.SMALL_MODEL, "depth", 1)
    monkeypatch.setattr(training_run.training, "fine_tune", lambda *_, **__: NOT_TRAINED)
    runs.run(settings, out, verbose=0)
    assert set(load_classifier(out).class_names) == set(names)
    assert runs.run(settings, out, verbose=0)["settings"]["steps"] == 2  # it is known as complete
    photo = photos / names[1] / os.fsdecode(b"\xff\n\x1b.png")
    csv = tmp_path / "predictions.csv"
    assert main(["predict", str(photo), "--model", str(out), "--csv", str(csv)]) == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 3 and "\x1b" not in said
    assert r"two\u000alines\u001b[31m" in said and r"\udcff\u000a\u001b.png" in said
    assert csv.is_file()
    report = ["--out", str(tmp_path / "report")]
    assert main(["evaluate", str(photos), "--model", str(out), *report]) == 0
    assert (tmp_path / "report" / "confusion.png").is_file()
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err


def test_summary_says_what_was_done(finished):
    _, summary = finished
    assert summary["data"] == {
        "name": "data",
        "classes": 3,
        "train_images": 30,
        "validation_images": 15,
        "unreadable": ["train/red/broken.png"],
        "resize": "squash",
        "interpolation": "bilinear",
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

    monkeypatch.setattr(keras.Model, "train_on_batch", interrupt)
    settings = runs.settings_for(str(colours), model="small", image_size=16)
    with pytest.raises(KeyboardInterrupt):
        runs.run(settings, tmp_path / "runs" / "one", verbose=0)
    assert list((tmp_path / "runs").iterdir()) == []


def test_pictures_are_checked_for_before_the_training(colours, tmp_path, monkeypatch):
    def missing():
        raise ImportError("pip install keras-vit-applications[plots]")

    monkeypatch.setattr(plots, "require_matplotlib", missing)
    monkeypatch.setattr(
        training_run, "data_for", lambda *_, **__: pytest.fail("the work was begun")
    )
    with pytest.raises(ImportError, match="plots"):
        runs.run(runs.settings_for(str(colours)), tmp_path / "one", verbose=0)


def test_settings_suit_the_data():
    assert runs.settings_for() == settings.DIGITS
    photos = runs.settings_for("photos", steps=7)
    assert (photos.model, photos.weights, photos.steps) == ("ViT_Ti16", "imagenet", 7)
    assert runs.settings_for("digits", model="ViT_Ti16").weights == "imagenet"
    small = runs.settings_for("photos", model="small")
    assert small == dataclasses.replace(settings.DIGITS, data="photos")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "ViT_Q16"}, "`model` must be .*ViT_Ti16.*Received: model='ViT_Q16'"),
        ({"model": "small", "weights": "imagenet"}, "no weights for the model 'small'"),
    ],
)
def test_settings_that_make_no_model(given, message):
    with pytest.raises(ValueError, match=message):
        from_settings.model_for(runs.settings_for(**given), 2, recipes.fine_tune_recipe())


def test_a_name_that_is_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r"no folder 'photoz'.*\[tfds\]"):
        from_settings.data_for(runs.settings_for("photoz"))


# --- pictures -------------------------------------------------------------------------------


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


def test_example_predictions_are_spread_over_the_classes(colours):
    data = from_folder(colours, 16, 8, validation_share=0.75)  # 6 of each class
    model = keras_vit.ViT(16, 8, 16, 2, 2, 32, classes=3, include_preprocessing=True)
    result = TrainingResult({}, train_accuracy=0, validation_accuracy=0.5, steps=0, seconds=0)
    figure = run_folder.example_predictions(model, data, result)
    titles = [part._suptitle.get_text() for part in figure.subfigs]
    # 4 of each class; an untrained model calls all of them "blå".
    assert len(titles) == run_folder.EXAMPLES == 12
    assert [sum(f"true: {name}" in title for title in titles) for name in ("green", "red")] == [
        4,
        4,
    ]
    assert sum("true: " in title for title in titles) == 8
    assert "12 of 18" in figure._suptitle.get_text()
    assert "(9 of all are right)" in figure._suptitle.get_text()


def test_example_predictions_of_models_without_attention(colours):
    data = from_folder(colours, 32, 8, validation_share=0.75)
    result = TrainingResult({}, train_accuracy=0, validation_accuracy=0.5, steps=0, seconds=0)
    for model in (
        keras_vit.Mixer(32, 16, 8, 1, 5, 7, classes=3, include_preprocessing=True),
        keras_vit.BiT(32, (1,), 0.5, classes=3, include_preprocessing=True),
    ):
        figure = run_folder.example_predictions(model, data, result)
        assert all(len(part.axes) == 1 for part in figure.subfigs)
        assert "looked at" not in figure._suptitle.get_text()
