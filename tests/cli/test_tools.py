"""The command-line tools, as a user runs them: what they print, write and return."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from programs.strategy_run import SMALL
from support.paths import ROOT

from keras_vit.runs import from_settings, training_run

SHORT = ("--model", "small", "--image-size", 16, "--steps", 40, "--batch-size", 8)


# --- finetune -------------------------------------------------------------------------------


def test_finetune_trains_and_says_where_to_look(tool, colour_photos, tmp_path, monkeypatch):
    monkeypatch.setattr(from_settings, "SMALL_MODEL", {**SMALL, "width": 64})
    monkeypatch.chdir(tmp_path)
    code, out, _ = tool("finetune", "--data", colour_photos, *SHORT, "--lr", 0.004, "--warmup", 2)
    assert code == 0
    assert "training accuracy 100.0 % (18 images)" in out
    assert "validation accuracy 100.0 % (6 images)" in out
    assert "40 steps in" in out
    assert f"Try it: python {ROOT / 'tools/predict.py'} PHOTO --model runs/colours\n" in out
    assert "  README.txt  curves.png  labels.txt  log.csv  model.keras  predictions.png  " in out
    settings = json.loads((tmp_path / "runs/colours/summary.json").read_text("utf-8"))["settings"]
    assert settings["learning_rate"] == 0.004
    assert (settings["warmup_steps"], settings["batch_size"]) == (2, 8)


def test_existing_run_is_refused_before_any_work(tool, colour_run, monkeypatch):
    monkeypatch.setattr(
        training_run, "data_for", lambda *_, **__: pytest.fail("the work was begun")
    )
    code, out, err = tool("finetune", "--data", "digits", "--out", colour_run)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert "exists already" in err
    assert "--overwrite" in err


def test_overwrite_keeps_the_old_run(tool, colour_run, tmp_path, monkeypatch):
    shutil.copytree(colour_run, tmp_path / "one")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training_run, "data_for", interrupt)
        code, _, err = tool("finetune", "--out", tmp_path / "one", "--overwrite")
    assert (code, err) == (130, "interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    assert (tmp_path / "one" / "model.keras").is_file()


@pytest.mark.filterwarnings("default:1 images in")  # else it would end the tool
def test_unreadable_photo_is_named_or_skipped(tool, colour_photos, tmp_path, monkeypatch):
    monkeypatch.setattr(from_settings, "SMALL_MODEL", SMALL)
    shutil.copytree(colour_photos, tmp_path / "photos")
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


def test_train_is_from_random_weights(tool, colour_photos, tmp_path, monkeypatch):
    monkeypatch.setattr(from_settings, "SMALL_MODEL", SMALL)
    arguments = ("--data", colour_photos, *SHORT, "--recipe", "augreg", "--steps", 4)
    strategy = ("--strategy", "cpu", "--devices", 1, "--precision", "float32", "--xla", "off")
    code, out, _ = tool("train", *arguments, *strategy, "--out", tmp_path / "one")
    assert code == 0
    assert "4 steps in" in out
    settings = json.loads((tmp_path / "one" / "summary.json").read_text("utf-8"))["settings"]
    expected = {"weights": None, "recipe": "augreg", "strategy": "cpu", "devices": 1}
    assert settings.items() >= expected.items()


def test_dry_run_says_what_will_be(tool, colour_photos, tmp_path, monkeypatch):
    """The learning rate and the warmup that hold, and what the training will run on."""
    monkeypatch.chdir(tmp_path)

    def values(*arguments):
        code, out, _ = tool(*arguments, "--dry-run")
        assert code == 0
        recipe, run = out.split("\nrecipe\n")[1].split("\nrun\n")
        return [
            dict(line.split(maxsplit=1) for line in part.splitlines()) for part in (recipe, run)
        ]

    monkeypatch.setattr(
        "keras_vit.distribution.defaults._processor", lambda: "AuthenticAMD avx512_bf16"
    )
    recipe, run = values("finetune", "--lr", 0.01, "--precision", "mixed_bfloat16")
    assert (recipe["learning_rate"], recipe["warmup_steps"]) == ("0.01", "90")
    on = {"strategy": "one", "devices": "1", "dtype": "mixed_bfloat16", "xla": "off"}
    assert run.items() >= on.items()
    tiny = ("--data", colour_photos, "--model", "ViT_Ti16", "--image-size", 32)
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
        (("--lr", "-1"), "`learning_rate` must be a positive number"),
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


def test_evaluate_prints_and_writes(tool, colour_run, colour_photos, tmp_path):
    code, out, err = tool(
        "evaluate", colour_photos, "--model", colour_run, "--out", tmp_path / "one"
    )
    assert (code, err) == (0, "")
    assert "24 images, 3 classes, 16x16 (crop, bicubic)" in out  # as the run folder was evaluated
    assert "top-1  100.0 % (95 %: 86.2 to 100.0)" in out
    assert out.endswith(f"wrote {tmp_path / 'one'}\n")
    files = {"confusion.png", "mistakes.csv", "per_class.csv", "report.json"}
    assert {path.name for path in (tmp_path / "one").iterdir()} == files


def test_evaluate_says_what_is_wrong(tool, colour_run, colour_photos, tmp_path, monkeypatch):
    names = tmp_path / "names.txt"
    names.write_text("rouge\nvert\nbleu\n")
    for arguments, message in (
        ((colour_photos, "--class-names", names), "Not found: 'blå', 'green', 'red', 3 of 3"),
        ((colour_photos, "--class-names", tmp_path / "none"), "`class_names` must be a file"),
        ((tmp_path / "nothing",), "There is no folder"),
        ((colour_photos, "--batch-size", 0), "`batch_size` must be a positive integer"),
    ):
        code, out, err = tool("evaluate", *arguments, "--model", colour_run)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert message in err
    # Before any work:
    begun = lambda *_: pytest.fail("the work was begun")  # noqa: E731
    monkeypatch.setattr("keras_vit.predict.load_classifier", begun)
    code, _, err = tool("evaluate", colour_photos, "--out", tmp_path)
    assert code == 2
    assert "exists already" in err


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
    from keras_vit.cli.training import report_lines

    summary = {
        "train_accuracy": 0.9634,
        "validation_accuracy": 0.9234,
        "data": {"train_images": 45_000, "validation_images": 5_000},
        "steps": 600,
        "seconds": 9.0,
    }
    lines = report_lines(summary, tmp_path)
    assert lines[0] == "training accuracy 96.3 % (about 2,000 of 45,000 images)"
    assert lines[1] == "validation accuracy 92.3 % (5,000 images)"
