"""Run folders that somebody damaged or prepared: a `ValueError` with a sentence, nothing is run."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from support import families
from support.colour_photos import write_photos

import keras_vit
from keras_vit import predict
from keras_vit.cli.main import main
from keras_vit.evaluate.run import run as evaluate_run
from keras_vit.predict import load_classifier
from keras_vit.runs import resume
from keras_vit.utils import files
from keras_vit.utils.text import labels_text

SUMMARY = {
    "train_accuracy": 1.0,
    "validation_accuracy": 0.5,
    "steps": 3,
    "seconds": 1.5,
    "data": {"train_images": 9, "validation_images": 3, "resize": "crop"},
    "settings": {"seed": 0, "run": "this one"},
}
OPTIONS = {"classes": 3, "include_preprocessing": True, "classifier_activation": "softmax"}


def write_run(folder: Path, model: keras.Model) -> Path:
    folder.mkdir()
    model.save(folder / "model.keras")
    (folder / "labels.txt").write_text("a\nb\nc\n")
    (folder / "summary.json").write_text(json.dumps(SUMMARY))
    return folder


@pytest.fixture(scope="module", params=families.FAMILIES)
def any_run(request, tmp_path_factory) -> Path:
    """A run folder of each family."""
    return write_run(
        tmp_path_factory.mktemp("run") / "one", families.build(request.param, **OPTIONS)
    )


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("run") / "one", families.build("vit", **OPTIONS))


@pytest.fixture
def run(good, tmp_path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "run"))


# --- what may be wrong with any file ----------------------------------------------------------


def replace(path: Path, content: bytes | str) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def huge(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate(files.MOST_BYTES + 1)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link_to(target: str):
    def link(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return link


ANY = {
    "huge": huge,
    "a folder": folder,
    "a fifo": fifo,
    "a link to nothing": link_to("nothing"),
    "a link to itself": lambda path: link_to(path.name)(path),
    "a device": link_to("/dev/null"),
}


def content(text: bytes | str):
    return lambda path: replace(path, text)


def changed(**changes):
    return content(json.dumps(SUMMARY | changes))


SUMMARIES = {
    **ANY,
    "empty": content(""),
    "binary": content(b"\xff\xfe\x00\x80" * 9),
    "cut off": content(json.dumps(SUMMARY)[:-9]),
    "a list": content("[1, 2]"),
    "a number": content("7"),
    "NaN": content("NaN"),
    "null": content("null"),
    "nested": content("[" * 100_000 + "]" * 100_000),
    "nested objects": content('{"data":' * 100_000 + "1" + "}" * 100_000),
    "a long number": content('{"data": ' + "9" * 10_000 + "}"),
    "without keys": content("{}"),
    "data that is a list": changed(data=[]),
    "data without keys": changed(data={}),
    "resize that is a number": changed(data={"resize": 1}),
    "resize that is no choice": changed(data={"resize": "stretch\x1b[31m"}),
}
LABELS = {
    **ANY,
    "empty": content(""),
    "binary": content(b"\x89PNG\r\n\x1a\n\xff"),
    "too few": content("a\nb\n"),
    "too many": content("a\nb\nc\nd\n"),
    "an empty line more": content("a\nb\nc\n\n"),
}


# --- what may be wrong with a model -----------------------------------------------------------


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(change, compression: int = zipfile.ZIP_STORED):
    """The same archive with its members changed."""

    def rewrite(path: Path) -> None:
        inside = members(path)
        change(inside)
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, data in inside.items():
                archive.writestr(name, data)

    return rewrite


def with_config(text: str):
    return rewritten(lambda inside: inside.update({"config.json": text.encode()}))


def with_head(**settings):
    """The last layer of the configuration with other settings."""

    def change(inside: dict[str, bytes]) -> None:
        config = json.loads(inside["config.json"])
        config["config"]["layers"][-1]["config"].update(settings)
        inside["config.json"] = json.dumps(config).encode()

    return rewritten(change)


class Executes:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def code_in_a_lambda(path: Path) -> None:
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Lambda(lambda x: (__import__("os").mkdir("executed"), x)[1]),
        ]
    )
    model.save(path)
    os.rmdir("executed")  # Keras has called it once to know its shape


def other_model(make):
    return lambda path: make().save(path)


def of_two_outputs() -> keras.Model:
    x = inputs = keras.Input((16, 16, 3))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, [x, x])


def of_text() -> keras.Model:
    parts = [keras.Input((5,)), keras.layers.Embedding(7, 3), keras.layers.Flatten()]
    return keras.Sequential(parts)


def of_features() -> keras.Model:
    return keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(3, 3)])


def weights_of_another(path: Path) -> None:
    other = path.with_name("other.keras")
    keras_vit.ViT(16, 8, 32, 1, 2, 32, **OPTIONS).save(other)
    weights = members(other)["model.weights.h5"]
    rewritten(lambda inside: inside.update({"model.weights.h5": weights}))(path)


def system(module: str, name: str) -> dict[str, str]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


MODELS = {
    "a folder": folder,
    "a fifo": fifo,
    "a link to nothing": link_to("nothing"),
    "a link to itself": lambda path: link_to(path.name)(path),
    "a device": link_to("/dev/null"),
    "missing": Path.unlink,
    "empty": content(""),
    "no zip": content("weights, honestly"),
    "cut off": lambda path: replace(path, path.read_bytes()[:-200]),
    "half": lambda path: replace(path, path.read_bytes()[: path.stat().st_size // 2]),
    "a pickle": content(pickle.dumps(Executes())),
    "an empty zip": rewritten(dict.clear),
    "without a configuration": rewritten(lambda inside: inside.pop("config.json")),
    "without weights": rewritten(lambda inside: inside.pop("model.weights.h5")),
    "weights that are none": rewritten(lambda x: x.update({"model.weights.h5": b"\x89HDF"})),
    "weights cut off": rewritten(
        lambda x: x.update({"model.weights.h5": x["model.weights.h5"][:5000]})
    ),
    "weights of another model": weights_of_another,
    "a bomb": rewritten(
        lambda x: x.update({"model.weights.h5": bytes(2**26)}), zipfile.ZIP_DEFLATED
    ),
    "a pickle inside": rewritten(
        lambda x: (x.clear(), x.update({"data.pkl": pickle.dumps(Executes())}))
    ),
    "a configuration that is a list": with_config("[]"),
    "a configuration that is a number": with_config("1"),
    "a configuration that is cut off": with_config('{"module": '),
    "a configuration that is binary": rewritten(lambda x: x.update({"config.json": b"\xff"})),
    "a nested configuration": with_config("[" * 100_000 + "]" * 100_000),
    "an unknown class": with_config('{"module": "my", "class_name": "Mine", "config": {}}'),
    "a class that is no model": with_config(
        '{"module": "keras.layers", "class_name": "Dense", "config": {"units": 3}}'
    ),
    "a program for a class": with_config(
        '{"module": "subprocess", "class_name": "Popen", "config": {"args": ["mkdir", "executed"]}}'
    ),
    "a program for an activation": with_head(activation=system("os", "system")),
    "an activation that is none": with_head(activation=system("keras.saving", "load_model")),
    "units of text": with_head(units="many"),
    "fewer units than none": with_head(units=-3),
    "code in a Lambda layer": code_in_a_lambda,
    "a model of text": other_model(of_text),
    "a model of two outputs": other_model(of_two_outputs),
    "a model of features": other_model(of_features),
    "a model without an input": other_model(lambda: keras.Sequential([keras.layers.Dense(3)])),
}
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
