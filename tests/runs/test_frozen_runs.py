"""`--freeze`: a run that is killed and taken up leaves the frozen part as it was."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
from support.colour_photos import write_photos
from support.interruptions import Killed

from keras_vit import runs
from keras_vit.cli.main import main
from keras_vit.runs import training_run
from keras_vit.runs.settings import SMALL_MODEL


def test_what_is_frozen_is_the_same_after_a_run(tmp_path, monkeypatch, capsys):
    photos, out = write_photos(tmp_path / "photos", 4), tmp_path / "run"
    command = [
        "--data", str(photos), "--model", "small", "--image-size", "16", "--steps", "3",
        "--batch-size", "4", "--save-every", "1", "--out", str(out),
    ]  # fmt: skip
    settings = runs.settings_for(
        str(photos), model="small", image_size=16, steps=3, batch_size=4, save_every=1, freeze=1
    )
    start, calls = [], 0
    build, step = training_run.model_for, keras.Model.train_on_batch

    def built(*args):
        model = build(*args)
        start.append(model.get_weights())
        return model

    def killed(*args, **options):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Killed
        return step(*args, **options)

    for name, value in {"depth": 2, "width": 16, "mlp_dim": 16}.items():
        monkeypatch.setitem(SMALL_MODEL, name, value)
    monkeypatch.setattr(training_run, "model_for", built)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(keras.Model, "train_on_batch", killed)
        runs.run(settings, out, verbose=0)
    with pytest.raises(ValueError, match=r"unfinished run .*freeze: 1 there, 'all' here"):
        runs.run(dataclasses.replace(settings, freeze="all"), out, verbose=0)
    assert main(["finetune", *command, "--freeze", "1"]) == 0
    model = keras.models.load_model(out / "model.keras")
    frozen = {layer.name for layer in model.layers if layer.weights and not layer.trainable}
    assert frozen == {"patch_embed", "class_token", "position_embedding", "block_0"}
    for before, variable in zip(start[0], model.weights, strict=True):
        moved = (before != np.asarray(variable)).any()
        assert moved == variable.trainable, variable.path

    assert main(["finetune", *command, "--freeze", "all"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["finetune", *command, "--freeze", "all", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "of which 51 are trained" in said  # 3 classes: (16 + 1) * 3
    assert main(["finetune", *command, "--freeze", "5", "--dry-run"]) == 2
    assert "from 0 to 2" in capsys.readouterr().err
