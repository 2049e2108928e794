"""Run folders that somebody damaged or prepared: a `ValueError` with a sentence, nothing is run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from support import families
from support.colour_photos import write_photos
from support.damaged_runs import (
    LABELS,
    MODELS,
    OPTIONS,
    SUMMARIES,
    SUMMARY,
    changed,
    content,
    fifo,
    link_to,
    write_run,
)

from keras_vit import predict
from keras_vit.cli.main import main
from keras_vit.evaluate.run import run as evaluate_run
from keras_vit.predict import load_classifier
from keras_vit.runs import resume
from keras_vit.utils import files
from keras_vit.utils.text import labels_text


@pytest.fixture(scope="module", params=families.FAMILIES)
def any_run(request, tmp_path_factory) -> Path:
    """A run folder of each family."""
    return write_run(
        tmp_path_factory.mktemp("run") / "one", families.build(request.param, depth=1, **OPTIONS)
    )


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    model = families.build("vit", depth=1, **OPTIONS)
    return write_run(tmp_path_factory.mktemp("run") / "one", model)


@pytest.fixture
def run(good, tmp_path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "run"))


KINDS = [
    pytest.param(name, damage, id=f"{name}: {kind}")
    for name, kinds in (
        ("summary.json", SUMMARIES),
        ("labels.txt", LABELS),
        ("model.keras", MODELS),
    )
    for kind, damage in kinds.items()
]


def assert_a_sentence(error: BaseException, *names: object) -> None:
    text = str(error)
    assert all(str(name) in text for name in names), text
    assert 30 < len(text) < 2500
    assert "\x1b" not in text


@pytest.mark.parametrize(("name", "damage"), KINDS)
@pytest.mark.filterwarnings("ignore")  # Keras warns of what it then refuses
def test_a_damaged_folder_is_refused_with_a_sentence(run, name, damage, monkeypatch):
    monkeypatch.chdir(run.parent)
    load_classifier(run)
    damage(run / name)
    with pytest.raises(ValueError) as error:
        load_classifier(run)
    assert_a_sentence(error.value, run if name != "summary.json" else "summary.json")
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    "damage",
    [MODELS[kind] for kind in ("half", "units of text", "weights cut off", "an unknown class")],
)
def test_damaged_models_of_every_family(any_run, tmp_path, damage):
    run = Path(shutil.copytree(any_run, tmp_path / "run"))
    classifier = load_classifier(run)
    assert (classifier.class_names, classifier.resize) == (("a", "b", "c"), "crop")
    damage(run / "model.keras")
    with pytest.raises(ValueError) as error:
        load_classifier(run)
    assert_a_sentence(error.value, run)


@pytest.mark.parametrize("name", ["summary.json", "labels.txt"])
def test_a_missing_permission(run, name, monkeypatch):
    def refuse(path):
        if path.name == name:
            raise PermissionError(13, "Permission denied")
        return read(path)

    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", refuse)  # root has all permissions
    with pytest.raises(ValueError, match=rf"Cannot read '.*{name}': Permission denied"):
        load_classifier(run)


def test_weights_that_are_nan(any_run, tmp_path):
    photo = write_photos(tmp_path / "photos", 1) / "red" / "0.png"
    classifier = load_classifier(any_run)
    model = classifier.model
    model.set_weights([np.full_like(array, np.nan) for array in model.get_weights()])
    with pytest.raises(ValueError, match="gives NaN or infinity"):
        predict.classify(classifier, [photo])


def test_the_commands_say_one_line(run, tmp_path, capsys):
    """`predict` and `evaluate` end with 2; evaluate in Python raises the same."""
    photos = write_photos(tmp_path / "photos", 1)
    (tmp_path / "names.txt").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"names\.txt': it is no UTF-8"):
        evaluate_run(photos, run, class_names=tmp_path / "names.txt")
    for name, damage in (("summary.json", SUMMARIES["nested"]), ("model.keras", MODELS["half"])):
        damage(run / name)
        assert main(["predict", str(photos / "red" / "0.png"), "--model", str(run)]) == 2
        assert main(["evaluate", str(photos), "--model", str(run)]) == 2
        errors = capsys.readouterr().err.splitlines()
        assert len(errors) == 2 and all(line.startswith("error: ") for line in errors)
        assert all(name in line for line in errors)
        with pytest.raises(ValueError, match=name):
            evaluate_run(photos, run)


# --- a run that is to go on -------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        *(kind for name, kind in SUMMARIES.items() if "resize" not in name),
        changed(train_accuracy="1"),
        changed(train_accuracy=float("nan")),
        changed(steps=True),
        changed(settings=[]),
        changed(settings={"seed": {"deep": []}}),
    ],
)
def test_a_damaged_summary_is_no_complete_run(run, damage):
    assert resume.look(run, {"seed": 0}, False).summary == SUMMARY
    damage(run / "summary.json")
    with pytest.raises(ValueError, match="exists already, and is not what these settings") as error:
        resume.look(run, {"seed": 0}, False)
    assert_a_sentence(error.value, run)


@pytest.mark.parametrize("kind", [fifo, link_to("nothing"), content("mine")])
def test_what_is_no_folder_is_not_written_over(tmp_path, kind):
    (tmp_path / "out").write_text("")
    kind(tmp_path / "out")
    with pytest.raises(ValueError, match="exists already"):
        resume.look(tmp_path / "out", {}, False)
    with pytest.raises(ValueError, match="exists already"), files.new_folder(tmp_path / "out"):
        pass


# --- names ------------------------------------------------------------------------------------

NAMES = ("two\nlines", "caf\udce9 \x1b[31m$^$", "\\u000a\ufeff\u2028 ")


def test_names_of_classes_come_back(any_run, tmp_path):
    run = Path(shutil.copytree(any_run, tmp_path / "run"))
    (run / "labels.txt").write_text(labels_text(NAMES), "utf-8")
    assert load_classifier(run).class_names == NAMES
