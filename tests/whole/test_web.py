"""The web page of examples/web: in a real browser, the same answers as the Keras model.

Needs Chromium, node and, once, the npm registry.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from support.paths import TESTS
from support.web_page import PAGE, PIXELS, SIZE, classifier_for, module

from keras_vit.predict import Classifier, classify, load_classifier

onnx = pytest.importorskip("onnx", reason="the extra onnx")

DRIVER = TESTS / "whole" / "web"
PACKAGES = {"page": PAGE, "driver": DRIVER}
PAGE_FILES = ("index.html", "classify.js", "image.js", "style.css")


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    """A PNG of the model's size: nothing is lost in decoding, and nothing resized."""
    pixels = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), "uint8")
    path = tmp_path_factory.mktemp("pictures") / "noise.png"
    Image.fromarray(pixels).save(path)
    return path


def _installed() -> Path:
    """onnxruntime-web and playwright-core as the lock files pin them, installed once."""
    locks = b"".join((folder / "package-lock.json").read_bytes() for folder in PACKAGES.values())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keras_vit_tests"
    done = cache / hashlib.sha256(locks).hexdigest()[:16]
    if done.is_dir():
        return done
    cache.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=cache))
    try:
        for name, folder in PACKAGES.items():
            (partial / name).mkdir()
            for file in ("package.json", "package-lock.json"):
                shutil.copy(folder / file, partial / name)
            _npm_ci(partial / name)
        with contextlib.suppress(OSError):  # another process was first
            partial.rename(done)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return done


def _npm_ci(folder: Path) -> None:
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=180)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        reason = (error.stderr or b"no answer").decode(errors="replace").strip()
        pytest.skip(f"npm installs nothing here: {reason.splitlines()[-1]}")


@pytest.fixture(scope="module")
def chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None or not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("needs Chromium, node and npm, which are not all there")
    return found


@pytest.fixture
def site(chromium, tmp_path):
    """The folder that is served: the page, as `npm ci` and a copy make it."""
    folder = tmp_path / "site"
    folder.mkdir()
    for name in PAGE_FILES:
        shutil.copy(PAGE / name, folder)
    (folder / "node_modules").symlink_to(_installed() / "page" / "node_modules")
    return folder


