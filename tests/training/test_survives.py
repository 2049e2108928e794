"""A training survives: kills, a full disk, NaN, files that vanish or are damaged, SIGTERM.

"The same weights" is to the bit, on one device, the CPU.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from programs.killed_training import make_data, make_model
from support.colour_photos import write_photos
from support.combinations import slow
from support.interruptions import At, Killed, assert_same_weights, kill, steps_in, train
from support.paths import ROOT, TESTS

import keras_vit
from keras_vit import recipes
from keras_vit.cli.run_command import run_command
from keras_vit.data import from_folder, from_records, write_records
from keras_vit.recipes import fine_tune_recipe
from keras_vit.training import run_checkpoints
from keras_vit.training.run_checkpoints import Checkpoints, DivergedError
from keras_vit.utils.preemption import EXIT_PREEMPTED, PreemptedError


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "colours", 8)


@pytest.fixture(scope="module")
def calm():
    """What `train` gives if nothing happens: the model and the result."""
    return train(None)


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """The checkpoints of steps 4 and 3 of `train`."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    with pytest.raises(Killed):
        train(folder, At(5, kill))
    return folder


# --- kill -9 --------------------------------------------------------------------------------


@pytest.mark.parametrize("kills", [2, slow(20)])
def test_killed_at_random_moments(tmp_path, kills):
    """A training of a small dense network with dropout, Adam and averaged weights, which saves
    after every step, is killed from outside with SIGKILL and started again each time; see
    `killed_training.py`. `test_from_the_shell` below does the same with whole commands.
    """
    seed = random.SystemRandom().randrange(2**32)
    print(f"{seed=}")  # pytest shows it after a failure
    done = subprocess.run(
        [
            sys.executable,
            TESTS / "programs" / "killed_training.py",
            tmp_path,
            str(kills),
            str(seed),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    print(done.stdout, done.stderr, sep="\n")
    calm, *killed, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert [start["end"] for start in killed] == ["signal 9"] * kills
    assert [start["end"] for start in (calm, last)] == ["exit 0"] * 2
    reached = [start["steps"][-1] for start in (*killed, last) if start["steps"]]
    assert reached == sorted(reached)  # nothing that was reached is lost
    if kills == 20:
        assert len(set(reached)) > 5
        assert any(start["torn"] for start in killed)  # some were killed while writing
    assert calm["steps"] == last["steps"] and not last["torn"]
    with np.load(tmp_path / "calm.npz") as one, np.load(tmp_path / "killed.npz") as other:
        assert one.files == other.files
        for name in one.files:
            assert np.array_equal(one[name], other[name])


@pytest.mark.parametrize(
    "options",
    [{}, {"accumulate": 2}, {"dtype": "mixed_bfloat16", "recipe": fine_tune_recipe()}],
    ids=["plain", "accumulated", "bfloat16"],
)
def test_resumed_is_as_uninterrupted(tmp_path, calm, options):
    options = dict(options)
    dtype = options.pop("dtype", "float32")

    def start(folder, *callbacks):
        return train(folder, *callbacks, model=make_model(dtype=dtype), **options)

    whole, result = start(None) if options else calm
    with pytest.raises(Killed):
        start(tmp_path / "run", At(5, kill))  # in the middle of an epoch, after 4 checkpoints
    assert steps_in(tmp_path / "run") == [4, 3]
    resumed, again = start(tmp_path / "run")
    assert_same_weights(whole, resumed)
    assert again.history == result.history
    assert again.train_accuracy == result.train_accuracy


@pytest.mark.slow
def test_a_vision_transformer_resumes(colours, tmp_path):
    """With all that is random or kept: dropout, stochastic depth, RandAugment, MixUp, averages."""
    recipe = recipes.get("augreg", "imagenet", ema=0.9)
    data = from_folder(colours, 16, 4, validation_share=0.25, augmentation="light2")

    def start(folder, *callbacks):
        keras.utils.set_random_seed(0)
        model = keras_vit.ViT(
            16, 8, 8, 2, 2, 16, classes=3, classifier_activation="softmax",
            include_preprocessing=True, dropout_rate=0.1, stochastic_depth_rate=0.2,
        )  # fmt: skip
        return train(folder, *callbacks, model=model, data=data, recipe=recipe)

    whole, result = start(None)
    with pytest.raises(Killed):
        start(tmp_path / "run", At(5, kill))
    resumed, again = start(tmp_path / "run")
    assert_same_weights(whole, resumed)
    assert again.history == result.history
    # Nothing is left to do: the weights are the same once more.
    assert_same_weights(whole, start(tmp_path / "run")[0])


def test_killed_in_an_evaluation(tmp_path, calm):
    class InEvaluation(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise Killed  # the row has not been saved

    for _ in range(2):
        with pytest.raises(Killed):
            train(tmp_path / "run", InEvaluation(), save_every=None)
    assert steps_in(tmp_path / "run") == [2]
    _, again = train(tmp_path / "run", save_every=None)
    assert again.history == calm[1].history


@pytest.mark.filterwarnings("ignore:The checkpoint .* is damaged")
@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_damaged_checkpoint_is_passed_over(tmp_path, killed, calm, damage):
    shutil.copytree(killed, tmp_path / "run")
    newest = Checkpoints(tmp_path / "run").paths()[0]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    if damage != "changed":
        content = content[: len(content) // 2] if damage == "cut" else b""
    newest.write_bytes(content)
    resumed, _ = train(tmp_path / "run")
    assert_same_weights(calm[0], resumed)


def test_damage_is_said(tmp_path, killed):
    shutil.copytree(killed, tmp_path / "run")
    for path in Checkpoints(tmp_path / "run").paths():
        path.write_bytes(path.read_bytes()[:-100])
    with (
        pytest.warns(UserWarning, match=r"step-0000000[34]\.npz is damaged"),
        pytest.raises(ValueError, match=r"None of the 2 checkpoints .*--overwrite"),
    ):
        train(tmp_path / "run")


def test_other_runs_are_refused(tmp_path, killed):
    shutil.copytree(killed, tmp_path / "run")
    with pytest.raises(ValueError, match=r"steps: 12 there, 13 here.*--overwrite"):
        train(tmp_path / "run", steps=13)
    with pytest.raises(ValueError, match="of another model"):
        train(tmp_path / "run", model=make_model(dropout_rate=0))
    with pytest.raises(ValueError, match="train_images: 40 there, 39 here"):
        train(tmp_path / "run", data=dataclasses.replace(make_data(), num_train=39))


# --- the disk, the numbers, the data --------------------------------------------------------


def test_disk_full(tmp_path, monkeypatch, calm):

    def full(archive, name, array):
        if archive.fp.tell() > 2000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return add(archive, name, array)

    add = run_checkpoints._add
    with (
        monkeypatch.context() as patch,
        pytest.raises(OSError, match=r"step 4 .*No space left .*That of step 3 is kept") as error,
    ):
        fill = At(4, lambda: patch.setattr(run_checkpoints, "_add", full))
        train(tmp_path / "run", fill)
    assert error.value.errno == errno.ENOSPC
    assert steps_in(tmp_path / "run") == [3, 2]
    names = {path.suffix for path in (tmp_path / "run").iterdir()}
    assert names == {".npz", ".csv"}  # what was written in part is gone
    assert_same_weights(calm[0], train(tmp_path / "run")[0])


def test_nan_is_said_and_not_saved(tmp_path):
    model = make_model()
    poison = At(5, lambda: model.get_layer("head").bias.assign([np.nan, 0.0, 0.0]))
    with pytest.raises(DivergedError, match=r"bias became NaN or infinite at step 5.*lower"):
        train(tmp_path / "run", poison, model=model)
    assert steps_in(tmp_path / "run") == [4, 3]
    model = make_model()
    poison = At(3, lambda: model.get_layer("head").bias.assign([np.nan, 0.0, 0.0]))
    message = r"loss became nan at step 4: .*step 2 is in .*Received: learning_rate=0\.00"
    with pytest.raises(DivergedError, match=message):
        train(tmp_path / "seldom", poison, model=model, save_every=2, steps=20)
    assert steps_in(tmp_path / "seldom") == [2]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


DAMAGE = {
    "the file has vanished": Path.unlink,
    "image file is truncated": cut,
    "cannot identify image file": lambda path: path.write_bytes(b"garbage"),
}


def test_photos_that_cannot_be_read_any_more(colours, tmp_path):
    contents = {path: path.read_bytes() for path in (colours / "green").iterdir()}

    def start(folder, *callbacks):
        data = from_folder(colours, 6, 4, validation_share=0.25)
        return train(folder, *callbacks, data=data, save_every=None)

    for number, (reason, damage) in enumerate(DAMAGE.items()):
        hurt = At(3, lambda damage=damage: [damage(path) for path in contents])
        sentence = (
            rf"A data file cannot be read any more, after step \d+: .*green.\d\.png \({reason}\)\. "
            r"Put it back .* same command again\. The checkpoint of step \d+ is in"
        )
        with pytest.raises(OSError, match=sentence):
            start(tmp_path / str(number), hurt)
        assert steps_in(tmp_path / str(number))[0] >= 3  # what was reached is saved
        for path, content in contents.items():
            path.write_bytes(content)
    assert_same_weights(start(None)[0], start(tmp_path / "1")[0])


def test_photos_to_evaluate_on_that_cannot_be_read_any_more(colours, tmp_path):
    shutil.copytree(colours, tmp_path / "both" / "train")
    colours.rename(tmp_path / "both" / "test")
    hurt_at_the_end = keras.callbacks.LambdaCallback(
        on_train_end=lambda logs: cut(tmp_path / "both" / "train" / "red" / "1.png")
    )
    for part, callback, when in (
        ("test", At(3, lambda: cut(tmp_path / "both" / "test" / "red" / "1.png")), "after step 4"),
        ("train", hurt_at_the_end, "after the last step"),
    ):
        data = from_folder(tmp_path / "both", 6, 4)
        with pytest.raises(OSError, match=rf"{when}: .*{part}.red.1\.png .* checkpoint .*run"):
            train(tmp_path / "run", callback, data=data, save_every=None)
        shutil.copy(
            tmp_path / "both" / ({"test", "train"} - {part}).pop() / "red" / "1.png",
            tmp_path / "both" / part / "red",
        )
    assert steps_in(tmp_path / "run")[0] == 20


def test_records_that_cannot_be_read_any_more(colours, tmp_path):
    records = write_records(colours, tmp_path / "records", shards=1)
    (path,) = records.glob("train-*")
    content = path.read_bytes()

    def start(folder, *callbacks):
        data = from_records(records, 6, 4)
        return train(folder, *callbacks, data=data, save_every=None)

    # Truncated to nothing, which for TensorFlow alone would not be an error.
    with pytest.raises(OSError, match=r"train-0.*it ends after 0 of its 18 records"):
        start(tmp_path / "run", At(3, lambda: path.write_bytes(b"")))
    path.write_bytes(content)
    assert_same_weights(start(None)[0], start(tmp_path / "run")[0])


# --- SIGTERM --------------------------------------------------------------------------------


def test_sigterm_saves(tmp_path, calm):
    before = signal.getsignal(signal.SIGTERM)
    terminate = At(5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(PreemptedError, match=r"SIGTERM.*step 5 is in.*same command goes on"):
        train(tmp_path / "run", terminate, save_every=None)
    assert steps_in(tmp_path / "run") == [5, 4]
    assert signal.getsignal(signal.SIGTERM) is before
    assert_same_weights(calm[0], train(tmp_path / "run", save_every=None)[0])


def test_exit_code_of_sigterm(capsys):
    def main():
        raise PreemptedError("saved")

    assert run_command(main) == EXIT_PREEMPTED == 75
    assert capsys.readouterr().err == "saved\n"
