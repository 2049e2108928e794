"""keras_vit.export and tools/export.py: the right file, measured against the model."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from support.paths import ROOT

import keras_vit
from keras_vit.exports.photos import photos_of
from keras_vit.exports.report import measure

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports are TF's")


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    model = keras_vit.ViT(
        32, 8, 32, 2, 4, 48, classes=3, include_preprocessing=True, classifier_activation="softmax"
    )
    model.get_layer("head").kernel.assign(np.random.default_rng(0).normal(size=(32, 3)))
    return model


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for i in range(3):
        (folder / f"class {i}").mkdir(parents=True)
        image = np.random.default_rng(i).integers(0, 256, (40, 50, 3))
        keras.utils.save_img(folder / f"class {i}" / "a.png", image)
    return folder


def test_the_ending_says_which_format(model, tmp_path):
    assert keras_vit.export(model, tmp_path / "model.onnx").is_file()
    assert (keras_vit.export(model, tmp_path / "1") / "saved_model.pb").is_file()
    assert (
        keras_vit.export(model, tmp_path / "v.2", format="savedmodel") / "saved_model.pb"
    ).is_file()
    with pytest.raises(ValueError, match="one of savedmodel, tflite, onnx"):
        keras_vit.export(model, tmp_path / "model.mlmodel", format="coreml")
    assert keras_vit.export(model, tmp_path / "model.tflite").is_file()
    assert sorted(os.listdir(tmp_path)) == ["1", "model.onnx", "model.tflite", "v.2"]


def test_files_are_measured_against_the_model(model, photos, tmp_path):
    pixels, classes = photos_of(photos, (32, 32), ["class 0", "class 1", "class 2"])
    assert (pixels.shape, list(classes)) == ((3, 32, 32, 3), [0, 1, 2])
    assert photos_of(photos, (32, 32))[1] is None
    right = (model.predict(pixels, verbose=0).argmax(-1) == classes).mean()
    path = keras_vit.export(model, tmp_path / "model.onnx")
    measured = measure(path, model, pixels, classes, repeats=2)
    assert (measured.agreement, measured.top1) == (1, right)
    assert measured.difference < 1e-5
    # Another model's file: the difference is there to be seen.
    model.get_layer("head").kernel.assign(-model.get_layer("head").kernel.value)
    changed = measure(path, model, pixels, classes, repeats=2)
    assert changed.difference > 0.1
    with pytest.raises(ValueError, match="no photo in"):
        photos_of(tmp_path / "photos" / "class 0" / "none", (32, 32))


def test_the_tool(model, photos, tool, tmp_path, monkeypatch):
    model.save(tmp_path / "mine.keras")
    (tmp_path / "labels.txt").write_text("class 0\nclass 1\nclass 2\n")
    monkeypatch.chdir(tmp_path)
    arguments = ["mine.keras", "--out", "out", "--check", photos]
    arguments += ["--quantize", "int8", "--calibrate", photos]
    command = [sys.executable, ROOT / "tools" / "export.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^file +size, MiB +difference / range +agree, % +top-1, %", done.stdout, re.M)
    for name in ("mine_savedmodel", r"mine\.tflite", r"mine\.onnx"):
        assert re.search(rf"{name} +\d+\.\d+ +\d\.\de[-+]0\d +100\.0 ", done.stdout), name
    assert re.search(r"mine_int8\.tflite +\d+\.\d+ +\d\.\de[-+]0\d", done.stdout)
    files = ["mine.onnx", "mine.tflite", "mine_files.png", "mine_int8.tflite", "mine_savedmodel"]
    assert sorted(os.listdir(tmp_path / "out")) == files
    code, _, err = tool("export", *arguments)
    assert code == 2
    assert re.search("error: .*out/mine_savedmodel.*overwrite", err), err


def test_what_is_planned_is_known():
    from keras_vit.exports.deploy import planned

    names = [each.name("vit") for each in planned(["tflite", "onnx"], ["int8", "float16"])]
    assert names == ["vit.tflite", "vit_int8.tflite", "vit_float16.tflite", "vit.onnx"]
    for formats, quantize in ((["coreml"], []), (["tflite"], ["int3"]), (["onnx"], ["int8"])):
        with pytest.raises(ValueError, match=r"Received|add tflite"):
            planned(formats, quantize)


@pytest.mark.parametrize("name", ["model.onnx", "model.tflite"])
def test_openvino_reads_either(name, model, tmp_path):
    openvino = pytest.importorskip("openvino", reason="not installed")
    path = keras_vit.export(model, tmp_path / name)
    pixels = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3)).astype("float32")
    # Its own choice, on some processors, is bfloat16.
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(openvino.Core().read_model(path), "CPU", hint)
    found = next(iter(compiled(pixels).values()))
    np.testing.assert_allclose(found, model.predict(pixels, verbose=0), atol=1e-5)
