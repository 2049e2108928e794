"""Runs on strategies, in another precision, with XLA: what is trained, recorded and taken up."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from programs.killed_training import make_data, make_model
from programs.strategy_run import SMALL
from support.colour_photos import write_photos
from support.interruptions import At, Killed, assert_same_weights, kill
from support.paths import ROOT, TESTS
from support.workers import ends_of, workers

from keras_vit import distribution, recipes, runs, training
from keras_vit.data import write_records
from keras_vit.distribution import defaults, hardware
from keras_vit.runs import from_settings, training_run
from keras_vit.runs.settings import DIGITS
from keras_vit.training.run_checkpoints import Checkpoints

TINY = {"model": "small", "image_size": 16, "steps": 4, "batch_size": 4}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Three classes: 12 photos to train on and 9 to validate on, that is a last batch of one."""
    folder = tmp_path_factory.mktemp("data") / "colours"
    write_photos(folder / "train", 4)
    write_photos(folder / "test", 3)
    return folder


@pytest.fixture(autouse=True)
def smaller(monkeypatch):
    monkeypatch.setattr(from_settings, "SMALL_MODEL", SMALL)


def summary_of(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text("utf-8"))


def weights_of(folder: Path) -> list[np.ndarray]:
    return keras.models.load_model(folder / "model.keras").get_weights()


def assert_near(one: dict, other: dict, tolerance: float) -> None:
    assert one["history"].keys() == other["history"].keys()
    for name, values in one["history"].items():
        np.testing.assert_allclose(values, other["history"][name], rtol=0, atol=tolerance)
    for name in ("train_accuracy", "validation_accuracy"):
        assert one[name] == other[name]


# --- several devices ------------------------------------------------------------------------


def check_events(folder: Path, history: dict) -> None:
    """All evaluations are in TensorBoard's files, those before a kill too."""
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert len(list((folder / "train").iterdir())) == 2  # of two starts
    for split, prefix in (("train", ""), ("validation", "val_")):
        events = EventAccumulator(str(folder / split)).Reload()
        for name in ("loss", "accuracy"):
            found = {
                event.step: float(tf.make_ndarray(event.tensor_proto))
                for event in events.Tensors(f"epoch_{name}")
            }
            assert sorted(found) == list(range(len(history["step"])))
            values = [found[step] for step in sorted(found)]
            np.testing.assert_allclose(values, history[prefix + name], atol=1e-5)


