"""The examples run as they are printed."""

from __future__ import annotations

import runpy
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from support.colour_photos import write_photos
from support.paths import ROOT

import keras_vit

EXAMPLES = ROOT / "examples"


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """`run(name, *arguments)` runs an example in an empty folder and returns its variables."""
    monkeypatch.chdir(tmp_path)

    def run_example(name: str, *arguments: object) -> tuple[dict, str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        variables = runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return variables, capsys.readouterr().out

    return run_example


@pytest.fixture
def random_weights(monkeypatch):
    """Stands in for the download: ViT-Ti/16 with random weights and no more blocks than needed."""

    def shallow(weights, features=None, **options):
        assert weights == "imagenet"
        depth = -min(features or [-1])
        model = keras_vit.ViT(224, 16, 192, depth, 3, 768, **options)
        return model if features is None else keras_vit.feature_model(model, features)

    monkeypatch.setattr(keras_vit, "ViT_Ti16", shallow)


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "colours", 5, classes=2)


def test_examples_are_short():
    examples = sorted(EXAMPLES.glob("*.py"))
    assert len(examples) >= 3
    for path in examples:
        assert len(path.read_text("utf-8").splitlines()) <= 60, path.name


def test_classify_photo(run, random_weights, colours):
    variables, out = run("classify_photo.py", colours / "green" / "0.png")
    assert variables["scores"].shape == (1, 1000)
    assert out.count(" %  ") == 5


def test_classify_photo_with_released_weights(run, monkeypatch, ti16_path, photos):
    monkeypatch.setenv("KERAS_VIT_CACHE", str(ti16_path.parent))
    lorikeet = next(path for path in photos if "lorikeet" in path.name)
    _, out = run("classify_photo.py", lorikeet)
    assert "lorikeet" in out.splitlines()[-5]


def test_fit_folder(run, random_weights, colours, tmp_path):
    variables, _ = run("fit_folder.py", colours)
    assert len(variables["model"].history.history["val_accuracy"]) == 3
    model = keras.models.load_model(tmp_path / "photos.keras")
    assert model.predict(np.zeros((1, 224, 224, 3)), verbose=0).shape == (1, 2)


@pytest.mark.slow
def test_flexible_patches(run):
    options = ["--steps", 10, "--patch-sizes", 20, 10, "--fixed", 20]
    variables, out = run("flexible_patches.py", *options)
    assert len(variables["rows"]) == 2
    assert "| trained with | at 20 | at 10 | seconds |" in out
    assert out.count("%") == 4


def test_swap_constructor(run, random_weights, colours):
    variables, _ = run("swap_constructor.py", colours)
    model, base = variables["model"], variables["base"]
    assert len(model.trainable_weights) == 2
    assert not base.trainable
    assert len(model.history.history["val_accuracy"]) == 3


def test_nearest_images(run, random_weights, tmp_path):
    """The colours are far apart; there are 12 images of each to find 10 among."""
    variables, out = run("nearest_images.py", write_photos(tmp_path / "many", 15, classes=2))
    assert variables["nearest"].shape == (6, 10)
    assert out.endswith("precision at 10: 100.0 % (6 among 24 images)\n")


@pytest.mark.slow
def test_nearest_flowers_with_released_weights(run, monkeypatch, ti16_path, shared, tmp_path):
    with zipfile.ZipFile(shared / "data" / "flowers12.zip") as archive:
        archive.extractall(tmp_path / "flowers")
    monkeypatch.setenv("KERAS_VIT_CACHE", str(ti16_path.parent))
    (folder,) = (path.parent for path in (tmp_path / "flowers").rglob("train"))
    variables, _ = run("nearest_images.py", folder)
    assert len(variables["asked"]) == 240 and variables["precision"] > 0.9


def test_segment(run, random_weights):
    variables, out = run("segment.py", 8)
    model = variables["model"]
    assert model.output_shape == (None, 224, 224, 2)
    assert len(model.trainable_weights) == 2
    assert 0 <= variables["shared"] <= variables["either"] > 0
    assert "intersection over union of the digits: " in out and "(2 new scenes)" in out
