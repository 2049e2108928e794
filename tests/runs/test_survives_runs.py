"""A run survives kills and signals: the same command goes on, and ends as if uninterrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest
from support.colour_photos import write_photos
from support.interruptions import NOT_TRAINED, Killed, assert_same_weights, kill, steps_in
from support.paths import ROOT
from support.tiny_model import tiny_model

from keras_vit import runs
from keras_vit.runs import training_run
from keras_vit.training.engine import ONE_DEVICE, compiled
from keras_vit.training.run_checkpoints import Checkpoints, DivergedError
from keras_vit.utils.locks import one_process


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "colours", 8)


def settings(colours, **given):
    given = {"image_size": 16, "steps": 12, "batch_size": 4, "save_every": 1, **given}
    return runs.settings_for(str(colours), model="small", **given)


def test_a_run_goes_on(colours, tmp_path, monkeypatch):
    monkeypatch.setattr(training_run, "model_for", tiny_model)
    out = tmp_path / "one"
    calls = 0
    step = keras.Model.train_on_batch

    def killed(*args, **options):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Killed
        return step(*args, **options)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(keras.Model, "train_on_batch", killed)
        runs.run(settings(colours), out, verbose=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["colours", "one.training"]
    assert steps_in(tmp_path / "one.training") == [3, 2]
    with pytest.raises(ValueError, match=r"unfinished run .*batch_size: 4 there, 8 here"):
        runs.run(settings(colours, batch_size=8), out, verbose=0)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(training_run, "write", lambda *_: kill())  # the training is over
        runs.run(settings(colours), out, verbose=0)
    assert not out.exists()
    summary = runs.run(settings(colours, save_every=7), out, verbose=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["colours", "one"]
    assert [row.split(",")[0] for row in (out / "log.csv").read_text().splitlines()] == [
        "step",
        *(str(float(step)) for step in range(2, 21, 2)),
    ]
    # It is complete: the same command has nothing to do, another is refused.
    with monkeypatch.context() as patch:
        patch.setattr(training_run, "data_for", lambda *_, **__: pytest.fail("the work was begun"))
        assert runs.run(settings(colours), out, verbose=0) == summary
        with pytest.raises(ValueError, match="one exists already"):
            runs.run(settings(colours, seed=1), out, verbose=0)
    whole = runs.run(settings(colours), tmp_path / "two", verbose=0)
    assert whole["history"] == summary["history"]
    assert_same_weights(
        keras.models.load_model(out / "model.keras"),
        keras.models.load_model(tmp_path / "two" / "model.keras"),
    )


def test_overwrite_starts_anew(colours, tmp_path, monkeypatch):
    monkeypatch.setattr(training_run, "model_for", tiny_model)
    out = tmp_path / "one"
    out.mkdir()
    (out / "mine").write_text("")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(training_run, "write", lambda *_: kill())
        runs.run(settings(colours), out, overwrite=True, verbose=0)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(training_run, "data_for", lambda *_, **__: kill())
        runs.run(settings(colours, seed=1), out, overwrite=True, verbose=0)
    names = {"colours", "one", "one.training.old"}
    assert {path.name for path in tmp_path.iterdir()} == names
    # Without it, a run goes on that was begun with it, and still takes the place of the other.
    (tmp_path / "one.training.old").rename(tmp_path / "one.training")
    runs.run(settings(colours), out, verbose=0)
    assert {path.name for path in tmp_path.iterdir()} == {"colours", "one", "one.old"}
    assert (tmp_path / "one.old" / "mine").exists()


def test_a_second_run_is_refused_at_once(colours, tmp_path, monkeypatch):
    monkeypatch.setattr(
        training_run, "data_for", lambda *_, **__: pytest.fail("the work was begun")
    )
    for overwrite in (False, True):
        with (
            one_process(tmp_path / "one"),
            pytest.raises(ValueError, match=rf"writing '.*one': process {os.getpid()} on"),
        ):
            runs.run(settings(colours), tmp_path / "one", overwrite=overwrite, verbose=0)


def test_the_summary_says_that_a_run_diverged(colours, tmp_path, monkeypatch):
    def diverges(model, data, recipe, *, checkpoints, **_):
        made = compiled(model, recipe, ONE_DEVICE, 1)
        facts = {"run": checkpoints.facts, "note": checkpoints.note, "rows": [], "sums": {}}
        kept = Checkpoints(checkpoints.folder)
        kept.save(3, made.model, facts | {"seconds": 1.0})
        kept.note_divergence(3, recipe.learning_rate)
        raise DivergedError("lower")

    monkeypatch.setattr(training_run, "model_for", tiny_model)

    def start(fine_tune, rate):
        monkeypatch.setattr(training_run.training, "fine_tune", fine_tune)
        return runs.run(settings(colours, learning_rate=rate), tmp_path / "one", verbose=0)

    with pytest.raises(DivergedError):
        start(diverges, 0.9)
    summary = start(lambda *_, **__: NOT_TRAINED, 0.001)
    assert summary["settings"]["learning_rate"] == 0.001
    assert summary["settings"]["divergences"] == [{"step": 3, "learning_rate": 0.9}]
    assert start(diverges, 0.001) == summary  # it is complete
    assert sorted(path.name for path in tmp_path.iterdir()) == ["colours", "one"]


@pytest.mark.slow
def test_from_the_shell(colours, tmp_path):
    """Real processes: one SIGKILL, one SIGTERM (exit code 75), then to the end (0)."""
    command = [
        sys.executable, ROOT / "tools" / "finetune.py", "--data", colours, "--model", "small",
        "--image-size", "16", "--steps", "150", "--batch-size", "4", "--save-every", "1",
        "--out", tmp_path / "one",
    ]  # fmt: skip
    checkpoints = Checkpoints(tmp_path / "one.training")
    for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 75), (None, 0)):
        before = checkpoints.paths()
        process = subprocess.Popen(
            list(map(str, command)),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if number is not None:
            for _ in range(4000):
                if checkpoints.paths() != before or process.poll() is not None:
                    break
                time.sleep(0.03)
            process.send_signal(number)
        out, err = process.communicate(timeout=200)
        assert process.returncode == code, err
        assert ("goes on from step" in out) == bool(before)
    whole = runs.run(settings(colours, steps=150), tmp_path / "two", verbose=0)
    summary = json.loads((tmp_path / "one" / "summary.json").read_text("utf-8"))
    assert summary["history"] == whole["history"]
    assert_same_weights(
        keras.models.load_model(tmp_path / "one" / "model.keras"),
        keras.models.load_model(tmp_path / "two" / "model.keras"),
    )