def on_two_devices(folder: Path, *jobs: dict) -> None:
    subprocess.run(
        [sys.executable, TESTS / "programs" / "strategy_run.py", json.dumps(jobs)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )


def test_a_run_on_two_devices_is_that_on_one(photos, tmp_path):
    """With accumulation, and after a kill; all images of the last batch are counted."""
    settings = {"data": str(photos), **TINY}
    two = {**settings, "strategy": "cpu", "devices": 2, "accumulate": 2, "save_every": 1}
    two["tensorboard"] = True
    job = {"out": "two", "settings": two}
    on_two_devices(tmp_path, {**job, "kill_after": 3, "copy": "fewer"}, job)
    one = runs.run(runs.settings_for(**settings), tmp_path / "one", verbose=0)
    # A device is lost: the run does not go on with another by itself, but when it is told to.
    rest = {**two, "devices": None, "strategy": "cpu", "tensorboard": False}
    with pytest.raises(ValueError, match="devices: 2 there, 1 here"):
        runs.run(runs.settings_for(**rest), tmp_path / "fewer", verbose=0)
    with pytest.warns(UserWarning, match="goes on with strategy cpu, devices 1; it began with .*2"):
        told = runs.run(runs.settings_for(**rest | {"devices": 1}), tmp_path / "fewer", verbose=0)
    assert_near(told, one, 1e-5)
    two = summary_of(tmp_path / "two")
    # The losses move, or this compares nothing.
    assert np.ptp(one["history"]["val_loss"]) > 1e-3
    assert_near(two, one, 1e-5)
    recorded = {"strategy": "cpu", "devices": 2, "dtype": "float32", "xla": "off"}
    assert two["settings"].items() >= recorded.items()
    assert one["settings"].items() >= {**recorded, "strategy": "one", "devices": 1}.items()
    check_events(tmp_path / "two" / "tensorboard", two["history"])


@pytest.mark.slow
def test_a_killed_run_on_two_devices_is_that_which_was_not(photos, tmp_path):
    settings = {"data": str(photos), **TINY}
    two = {**settings, "strategy": "cpu", "devices": 2, "save_every": 1}
    killed = {"out": "killed", "settings": two}
    on_two_devices(
        tmp_path,
        {"out": "two", "settings": two},
        {**killed, "kill_after": 3},
        killed,
        {"out": "xla", "settings": {**two, "xla": "on"}},
    )
    two, killed, xla = (summary_of(tmp_path / name) for name in ("two", "killed", "xla"))
    assert_near(killed, two, 1e-6)
    for a, b in zip(weights_of(tmp_path / "killed"), weights_of(tmp_path / "two"), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    assert_near(xla, two, 1e-5)
    assert xla["settings"]["xla"] == "on"


def test_resumed_is_as_uninterrupted_to_the_bit(tmp_path):
    """On one device of a strategy, with dropout, averaged weights and accumulation."""
    strategy = distribution.strategy("cpu", 1)

    def start(folder, *callbacks):
        with strategy.scope():
            model = make_model()
        result = training.fine_tune(
            model,
            make_data(),
            recipes.from_scratch_recipe(12).replace(ema=0.99),
            accumulate=2,
            hardware=hardware.under(strategy),
            checkpoints=folder and training.Checkpointing(folder, every=1),
            callbacks=callbacks,
            verbose=0,
        )
        return model, result

    whole, result = start(None)
    with pytest.raises(Killed):
        start(tmp_path / "run", At(5, kill))
    assert Checkpoints(tmp_path / "run").paths()[0].name == "step-00000004.npz"
    again, resumed = start(tmp_path / "run")
    assert resumed.history == result.history
    assert_same_weights(again, whole)


def test_an_evaluation_counts_every_image_once():
    strategy = distribution.strategy("cpu", 1)
    with strategy.scope():
        model = make_model()
        args = recipes.from_scratch_recipe(1).compile_args()
        model.compile(weighted_metrics=args.pop("metrics"), **args)
    data = make_data().train_as_validation  # 40 images in batches of 8
    expected = model.evaluate(data, return_dict=True, verbose=0)
    seen = []
    uneven = data.unbatch().batch(7)
    values = distribution.Evaluation(model, strategy)(uneven, 7, seen.append)
    assert seen == list(range(6))
    assert values == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_two_processes_of_the_tool(photos, tmp_path, monkeypatch):
    """Asked to end (one of them is), both end; the same commands go on; the first one writes."""
    settings = {**TINY, "steps": 10}
    processes = workers(photos, tmp_path / "run", settings)
    processes[1].send_signal(signal.SIGTERM)
    codes, outputs = ends_of(processes)
    assert codes == [75, 75], outputs
    assert not (tmp_path / "run").exists()
    codes, outputs = ends_of(workers(photos, tmp_path / "run", settings))
    assert codes == [0, 0], outputs
    assert "goes on from step" in outputs[0][0]
    assert outputs[1][0] == ""
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    summary = summary_of(tmp_path / "run")
    assert summary["settings"]["strategy"] == "multiworker"
    assert summary["settings"]["devices"] == 2
    monkeypatch.undo()  # the tool has the model as it is
    one = runs.run(runs.settings_for(str(photos), **settings), tmp_path / "one", verbose=0)
    assert_near(summary, one, 1e-5)


# --- what is left open, and what is recorded ------------------------------------------------


def test_defaults():
    here = hardware.choose()
    assert (here.strategy, here.name, here.devices) == (None, "one", 1)
    assert here.dtype == distribution.default_precision()
    assert here.facts["xla"] == "off"
    assert hardware.choose(dtype="float32", xla="on").facts == {
        "strategy": "one",
        "devices": 1,
        "dtype": "float32",
        "xla": "on",
    }
    assert DIGITS.dtype == "float32"
    assert runs.settings_for("photos").dtype == "auto"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strategy": "gpu"}, "`strategy` must be one of auto, cpu, .*strategy='gpu'"),
        ({"xla": "yes"}, "`xla` must be one of auto, on, off. Received: xla='yes'"),
        ({"devices": 2}, "`devices` is for 'cpu', 'mirrored' and 'tpu'.*devices=2"),
        ({"strategy": "mirrored"}, "'cpu' to try it out.*no GPU"),
    ],
)
def test_what_cannot_be(given, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        runs.run(runs.settings_for(**given), tmp_path / "one")
    assert list(tmp_path.iterdir()) == []


def test_images_must_go_into_the_devices(monkeypatch, tmp_path):
    three = hardware.Hardware(None, "cpu", 3, "float32", False)
    monkeypatch.setattr(hardware, "choose", lambda *_: three)
    with pytest.raises(ValueError, match="batch_size=64, 3 devices, accumulate=4"):
        runs.run(runs.settings_for(accumulate=4), tmp_path / "one")


def test_precision_is_recorded_and_compared(photos, tmp_path, monkeypatch):
    """A model in bfloat16 is trained, saved, read again and predicts as it did."""
    monkeypatch.setattr(defaults, "_processor", lambda: "AuthenticAMD avx512_bf16")
    settings = runs.settings_for(str(photos), **TINY, dtype="auto")
    summary = runs.run(settings, tmp_path / "one", verbose=0)
    assert summary["settings"]["dtype"] == "mixed_bfloat16"
    monkeypatch.setattr(
        training_run, "data_for", lambda *_, **__: pytest.fail("the work was begun")
    )
    given = dataclasses.replace(settings, dtype="mixed_bfloat16", xla="off")
    assert runs.run(given, tmp_path / "one", verbose=0) == summary
    with pytest.raises(ValueError, match="exists already"):
        runs.run(dataclasses.replace(settings, dtype="float32"), tmp_path / "one")
    monkeypatch.undo()
    model = keras.models.load_model(tmp_path / "one" / "model.keras")
    assert model.get_layer("block_0").dtype_policy.name == "mixed_bfloat16"
    values = from_settings.data_for(settings).validation
    compiled = recipes.from_scratch_recipe(1).compile_args()
    model.compile(loss=compiled["loss"], metrics=compiled["metrics"])
    scores = model.evaluate(values, return_dict=True, verbose=0)
    assert scores["loss"] == pytest.approx(summary["history"]["val_loss"][-1], abs=1e-6)
    assert scores["accuracy"] == pytest.approx(summary["validation_accuracy"], abs=1e-4)


# --- from scratch ---------------------------------------------------------------------------


def test_settings_from_scratch():
    settings = runs.settings_for("photos", pretrain=True)
    assert (settings.weights, settings.recipe) == (None, "vit-pretrain")
    assert runs.settings_for(pretrain=True) == DIGITS


def test_records_are_read_and_the_head_starts_at_its_bias(photos, tmp_path, monkeypatch):
    write_records(photos, tmp_path / "records", progress=False)
    settings = runs.settings_for(
        str(tmp_path / "records"), pretrain=True, model="ViT_Ti16", image_size=32, batch_size=4,
        steps=2, dtype="float32",
    )  # fmt: skip
    data = from_settings.data_for(settings)
    assert (data.name, data.num_train, data.num_validation) == ("records", 12, 9)
    assert from_settings.recipe_for(settings, data).head_bias == pytest.approx(-math.log(3))

    def look(model, data, recipe, **_):
        bias = model.get_layer("head").bias
        np.testing.assert_allclose(bias, np.full(3, -math.log(3)), rtol=1e-6)
        raise Killed

    monkeypatch.setattr(training, "fine_tune", look)
    with pytest.raises(Killed):
        runs.run(settings, tmp_path / "one", verbose=0)


@pytest.mark.parametrize(
    ("count", "dataset"), [(1_000, "imagenet"), (2_000_000, "imagenet"), (9_000_000, "imagenet21k")]
)
def test_the_row_of_the_nearest_data_set(count, dataset):
    data = dataclasses.replace(make_data(), num_train=count)
    recipe = from_settings.recipe_for(runs.settings_for("photos", pretrain=True), data)
    assert recipe.name == f"vit-pretrain ({dataset})"
    assert recipe.num_examples == count
