"""A run that is taken up: hostile checkpoints, data that changed, a lower rate after NaN."""

from __future__ import annotations

import dataclasses
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from programs.killed_training import make_data, make_model
from support.colour_photos import write_photos
from support.damaged_runs import ANY
from support.interruptions import At, Killed, kill, steps_in

from keras_vit.data import from_folder
from keras_vit.recipes import from_scratch_recipe
from keras_vit.runs import resume
from keras_vit.training import Checkpointing, DivergedError, fine_tune
from keras_vit.training.run_checkpoints import Checkpoints

SETTINGS = {"seed": 0, "learning_rate": None}
FACTS = {"settings": SETTINGS}
NOTE = {"run": "this one", "replaces": False}


def train(folder, *callbacks, data=None, rate=0.01, steps=12, model=None, **options):
    return fine_tune(
        model or make_model(),
        data or make_data(),
        from_scratch_recipe(steps, rate),
        checkpoints=Checkpointing(folder, 1, FACTS, NOTE, **options),
        callbacks=callbacks,
        verbose=0,
    )


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """The checkpoints of steps 4 and 3."""
    folder = tmp_path_factory.mktemp("killed") / "one.training"
    with pytest.raises(Killed):
        train(folder, At(5, kill))
    return folder


@pytest.fixture
def folder(killed, tmp_path) -> Path:
    return Path(shutil.copytree(killed, tmp_path / "one.training"))


# --- damaged checkpoints ----------------------------------------------------------------------


def with_facts(change):
    """The same checkpoint with other facts, and right checksums."""

    def rewrite(path: Path) -> None:
        with np.load(path) as file:
            arrays = dict(file)
        facts = json.loads(arrays["facts"].tobytes())
        text = change(facts)
        text = json.dumps(facts) if text is None else text
        arrays["facts"] = np.frombuffer(text.encode(), "uint8")
        np.savez(path.with_name("new.npz"), **arrays)
        path.with_name("new.npz").replace(path)

    return rewrite


def other(**changes):
    return with_facts(lambda facts: facts.update(changes))


def without(name: str):
    return with_facts(lambda facts: facts.pop(name) and None)


def text(written: str):
    return with_facts(lambda facts: written)


def huge_facts(path: Path) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("facts.npy", "w") as member,
    ):
        np.lib.format.write_array(member, np.zeros(2**25, "uint8"))


ROW = {"step": 1.0, "loss": 1.0, "accuracy": 1.0, "val_loss": 1.0, "val_accuracy": 1.0}
DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("step 4"),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    **{kind: ANY[kind] for kind in ("a folder", "a fifo", "a link to itself")},
    "huge facts": huge_facts,
    "without facts": lambda path: np.savez(path, a=np.zeros(3)),
    "facts that are a list": text("[]"),
    "facts that are NaN": text("NaN"),
    "facts that are binary": text("\x00"),
    "nested facts": text("[" * 100_000 + "]" * 100_000),
    "another format": other(format=2),
    "a format of text": other(format="1"),
    "another step": other(step=7),
    "a step without end": other(step=10**400),
    "a step of text": other(step="4"),
    "without a step": without("step"),
    "without a run": without("run"),
    "a run that is a list": other(run=[]),
    "a note that is text": other(note="mine"),
    "without rows": without("rows"),
    "rows that are a number": other(rows=1),
    "rows of text": other(rows=["a", "b"]),
    "rows of nothing": other(rows=[ROW, {}]),
    "rows with text": other(rows=[ROW | {"loss": "low"}]),
    "sums of text": other(sums={"loss": "low"}),
    "seconds that are NaN": other(seconds=float("nan")),
    "names that are objects": other(bfloat16=[{}]),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.filterwarnings("ignore:The checkpoint .* is damaged:UserWarning")
def test_damaged_checkpoints(folder, damage):
    for path in Checkpoints(folder).paths():
        damage(path)
    assert steps_in(folder) == [4, 3]
    model = make_model()
    model.compile("sgd", "mse")
    for read in (
        lambda: resume.look(folder.with_name("one"), SETTINGS, False),
        lambda: Checkpoints(folder).restore(model),
    ):
        with pytest.raises(ValueError, match=r"None of the 2 checkpoints .* can be") as error:
            read()
        assert len(str(error.value)) < 1500


@pytest.mark.parametrize(
    "damage",
    [
        other(run={}),
        other(run={"settings": []}),
        other(note={}),
        other(note={"run": 1, "replaces": False}),
        other(note={"run": "this one", "replaces": "no"}),
        other(run={"settings": {"seed": {"deep": []}}}),
    ],
)
def test_checkpoints_that_say_nothing_of_a_run(folder, damage):
    assert resume.look(folder.with_name("one"), SETTINGS, False).run == "this one"
    for path in Checkpoints(folder).paths():
        damage(path)
    with pytest.raises(ValueError, match=r"one\.training") as error:
        resume.look(folder.with_name("one"), SETTINGS, False)
    assert len(str(error.value)) > 40


