"""A run folder, and what may be wrong with each of its files: functions that damage a path."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from pathlib import Path

import keras

import keras_vit
from keras_vit.utils import files

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
