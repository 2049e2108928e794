"""`tools/predict.py`, as a user runs it."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from support.colour_photos import COLOURS
from support.paths import ROOT

import keras_vit
from keras_vit import plots, predict
from keras_vit.cli.commands import predict as predict_command


def test_predict_with_a_run(tool, colour_run, colour_photos):
    paths = [colour_photos / name / "3.jpg" for name in COLOURS]
    code, out, _ = tool("predict", *paths, "--model", colour_run, "--top", 2)
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 3 * 3
    for i, (name, path) in enumerate(zip(COLOURS, paths, strict=True)):
        assert lines[3 * i] == str(path)
        assert lines[3 * i + 1].endswith(f" %  {name}")
        first, second = (float(line.split()[0]) for line in lines[3 * i + 1 : 3 * i + 3])
        assert first > second


def test_predictions_are_exported(tool, colour_run, colour_photos, tmp_path):
    names = ["red/0.jpg", "red/1.jpg"]
    target = tmp_path / "out.csv"
    target.write_text("old")
    paths = [colour_photos / name for name in names]
    code, _, _ = tool("predict", *paths, "--model", colour_run, "--top", 2, "--csv", target)
    assert code == 0
    rows = list(csv.DictReader(target.read_text("utf-8").splitlines()))
    assert [row["photo"] for row in rows] == [str(path) for path in paths]
    for row in rows:
        assert row["error"] == "" and {row["class_1"], row["class_2"]} < {*COLOURS}
        assert float(row["probability_1"]) >= float(row["probability_2"]) > 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    nowhere = tmp_path / "missing" / "out.csv"
    code, _, err = tool("predict", *paths, "--model", colour_run, "--csv", nowhere)
    assert code == 2
    assert "Cannot write" in err


def test_photos_are_drawn_with_their_names(tool, colour_run, colour_photos, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # a phone held upright
    Image.new("RGB", (900, 600), "red").save(turned, exif=exif)
    drawn = []
    save = plots.save
    monkeypatch.setattr(
        plots, "save", lambda figure, path: (drawn.append(figure), save(figure, path))
    )
    target = tmp_path / "names.png"
    arguments = (colour_photos / "red/0.jpg", turned, "--model", colour_run, "--picture", target)
    code, out, _ = tool("predict", *arguments, "--top", 1)
    assert code == 0
    assert out.endswith(f"wrote {target}\n")
    assert target.read_bytes().startswith(b"\x89PNG")
    first, second = drawn[0].axes
    assert first.get_title().startswith("0.jpg\nred ")
    assert second.get_title().startswith("turned.jpg\nred ")
    assert second.images[0].get_array().shape == (320, 213, 3)
    # Another picture is not replaced unasked, which is said before the work.
    code, out, err = tool("predict", *arguments)
    assert (code, out) == (2, "") and "--overwrite" in err
    assert tool("predict", *arguments, "--overwrite")[0] == 0
    code, _, err = tool("predict", *arguments[:-1], tmp_path / "names.jpg")
    assert code == 2 and ".png" in err


def test_predict_goes_on_after_an_unreadable_photo(tool, colour_run, colour_photos, tmp_path):
    (tmp_path / "broken.jpg").write_text("no photo")
    code, out, err = tool(
        "predict",
        tmp_path / "broken.jpg",
        colour_photos / "red" / "0.jpg",
        tmp_path / "missing.jpg",
        "--model",
        colour_run,
    )
    assert code == 2
    assert "red" in out.splitlines()[1]
    assert [line.split(":")[0] for line in err.splitlines()] == ["error", "error"]
    assert "broken.jpg cannot be read" in err
    assert "missing.jpg cannot be read: " in err
    assert "No such file" in err


def test_predict_with_a_keras_file_alone(tool, colour_run, colour_photos, tmp_path):
    shutil.copy(colour_run / "model.keras", tmp_path / "mine.keras")
    code, out, _ = tool(
        "predict", colour_photos / "red" / "0.jpg", "--model", tmp_path / "mine.keras"
    )
    assert code == 0
    assert out.splitlines()[1].endswith("class 2")
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    code, _, err = tool(
        "predict", colour_photos / "red" / "0.jpg", "--model", tmp_path / "mine.keras"
    )
    assert code == 2
    assert "a line for each class of the model, 3. Received: 2 lines" in err


@pytest.fixture
def build():
    """`build(...)`: a model of three classes that has learnt nothing."""
    return lambda **options: keras_vit.ViT(16, 8, 16, 1, 2, 32, classes=3, **options)


def test_predict_with_logits(tool, build, colour_photos, tmp_path):
    model = build(include_preprocessing=True)
    model.layers[-1].bias.assign([3.0, 1.0, 0.0])
    model.save(tmp_path / "logits.keras")
    code, out, _ = tool(
        "predict", colour_photos / "red" / "0.jpg", "--model", tmp_path / "logits.keras"
    )
    assert code == 0
    shares = [float(line.split()[0]) for line in out.splitlines()[1:]]
    np.testing.assert_allclose(shares, [84.4, 11.4, 4.2], atol=0.051)  # the head's kernel is zero


def test_predict_with_probabilities_of_a_model_inside_another(tool, build, colour_photos, tmp_path):
    inner = build(classifier_activation="softmax")
    inner.layers[-1].bias.assign([3.0, 1.0, 0.0])
    scaling = keras.layers.Rescaling(1 / 127.5, offset=-1)
    keras.Sequential([keras.Input((16, 16, 3)), scaling, inner]).save(tmp_path / "inside.keras")
    code, out, _ = tool(
        "predict", colour_photos / "red" / "0.jpg", "--model", tmp_path / "inside.keras"
    )
    assert code == 0
    shares = [float(line.split()[0]) for line in out.splitlines()[1:]]
    np.testing.assert_allclose(shares, [84.4, 11.4, 4.2], atol=0.051)  # no softmax of a softmax


def test_predict_refuses_a_model_for_scaled_pixels(tool, build, colour_photos, tmp_path):
    build().save(tmp_path / "scaled.keras")
    code, _, err = tool(
        "predict", colour_photos / "red" / "0.jpg", "--model", tmp_path / "scaled.keras"
    )
    assert code == 2
    assert "include_preprocessing=True" in err


def test_predict_with_a_checkpoint(tool, golden, colour_photos):
    checkpoint = golden("vit_token").checkpoint
    code, out, _ = tool(
        "predict", colour_photos / "red" / "0.jpg", "--model", checkpoint, "--top", 3
    )
    assert code == 0
    model = keras_vit.from_checkpoint(
        checkpoint, classifier_activation="softmax", include_preprocessing=True
    )
    photo = keras.utils.load_img(colour_photos / "red" / "0.jpg", target_size=(32, 32))
    scores = model.predict(np.asarray(photo)[None], verbose=0)[0]
    names = [line.split("%  ")[1] for line in out.splitlines()[1:]]
    assert len(names) == 3
    assert names[0] == f"class {scores.argmax()}"


def test_predict_with_released_weights(tool, ti16_path, monkeypatch, request):
    monkeypatch.setenv("KERAS_VIT_CACHE", str(ti16_path.parent))
    folder = request.getfixturevalue("imagenet_photos")
    paths = [next(folder.glob(f"*{name}.JPEG")) for name in ("lorikeet", "black_swan")]
    code, out, _ = tool("predict", *paths)
    assert code == 0
    assert len(out.splitlines()) == 2 * 6
    assert out.splitlines()[1].endswith("lorikeet")
    assert out.splitlines()[7].endswith("black_swan")


@pytest.fixture
def imagenet_photos(shared, tmp_path) -> Path:
    with zipfile.ZipFile(shared / "data" / "in1k_100_short256.zip") as archive:
        archive.extractall(tmp_path / "photos")
    return tmp_path / "photos"


def test_classifier_knows_how_the_run_resized(colour_run, tmp_path):
    found = predict.load_classifier(colour_run)
    assert (found.resize, found.interpolation) == ("crop", "bicubic")
    summary = json.loads((colour_run / "summary.json").read_text("utf-8"))
    assert summary["settings"]["interpolation"] == "bicubic"
    del summary["data"]["interpolation"]  # as version 0.1 wrote it
    shutil.copy(colour_run / "model.keras", tmp_path)
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    found = predict.load_classifier(tmp_path)
    assert (found.resize, found.interpolation) == ("crop", "bilinear")


def test_photos_are_resampled_as_asked(tool, colour_run, colour_photos, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), "uint8")
    keras.utils.save_img(tmp_path / "noise.png", noise)
    found = predict.load_classifier(colour_run)
    shares = set()
    for resize in ("squash", "crop"):
        for interpolation in ("bilinear", "bicubic"):
            how = dataclasses.replace(found, resize=resize, interpolation=interpolation)
            (answer,) = predict.classify(how, [tmp_path / "noise.png"], 3)
            code, _, err = tool(
                "predict", tmp_path / "noise.png", "--model", colour_run, "--resize", resize,
                "--interpolation", interpolation, "--top", 3, "--csv", tmp_path / "a.csv",
            )  # fmt: skip
            assert code == 0, err
            (row,) = csv.DictReader((tmp_path / "a.csv").read_text().splitlines())
            assert [(row[f"class_{i}"], float(row[f"probability_{i}"])) for i in (1, 2, 3)] == [
                (name, pytest.approx(share, abs=1e-6)) for name, share in answer.top
            ]
            shares.add(answer.top)
    assert len(shares) == 4
    for option in ("--resize", "--interpolation"):
        code, _, err = tool(
            "predict", tmp_path / "noise.png", "--model", colour_run, option, "lanczos"
        )
        assert (code, "must be one of" in err) == (2, True)


def test_a_model_that_is_no_classifier_is_refused(tool, colour_photos, tmp_path):
    base = keras_vit.ViT(16, 8, 16, 1, 2, 16, include_preprocessing=True, include_top=False)
    base.save(tmp_path / "map.keras")
    heads = {name: keras.layers.Dense(2)(base.output) for name in ("a", "b")}
    keras.Model(base.input, heads).save(tmp_path / "two.keras")
    for name in ("map", "two"):
        code, _, err = tool(
            "predict", colour_photos / "red" / "0.jpg", "--model", tmp_path / f"{name}.keras"
        )
        assert code == 2
        assert "A classifier has one output, `[B, classes]`" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "ViT_Q16"), "Expected one of ViT_Ti16"),
        (("--model", "."), "a run folder with a model.keras"),
        (("--model", "pyproject.toml", "--weights", "imagenet"), "`weights` goes with the name"),
        (("--weights", "no_such_weights"), "no_such_weights"),
    ],
)
def test_predict_with_a_wrong_model(tool, arguments, message, monkeypatch):
    monkeypatch.chdir(ROOT)
    code, out, err = tool("predict", "photo.jpg", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err


def test_top_out_of_range(tool, colour_run, colour_photos):
    code, _, err = tool("predict", colour_photos / "red/0.jpg", "--model", colour_run, "--top", 0)
    assert code == 2
    assert "`top` must be a positive integer" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "There is no folder 'nowhere'"),
        ((".", "."), "With --out give one folder"),
        ((".", "--shard", "17/16"), "`shard` must be a pair"),
        ((".", "--format", "json"), "`format` must be one of csv, parquet"),
        ((".", "--top", 0), "`top` must be a positive integer"),
    ],
)
def test_what_is_wrong_is_said_before_a_model_is_loaded(
    tool, arguments, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predict_command, "load_classifier", pytest.fail)
    code, _, err = tool("predict", *arguments, "--out", "answers")
    assert code == 2 and err.startswith(f"error: {message}")
    assert not [*tmp_path.iterdir()]
