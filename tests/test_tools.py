"""The command-line tools, as a user runs them: what they print, write and return."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from pictures import COLOURS, write_photos
from strategy_run import SMALL

import keras_vit
from keras_vit import predict, runs
from keras_vit.commands import run_command

ROOT = Path(__file__).parents[1]


def load_tool(name: str):
    spec = importlib.util.spec_from_file_location(f"tool_{name}", ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tool(monkeypatch, capsys):
    """`tool("predict", "a.jpg")` runs it in this process: exit code, output, errors."""

    def run(name: str, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        code = run_command(load_tool(name).main)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Three classes of 8 photos, a colour each."""
    return write_photos(tmp_path_factory.mktemp("data") / "colours", 8, ending="jpg")


SHORT = ("--model", "small", "--image-size", 16, "--steps", 40, "--batch-size", 8)


@pytest.fixture(scope="module")
def run_folder(photos, tmp_path_factory) -> Path:
    """What a short training leaves."""
    folder = tmp_path_factory.mktemp("runs") / "colours"
    settings = runs.settings_for(
        str(photos), model="small", image_size=16, steps=40, batch_size=8, resize="crop"
    )
    runs.run(settings, folder, verbose=0)
    return folder


# --- finetune -------------------------------------------------------------------------------


def test_finetune_trains_and_says_where_to_look(tool, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = tool("finetune", "--data", photos, *SHORT, "--lr", 0.004, "--warmup", 2)
    assert code == 0
    assert "training accuracy 100.0 % (18 images)" in out
    assert "validation accuracy 100.0 % (6 images)" in out
    assert "40 steps in" in out
    assert "python tools/predict.py PHOTO --model runs/colours" in out.replace("\\", "/")
    assert "curves.png  labels.txt  log.csv  model.keras  predictions.png  summary.json" in out
    settings = json.loads((tmp_path / "runs/colours/summary.json").read_text("utf-8"))["settings"]
    assert settings["learning_rate"] == 0.004
    assert (settings["warmup_steps"], settings["batch_size"]) == (2, 8)


def test_existing_run_is_refused_before_any_work(tool, run_folder, monkeypatch):
    monkeypatch.setattr(runs, "load_data", lambda *_, **__: pytest.fail("the work was begun"))
    code, out, err = tool("finetune", "--data", "digits", "--out", run_folder)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert "exists already" in err
    assert "--overwrite" in err


def test_overwrite_keeps_the_old_run(tool, run_folder, tmp_path, monkeypatch):
    shutil.copytree(run_folder, tmp_path / "one")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runs, "load_data", interrupt)
        code, _, err = tool("finetune", "--out", tmp_path / "one", "--overwrite")
    assert (code, err) == (130, "interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    assert (tmp_path / "one" / "model.keras").is_file()


@pytest.mark.filterwarnings("default:1 images in")  # else it would end the tool
def test_unreadable_photo_is_named_or_skipped(tool, photos, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos" / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    arguments = ("--data", tmp_path / "photos", *SHORT[:4], "--steps", 1, "--out", tmp_path / "one")
    code, _, err = tool("finetune", *arguments)
    assert code == 2
    assert err.startswith("error: 1 images in")
    assert "broken.jpg" in err
    assert "--on-error skip" in err
    code, _, err = tool("finetune", *arguments, "--on-error", "skip")
    assert code == 0
    assert err.startswith("warning: 1 images in")
    assert "broken.jpg" in err


def test_train_is_from_random_weights(tool, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "_SMALL", SMALL)
    arguments = ("--data", photos, *SHORT, "--recipe", "augreg", "--steps", 4)
    strategy = ("--strategy", "cpu", "--devices", 1, "--precision", "float32", "--xla", "off")
    code, out, _ = tool("train", *arguments, *strategy, "--out", tmp_path / "one")
    assert code == 0
    assert "4 steps in" in out
    settings = json.loads((tmp_path / "one" / "summary.json").read_text("utf-8"))["settings"]
    expected = {"weights": None, "recipe": "augreg", "strategy": "cpu", "devices": 1}
    assert settings.items() >= expected.items()


def test_dry_run_says_what_will_be(tool, photos, tmp_path, monkeypatch):
    """The learning rate and the warmup that hold, and what the training will run on."""
    monkeypatch.chdir(tmp_path)

    def values(*arguments):
        code, out, _ = tool(*arguments, "--dry-run")
        assert code == 0
        recipe, run = out.split("\nrecipe\n")[1].split("\nrun\n")
        return [
            dict(line.split(maxsplit=1) for line in part.splitlines()) for part in (recipe, run)
        ]

    recipe, run = values("finetune", "--lr", 0.01, "--precision", "mixed_bfloat16")
    assert (recipe["learning_rate"], recipe["warmup_steps"]) == ("0.01", "90")
    on = {"strategy": "one", "devices": "1", "dtype": "mixed_bfloat16", "xla": "off"}
    assert run.items() >= on.items()
    tiny = ("--data", photos, "--model", "ViT_Ti16", "--image-size", 32)
    recipe, run = values(
        "train", *tiny, "--steps", 50, "--lr", 0.004, "--warmup", 7,
        "--strategy", "cpu", "--devices", 1, "--xla",
    )  # fmt: skip
    assert recipe["name"].startswith("vit-pretrain (imagenet)")
    assert (recipe["learning_rate"], recipe["warmup_steps"]) == ("0.004", "7")
    assert recipe["total_steps"] == "50"
    assert (run["strategy"], run["xla"]) == ("cpu", "on")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "ViT_Q16"), "`model` must be"),
        (("--weights", "imagenet"), "no weights for the model 'small'"),
        (("--lr", "-1"), "`learning_rate` must be positive"),
        (("--steps", "0"), "`steps` must be a positive integer"),
        (("--image-size", "0"), "`image_size`"),
        (("--strategy", "gpu"), "`strategy` must be one of auto, cpu, mirrored"),
        (("--devices", "2"), "`devices` is for 'cpu', 'mirrored' and 'tpu'"),
        (("--strategy", "mirrored", "--devices", "GPU:0,GPU:1"), "TensorFlow has no GPU"),
        (("--xla", "maybe"), "`xla` must be one of auto, on, off"),
        (("--precision", "half"), "half"),
        (("--accumulate", "3"), "`accumulate` must divide `batch_size`"),
        (("--data", ".", "--resize", "stretch"), "`resize` must be one of"),
        (("--data", "empty", "--weights", "none"), "Expected a folder for each"),
    ],
)
def test_wrong_flags_are_one_clear_line(tool, tmp_path, arguments, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    code, _, err = tool("finetune", "--out", "one", *arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert message in err
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_from_the_shell(tmp_path):
    """Once in a process of its own: the exit code, and no traceback."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "finetune.py", "--data", "cats.zip", "--out", "one"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert "cats.zip" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_library_imports_what_it_needs_late():
    """Training under JAX needs TensorFlow for its pipelines, importing does not."""
    code = (
        "import sys, keras_vit.runs, keras_vit.predict; "
        "print(sorted({'tensorflow', 'tensorflow_datasets'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


# --- evaluate -------------------------------------------------------------------------------


def test_evaluate_prints_and_writes(tool, run_folder, photos, tmp_path):
    code, out, err = tool("evaluate", photos, "--model", run_folder, "--out", tmp_path / "one")
    assert (code, err) == (0, "")
    assert "24 images, 3 classes, 16x16 (crop)" in out  # as the run folder was evaluated
    assert "top-1  100.0 % (95 %: 86.2 to 100.0)" in out
    assert out.endswith(f"wrote {tmp_path / 'one'}\n")
    files = {"confusion.png", "mistakes.csv", "per_class.csv", "report.json"}
    assert {path.name for path in (tmp_path / "one").iterdir()} == files


def test_evaluate_says_what_is_wrong(tool, run_folder, photos, tmp_path, monkeypatch):
    names = tmp_path / "names.txt"
    names.write_text("rouge\nvert\nbleu\n")
    for arguments, message in (
        ((photos, "--class-names", names), "Not found: 'blå', 'green', 'red', 3 of 3"),
        ((photos, "--class-names", tmp_path / "none"), "`class_names` must be a file"),
        ((tmp_path / "nothing",), "There is no folder"),
        ((photos, "--batch-size", 0), "`batch_size` must be a positive integer"),
    ):
        code, out, err = tool("evaluate", *arguments, "--model", run_folder)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert message in err
    # Before any work:
    begun = lambda *_: pytest.fail("the work was begun")  # noqa: E731
    monkeypatch.setattr("keras_vit.evaluate.command.load_classifier", begun)
    code, _, err = tool("evaluate", photos, "--out", tmp_path)
    assert code == 2
    assert "exists already" in err


# --- predict --------------------------------------------------------------------------------


def test_predict_with_a_run(tool, run_folder, photos):
    paths = [photos / name / "3.jpg" for name in COLOURS]
    code, out, _ = tool("predict", *paths, "--model", run_folder, "--top", 2)
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 3 * 3
    for i, (name, path) in enumerate(zip(COLOURS, paths, strict=True)):
        assert lines[3 * i] == str(path)
        assert lines[3 * i + 1].endswith(f" %  {name}")
        first, second = (float(line.split()[0]) for line in lines[3 * i + 1 : 3 * i + 3])
        assert first > second


def test_predictions_are_exported(tool, run_folder, photos, tmp_path):
    names = ["red/0.jpg", "red/1.jpg"]
    target = tmp_path / "out.csv"
    target.write_text("old")
    paths = [photos / name for name in names]
    code, _, _ = tool("predict", *paths, "--model", run_folder, "--top", 2, "--csv", target)
    assert code == 0
    rows = list(csv.DictReader(target.read_text("utf-8").splitlines()))
    assert [row["photo"] for row in rows] == [str(path) for path in paths for _ in range(2)]
    assert [row["rank"] for row in rows] == ["1", "2"] * 2
    assert all(row["class"] in COLOURS for row in rows)
    first, second = (float(row["probability"]) for row in rows[:2])
    assert first >= second > 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    nowhere = tmp_path / "missing" / "out.csv"
    code, _, err = tool("predict", *paths, "--model", run_folder, "--csv", nowhere)
    assert code == 2
    assert "Cannot write" in err


def test_predict_goes_on_after_an_unreadable_photo(tool, run_folder, photos, tmp_path):
    (tmp_path / "broken.jpg").write_text("no photo")
    code, out, err = tool(
        "predict",
        tmp_path / "broken.jpg",
        photos / "red" / "0.jpg",
        tmp_path / "missing.jpg",
        "--model",
        run_folder,
    )
    assert code == 2
    assert "red" in out.splitlines()[1]
    assert [line.split(":")[0] for line in err.splitlines()] == ["error", "error"]
    assert "broken.jpg cannot be read" in err
    assert "missing.jpg cannot be read: " in err
    assert "No such file" in err


def test_predict_with_a_keras_file_alone(tool, run_folder, photos, tmp_path):
    shutil.copy(run_folder / "model.keras", tmp_path / "mine.keras")
    code, out, _ = tool("predict", photos / "red" / "0.jpg", "--model", tmp_path / "mine.keras")
    assert code == 0
    assert out.splitlines()[1].endswith("class 2")
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    code, _, err = tool("predict", photos / "red" / "0.jpg", "--model", tmp_path / "mine.keras")
    assert code == 2
    assert "a line for each class of the model, 3. Received: 2 lines" in err


@pytest.fixture
def build():
    """`build(...)`: a model of three classes that has learnt nothing."""
    return lambda **options: keras_vit.ViT(16, 8, 16, 1, 2, 32, classes=3, **options)


def test_predict_with_logits(tool, build, photos, tmp_path):
    model = build(include_preprocessing=True)
    model.layers[-1].bias.assign([3.0, 1.0, 0.0])
    model.save(tmp_path / "logits.keras")
    code, out, _ = tool("predict", photos / "red" / "0.jpg", "--model", tmp_path / "logits.keras")
    assert code == 0
    shares = [float(line.split()[0]) for line in out.splitlines()[1:]]
    np.testing.assert_allclose(shares, [84.4, 11.4, 4.2], atol=0.051)  # the head's kernel is zero


def test_predict_refuses_a_model_for_scaled_pixels(tool, build, photos, tmp_path):
    build().save(tmp_path / "scaled.keras")
    code, _, err = tool("predict", photos / "red" / "0.jpg", "--model", tmp_path / "scaled.keras")
    assert code == 2
    assert "include_preprocessing=True" in err


def test_predict_with_a_checkpoint(tool, golden, photos):
    checkpoint = golden("vit_token").checkpoint
    code, out, _ = tool("predict", photos / "red" / "0.jpg", "--model", checkpoint, "--top", 3)
    assert code == 0
    model = keras_vit.from_checkpoint(
        checkpoint, classifier_activation="softmax", include_preprocessing=True
    )
    photo = keras.utils.load_img(photos / "red" / "0.jpg", target_size=(32, 32))
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


def test_classifier_knows_how_the_run_resized(run_folder):
    assert predict.load_classifier(run_folder).resize == "crop"


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


def test_top_out_of_range(tool, run_folder, photos):
    code, _, err = tool("predict", photos / "red/0.jpg", "--model", run_folder, "--top", 0)
    assert code == 2
    assert "`top` must be at least 1" in err


# --- plan ---------------------------------------------------------------------------------


def test_plan_compares_devices(tool):
    code, out, _ = tool("plan", "ViT_L16", "--devices", "256xTPUv3-core", "T4", "--epochs", 14)
    assert code == 0
    assert "256 x TPUv3-core" in out and "1 x T4" in out
    assert re.search(r"exaFLOPs +1,567 +1,567", out)
    assert re.search(r"fits +yes +NO", out)
    code, out, _ = tool(
        "plan", "ViT_H14", "--devices", "64xA100-80", "--model-parallel", 4, "--shard-optimizer",
        "--rematerialise", "--precision", "float32", "--optimizer", "momentum", "--steps", 10,
        "--batch", 64, "--dataset", "imagenet", "--image-size", 448, "--utilisation", 0.3,
    )  # fmt: skip
    assert code == 0
    assert "10 steps of 64 images" in out
    assert re.search(r"copies of the model +16", out)


def test_plan_says_what_fits_and_what_the_paper_says(tool, tmp_path):
    code, out, _ = tool("plan", "--memory", 16, "--paper", "--list-devices")
    assert code == 0
    assert re.search(r"ViT_B16 +86.6 .* yes", out)
    assert re.search(r"ViT-H/14 +14 +88.08 +4,262 +4,258.6", out)
    assert "https://cloud.google.com/tpu/docs/v3" in out
    picture = tmp_path / "table6.png"
    assert tool("plan", "--picture", picture)[0] == 0
    code, _, err = tool("plan", "--picture", picture)
    assert code == 2 and "--overwrite" in err


def test_plan_says_what_is_wrong(tool):
    for arguments, message in (
        ((), "MODEL"),
        (("ViT_B17",), "Received: model='ViT_B17'"),
        (("ViT_B16", "--devices", "0xT4"), "devices=0"),
        (("ViT_B16", "--devices", "8xT5"), "Received: device='T5'"),
    ):
        code, _, err = tool("plan", *arguments)
        assert code == 2
        assert message in err


# --- the whole of it ------------------------------------------------------------------------


def run_for_long(tmp_path: Path, *arguments: object, **environment: str) -> dict:
    subprocess.run(
        [sys.executable, ROOT / "tools" / "finetune.py", *map(str, arguments), "--out", "run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=True,
    )
    return json.loads((tmp_path / "run" / "summary.json").read_text("utf-8"))


@pytest.mark.slow
def test_digits_from_scratch(tmp_path):
    assert run_for_long(tmp_path)["validation_accuracy"] >= 0.97


@pytest.mark.slow
def test_flowers_from_released_weights(tmp_path, shared, ti16_path):
    with zipfile.ZipFile(shared / "data" / "flowers12.zip") as archive:
        archive.extractall(tmp_path / "flowers")
    summary = run_for_long(tmp_path, "--data", "flowers", KERAS_VIT_CACHE=str(ti16_path.parent))
    assert summary["data"]["validation_images"] == 240
    assert summary["validation_accuracy"] >= 0.97


def test_the_report_says_of_how_many_training_images_it_speaks(tmp_path):
    from keras_vit.training_command import _report

    summary = {
        "train_accuracy": 0.9634,
        "validation_accuracy": 0.9234,
        "data": {"train_images": 45_000, "validation_images": 5_000},
        "steps": 600,
        "seconds": 9.0,
    }
    lines = _report(summary, tmp_path)
    assert lines[0] == "training accuracy 96.3 % (about 2000 of 45000 images)"
    assert lines[1] == "validation accuracy 92.3 % (5000 images)"