def test_arrays_of_another_kind(folder):
    for path in Checkpoints(folder).paths():
        with np.load(path) as file:
            arrays = dict(file)
        name = next(name for name in arrays if name.startswith("model/"))
        arrays[name] = np.zeros(arrays[name].shape, "<U3")
        np.savez(path, **arrays)
    with pytest.raises(ValueError, match=r"is of another model: .* is <U3 there and float32 here"):
        train(folder)


@pytest.mark.parametrize(
    "damage",
    [Path.touch, *(ANY[kind] for kind in ("a fifo", "a link to itself", "a link to nothing"))],
)
def test_the_folder_of_checkpoints_is_none(tmp_path, damage):
    (tmp_path / "one.training").write_text("")
    damage(tmp_path / "one.training")
    with pytest.raises(ValueError, match=r"folder of checkpoints .*one\.training"):
        resume.look(tmp_path / "one", SETTINGS, False)


def test_a_step_after_the_end(folder):
    """The facts agree with the name of the file, and not with the length of the run."""
    (newest, _) = Checkpoints(folder).paths()
    other(step=10**6)(newest)
    newest.rename(folder / "step-01000000.npz")
    with pytest.raises(ValueError, match=r"step 1000000 .* not belong to a run of 20 steps"):
        train(folder)


# --- data that changed ------------------------------------------------------------------------


def test_data_that_changed_are_noticed(tmp_path):
    photos = write_photos(tmp_path / "photos", 2)

    def start(*callbacks):
        data = from_folder(photos, 6, 3, validation_share=0.5)
        return train(tmp_path / "run", *callbacks, data=data)

    with pytest.raises(Killed):
        start(At(2, kill))
    path = photos / "red" / "0.png"
    content = path.read_bytes()
    path.write_bytes(content + b"more")  # which decoders pass over
    with pytest.raises(
        ValueError,
        match=r"settings or data \(data_files: '6 files of [\d,]+ bytes, \w{16}' there, '6 files",
    ):
        start()


def test_contents_by_option(folder):
    data = make_data()
    assert data.fingerprint is not None
    names = data.fingerprint(False)
    one, two = (
        dataclasses.replace(data, fingerprint=lambda contents, x=x: x if contents else names)
        for x in ("these bytes", "others")
    )
    with pytest.raises(Killed):
        train(folder, At(1, kill), data=one)  # the names are the same, and so it goes on
    shutil.rmtree(folder)
    with pytest.raises(Killed):
        train(folder, At(2, kill), data=one, contents=True)
    with pytest.raises(ValueError, match=r"data_files: 'these bytes' there, 'others' here"):
        train(folder, data=two, contents=True)


# --- after a divergence -----------------------------------------------------------------------


def test_a_lower_learning_rate_after_a_divergence(tmp_path, capsys):
    def diverge(folder, rate):
        model = make_model()
        poison = At(3, lambda: model.get_layer("head").bias.assign([np.nan, 0.0, 0.0]))
        message = r"became .*step .*lower learning rate"
        with pytest.raises(DivergedError, match=message):
            train(folder, poison, model=model, rate=rate)

    run = tmp_path / "one.training"
    diverge(run, 0.5)
    assert steps_in(run) == [2, 1]
    assert Checkpoints(run).divergences() == [{"step": 3, "learning_rate": 0.5}]
    with pytest.raises(ValueError, match=r"learning_rate: 0\.5 there, 0\.7 here"):
        train(run, rate=0.7)
    # The settings of a run may have another rate too, and nothing else.
    out = tmp_path / "one"
    assert resume.look(out, SETTINGS | {"learning_rate": 0.1}, False).run == "this one"
    with pytest.raises(ValueError, match="seed: 0 there, 1 here"):
        resume.look(out, SETTINGS | {"learning_rate": 0.1, "seed": 1}, False)
    diverge(run, 0.1)
    assert [found["learning_rate"] for found in Checkpoints(run).divergences()] == [0.5, 0.1]
    with pytest.raises(Killed):
        train(run, At(2, kill), rate=0.01)
    assert steps_in(run) == [5, 4]  # it went on, and did not begin anew


def test_another_learning_rate_without_a_divergence(folder):
    with pytest.raises(ValueError, match=r"learning_rate: 0\.01 there, 0\.001 here"):
        train(folder, rate=0.001)
    with pytest.raises(ValueError, match=r"learning_rate: None there, 0\.001 here"):
        resume.look(folder.with_name("one"), SETTINGS | {"learning_rate": 0.001}, False)
    (folder / "diverged.json").write_text("[]")
    with pytest.raises(ValueError, match=r"diverged\.json' must be an object"):
        train(folder, rate=0.001)