@pytest.fixture
def visit(chromium, site, tmp_path):
    """`visit({"actions": [...]}, ...)` shows the page to Chromium: see web/drive.mjs."""
    shutil.copy(DRIVER / "drive.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(_installed() / "driver" / "node_modules")
    server = module("serve").make_server(site, 0, log=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    root = f"http://localhost:{server.server_port}/"

    def run(*visits: dict) -> list[dict]:
        visits = tuple({**each, "url": root + each.get("url", "")} for each in visits)
        job = json.dumps({"executable": chromium, "visits": visits}, default=str)
        with subprocess.Popen(
            ["node", "drive.mjs"],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                out, errors = process.communicate(job, timeout=180)
            except subprocess.TimeoutExpired:
                process.terminate()  # it closes the browser, which a kill would leave behind
                raise
        assert process.returncode == 0, errors
        results = json.loads(out)
        for result in results:
            # Nothing from anywhere else, a CDN say; blob: is the photo itself.
            assert all(
                url.startswith((root, f"blob:{root}", "data:")) for url in result["requests"]
            )
        return results

    yield run
    server.shutdown()
    thread.join()
    server.server_close()


def _expected(classifier: Classifier, path: Path) -> list[tuple[str, float]]:
    prediction = classify(classifier, [path])[0]
    return [(name.replace("_", " "), share) for name, share in prediction.top]


def _assert_shows(seen: dict, expected: list[tuple[str, float]], tolerance: float = 1e-3) -> None:
    assert seen["state"] == "done" and seen["shown"], seen["status"]
    assert seen["names"] == [name for name, _ in expected]
    assert seen["answer"] == expected[0][0]
    shown = [float(percent.removesuffix(" %")) / 100 for percent in seen["percents"]]
    np.testing.assert_allclose(shown, [share for _, share in expected], atol=tolerance)
    np.testing.assert_allclose(seen["bars"], shown, atol=0.02)
    assert re.fullmatch(r"\d+ ms a photo \(median of \d runs\); .* took \d+ ms", seen["latency"])
    assert not seen["wide"], "it has to be scrolled sideways"


def test_the_page_says_what_the_model_says(site, visit, picture):
    """All three ways into a model, a file dropped and one chosen with the keyboard."""
    models = {
        "model": classifier_for(**PIXELS),
        "logits": classifier_for(1, include_preprocessing=True),
        "range": classifier_for(2),
    }
    for name, classifier in models.items():
        module("prepare").prepare(classifier, site / f"{name}.onnx")
    results = visit(
        {"url": "?threads=2", "actions": [{"drop": picture}]},
        {"url": "?model=logits.onnx", "actions": [{"choose": picture}]},
        {"url": "?model=range.onnx&threads=1", "actions": [{"drop": picture}], "width": 360},
    )
    models["range"] = dataclasses.replace(
        models["range"], model=_with_preprocessing(models["range"])
    )
    for result, (name, classifier) in zip(results, models.items(), strict=True):
        assert result["problems"] == []
        expected = _expected(classifier, picture)
        assert expected[0][1] - expected[-1][1] > 0.05, "of no use: all classes are alike"
        _assert_shows(result["seen"][1], expected)
        assert result["seen"][1]["photo"] == SIZE[1]
        assert f"{name}.onnx: 7 classes, 48 x 32 pixels" in result["seen"][0]["model"]
    assert "1 thread" in results[2]["seen"][0]["model"]
    if (os.cpu_count() or 1) > 1:
        assert "threads" in results[0]["seen"][0]["model"]


def _with_preprocessing(classifier: Classifier) -> keras.Model:
    image = keras.Input((*SIZE, 3))
    return keras.Model(image, classifier.model((image - 127.5) / 127.5))


def test_a_photo_is_cropped_and_turned_as_in_keras(site, visit, tmp_path):
    """Larger than the model in one direction and smaller in the other, and turned by EXIF."""
    classifier = classifier_for(3, resize="crop", **PIXELS)
    module("prepare").prepare(classifier, site / "model.onnx")
    rows, columns = np.mgrid[0:90, 0:40] / 90
    smooth = np.stack([rows, columns, (1 - rows) * columns], axis=-1) * 255
    image = Image.fromarray(smooth.astype("uint8"))
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was held upright
    image.save(tmp_path / "turned.jpg", exif=exif, quality=98)
    image.save(tmp_path / "straight.jpg", quality=98)
    paths = [tmp_path / "turned.jpg", tmp_path / "straight.jpg"]
    (result,) = visit({"actions": [{"drop": path} for path in paths]})
    expected = [_expected(classifier, path) for path in paths]
    assert expected[0] != expected[1]
    for seen, right in zip(result["seen"][1:], expected, strict=True):
        _assert_shows(seen, right, tolerance=0.02)


def test_what_is_no_image_is_said_and_the_page_goes_on(site, visit, picture, tmp_path):
    classifier = classifier_for(**PIXELS)
    module("prepare").prepare(classifier, site / "model.onnx")
    (tmp_path / "notes.txt").write_text("not a photo")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    bad = [tmp_path / "notes.txt", tmp_path / "broken.jpg"]
    actions = [{"drop": bad[0]}, {"choose": bad[1]}, {"drop": picture}]
    (result,) = visit({"actions": actions})
    ready, *errors, good = result["seen"]
    assert (ready["state"], ready["shown"]) == ("ready", False)
    for seen, path in zip(errors, bad, strict=True):
        assert (seen["state"], seen["shown"]) == ("error", False)
        assert seen["status"] == f"{path.name} is not an image that this browser can read."
    _assert_shows(good, _expected(classifier, picture))


def test_a_wrong_model_is_said(site, visit):
    helper = onnx.helper

    def save(name: str, shape: list, labels: int) -> None:
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            [helper.make_node("Identity", ["image"], ["output"])],
            "wrong",
            [info("image", onnx.TensorProto.FLOAT, shape)],
            [info("output", onnx.TensorProto.FLOAT, shape)],
        )
        opset = [helper.make_opsetid("", 20)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), site / name)
        facts = {"labels": ["a"] * labels, "pixel_range": [0, 255], "output": "logits"}
        (site / name).with_suffix(".json").write_text(json.dumps(facts))

    save("first.onnx", ["batch", 3, 8, 8], 8)  # channels first
    save("labels.onnx", ["batch", 8, 8, 3], 2)
    (site / "broken.onnx").write_bytes(b"no model")
    shutil.copy(site / "labels.json", site / "broken.json")
    names = ("", "first.onnx", "labels.onnx", "broken.onnx", "https://example.org/a.onnx")
    results = visit(*({"url": f"?model={name}" if name else ""} for name in names))
    statuses = [result["seen"][0]["status"] for result in results]
    assert {result["seen"][0]["state"] for result in results} == {"error"}
    assert "is missing (HTTP 404)" in statuses[0] and "prepare.py" in statuses[0]
    assert "float32 [batch, rows, columns, 3]" in statuses[1] and ",3,8,8]" in statuses[1]
    assert "there are 2 labels" in statuses[2]
    assert "broken.onnx" in statuses[3]
    assert "beside this page" in statuses[4]


def test_real_photos_in_the_browser(site, visit, ti16_path, photos, tmp_path):
    """The real ViT-Ti/16. As PNG, which all decode alike, a photo gives the same numbers."""
    classifier = load_classifier(ti16_path)
    module("prepare").prepare(classifier, site / "model.onnx")
    jpegs = photos[5:100:25]
    png = tmp_path / "exact.png"
    with Image.open(jpegs[0]) as image:
        assert image.size != (224, 224), "it should be resized"
        image.convert("RGB").save(png)
    (result,) = visit({"actions": [{"drop": path} for path in (png, *jpegs)]})
    assert result["problems"] == []
    _, exact, *others = result["seen"]
    _assert_shows(exact, _expected(classifier, png))
    for seen, path in zip(others, jpegs, strict=True):
        expected = _expected(classifier, path)
        assert seen["names"][0] == expected[0][0], path.name
        assert abs(float(seen["percents"][0].removesuffix(" %")) / 100 - expected[0][1]) < 0.05
