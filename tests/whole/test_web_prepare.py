"""What examples/web/prepare.py writes for the page."""

from __future__ import annotations

import json

import keras
import pytest
from support.web_page import NAMES, PIXELS, SIZE, classifier_for, module

import keras_vit
from keras_vit.predict import Classifier

onnx = pytest.importorskip("onnx", reason="the extra onnx")


def test_prepare_writes_what_the_page_needs_to_know(tmp_path):
    prepare = module("prepare").prepare
    paths = prepare(classifier_for(**PIXELS), tmp_path / "vit.onnx")
    assert [path.name for path in paths] == ["vit.onnx", "vit.json"]
    facts = json.loads(paths[1].read_text("utf-8"))
    assert facts == {
        "labels": list(NAMES),
        "image_size": [32, 48],
        "pixel_range": [0, 255],
        "resize": "squash",
        "output": "probabilities",
    }
    shape = onnx.load(paths[0]).graph.input[0].type.tensor_type.shape
    assert [side.dim_value for side in shape.dim[1:]] == [*SIZE, 3]

    paths = prepare(classifier_for(resize="crop"), tmp_path / "logits.onnx")
    facts = json.loads(paths[1].read_text("utf-8"))
    assert (facts["pixel_range"], facts["output"]) == ([-1, 1], "logits")
    assert facts["resize"] == "crop"


def test_prepare_sees_the_pixel_range_of_a_model_inside_a_model(tmp_path):
    options = {"include_top": False, "pooling": "token", "classifier_activation": None}
    for pixels, expected in ((True, [0, 255]), (False, [-1, 1])):
        backbone = keras_vit.ViT(SIZE, 8, 32, 1, 4, 64, include_preprocessing=pixels, **options)
        model = keras.Sequential([backbone, keras.layers.Dense(2, name="head")])
        _, path = module("prepare").prepare(
            Classifier(model, ("a", "b"), SIZE), tmp_path / f"{pixels}.onnx"
        )
        assert json.loads(path.read_text("utf-8"))["pixel_range"] == expected


@pytest.mark.parametrize("there", ["vit.onnx", "vit.json"])
def test_prepare_replaces_nothing_unasked(tmp_path, there):
    prepare = module("prepare").prepare
    (tmp_path / there).write_text("mine")
    with pytest.raises(FileExistsError, match=there):
        prepare(classifier_for(), tmp_path / "vit.onnx")
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"
    prepare(classifier_for(), tmp_path / "vit.onnx", overwrite=True)
    assert json.loads((tmp_path / "vit.json").read_text("utf-8"))["labels"] == list(NAMES)


def test_prepare_as_a_command(tmp_path, monkeypatch, capsys):
    from keras_vit.cli.run_command import run_command

    tool = module("prepare")
    classifier_for(**PIXELS).model.save(tmp_path / "model.keras")
    (tmp_path / "labels.txt").write_text("\n".join(NAMES), "utf-8")
    out = tmp_path / "page.onnx"
    arguments = ["prepare.py", str(tmp_path / "model.keras"), "--out", str(out)]
    monkeypatch.setattr("sys.argv", arguments)
    assert run_command(tool.main) == 0
    assert "page.json" in capsys.readouterr().out
    assert run_command(tool.main) == 2
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setattr("sys.argv", [*arguments, "--overwrite"])
    assert run_command(tool.main) == 0
