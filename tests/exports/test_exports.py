"""keras_vit.export and tools/export.py: the right file, measured against the model."""

from __future__ import annotations

import json
import os
import re
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

import keras_vit
from keras_vit.data.image_files import check_images, fitted_photos
from keras_vit.exports.photos import photos_of
from keras_vit.exports.report import measure


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
    code, out, err = tool("export", *arguments)
    assert code == 0, err
    assert re.search(r"^file +size, MiB +difference / range +agree, % +top-1, %", out, re.M)
    for name in ("mine_savedmodel", r"mine\.tflite", r"mine\.onnx"):
        assert re.search(rf"{name} +\d+\.\d+ +\d\.\de[-+]0\d +100\.0 ", out), name
    assert re.search(r"mine_int8\.tflite +\d+\.\d+ +\d\.\de[-+]0\d", out)
    files = ["mine.onnx", "mine.tflite", "mine_files.png", "mine_int8.tflite", "mine_savedmodel"]
    assert sorted(os.listdir(tmp_path / "out")) == files
    code, _, err = tool("export", *arguments)
    assert code == 2
    assert re.search("error: .*out/mine_savedmodel.*overwrite", err), err


def test_what_is_planned_is_known():
    from keras_vit.exports.deploy import planned

    files = planned(["tflite", "onnx"], ["int8", "dynamic_int8"])
    assert [each.name("vit") for each in files] == [
        "vit.tflite", "vit_int8.tflite", "vit_dynamic_int8.tflite",
        "vit.onnx", "vit_dynamic_int8.onnx",
    ]  # fmt: skip
    assert [each.needs_photos for each in files] == [False, True, False, False, False]
    for formats, quantize in ((["coreml"], []), (["tflite"], ["int3"]), (["onnx"], ["int8"])):
        with pytest.raises(ValueError, match=r"Received|add tflite"):
            planned(formats, quantize)
    with pytest.raises(ValueError, match=r"one of float16, dynamic_int8, int8, int4\. Did"):
        planned(["onnx"], ["dynamic-int8"])


@pytest.mark.parametrize("name", ["model.onnx", "model.tflite"])
def test_openvino_reads_either(name, model, tmp_path, openvino_core):
    path = keras_vit.export(model, tmp_path / name)
    pixels = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3)).astype("float32")
    # Its own choice, on some processors, is bfloat16.
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino_core.compile_model(path, "CPU", hint)
    found = next(iter(compiled(pixels).values()))
    np.testing.assert_allclose(found, model.predict(pixels, verbose=0), atol=1e-5)


@pytest.fixture
def deployed(tool, photos, tmp_path, monkeypatch):
    """`deployed(model, "--opset", 17)`: the rows of the table, the folder, the output."""
    monkeypatch.chdir(tmp_path)

    def run(model, *arguments):
        model.save("mine.keras")
        code, out, err = tool("export", "mine.keras", "--check", photos, *arguments)
        assert code == 0, err
        rows = [line.split() for line in out.splitlines() if line.startswith("mine")]
        return {row[0]: row[1:] for row in rows}, tmp_path / "exported", out

    return run


def test_what_is_no_classifier_is_deployed_too(deployed):
    """Several outputs, one of which are features: no names of classes, no agreement."""
    base = keras_vit.ViT(32, 8, 32, 1, 4, 48, include_top=False, pooling="token")
    grade = keras.layers.Dense(1, name="grade")(base.output)
    model = keras.Model(base.input, {"grade": grade, "features": base.output})
    rows, folder, out = deployed(model, "--format", "savedmodel,onnx")
    assert set(rows) == {"mine_savedmodel", "mine.onnx"}
    for _, difference, agreement, top1, count, *_ in rows.values():
        assert float(difference) < 1e-4
        assert (agreement, top1, count) == ("-", "-", "3")
    assert "wrote" not in out
    assert not (folder / "mine_savedmodel" / "assets" / "labels.txt").exists()
    said = json.loads((folder / "mine_savedmodel" / "assets" / "input.json").read_text())
    assert said == {
        "input_range": [-1, 1], "outputs": ["features", "grade"], "scores": "none",
        "resize": "squash", "interpolation": "bilinear",
    }  # fmt: skip


def test_the_options_of_the_command_reach_the_files(deployed, tool, photos):
    onnx = pytest.importorskip("onnx", reason="the extra onnx")
    model = keras_vit.ViT(32, 8, 32, 1, 4, 48, classes=3)
    model.get_layer("head").kernel.assign(np.random.default_rng(0).normal(size=(32, 3)))
    rows, folder, _ = deployed(
        model, "--format", "onnx,tflite", "--input-range", 0, 1, "--scores", "sigmoid", "--opset",
        17, "--pad-to-multiple-of", 2, "--resize", "crop", "--interpolation", "bicubic",
    )  # fmt: skip
    assert rows["mine.onnx"][-3:] == ["float32", "[0,", "1]"]
    assert all(float(row[1]) < 1e-4 and row[2] == "100.0" for row in rows.values())
    file = onnx.load(folder / "mine.onnx")
    assert file.opset_import[0].version == 17
    assert "Pad" in [node.op_type for node in file.graph.node]  # 17 tokens
    said = {row.key: row.value for row in file.metadata_props}
    assert said == {
        "input_range": "[0.0, 1.0]", "outputs": '["output"]', "scores": "sigmoid",
        "labels": '["class 0", "class 1", "class 2"]', "resize": "crop", "interpolation": "bicubic",
    }  # fmt: skip
    with zipfile.ZipFile(folder / "mine.tflite") as archive:
        facts = json.loads(archive.read("input.json"))
    assert (facts["resize"], facts["interpolation"]) == ("crop", "bicubic")
    code, _, err = tool("export", "mine.keras", "--format", "tflite", "--opset", 17, "--overwrite")
    assert code == 2
    assert "`opset` goes with onnx" in err
    for wrong in (("--opset", 15), ("--pad-to-multiple-of", 0)):
        code, out, err = tool("export", "no such model", "--format", "tflite,onnx", *wrong)
        assert (code, out) == (2, "")  # before a model is looked for
        assert f"{wrong[0][2:].replace('-', '_')}` must be" in err


def test_photos_are_prepared_as_for_a_prediction(photos, tmp_path):
    turned = Image.open(photos / "class 0" / "a.png")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "photos" / "class 1" / "b.png", exif=exif)
    paths = sorted(photos.rglob("*.png"))
    found, _ = check_images(paths, progress=False)
    for how in (("squash", "bilinear"), ("crop", "bicubic")):
        pixels, _ = photos_of(photos, (32, 24), (), *how)
        expected = np.stack(list(fitted_photos(found, (32, 24), *how).as_numpy_iterator()))
        np.testing.assert_allclose(pixels, expected, atol=0.5)
    (photos / "class 2" / "bad.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"bad\.png cannot be read"):
        photos_of(photos, 32)
