"""Finding weights in AugReg's index, on a sample: see tests/support/augreg_index.py."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from support.augreg_index import IMAGENET, S16, S16_1K, row, sample, write_index
from support.local_server import LocalServer

import keras_vit
from keras_vit.applications import augreg_index as module
from keras_vit.applications import download as download_module
from keras_vit.applications.augreg_index import read_index
from keras_vit.applications.download import DownloadError
from keras_vit.applications.manifest import manifest
from keras_vit.applications.released_files import RELEASED
from keras_vit.applications.weights import find

pytestmark = pytest.mark.any_backend


@pytest.fixture
def index(tmp_path, monkeypatch):
    """The sample, where the cache has it."""
    monkeypatch.setenv("KERAS_VIT_CACHE", str(tmp_path))
    monkeypatch.delenv("KERAS_VIT_WEIGHTS_URL", raising=False)
    return write_index(tmp_path / "augreg" / "index.csv", sample())


def test_the_best_of_a_model(index):
    found = keras_vit.find_weights("ViT_S16", "imagenet2012")
    assert [(w.pretraining, w.image_size, w.accuracy) for w in found] == [
        ("imagenet21k", 384, pytest.approx(83.728)),
        ("imagenet21k", 224, pytest.approx(81.38)),
        ("imagenet2012", 384, pytest.approx(81.12)),
        ("imagenet2012", 224, None),  # the pre-trained file: what was not measured comes last
        ("imagenet2012", 224, None),
    ]
    assert found[0].name == S16 + IMAGENET.format(0.03, 384)
    assert found[0].file == f"augreg/{found[0].name}.npz"
    assert {found[3].name, found[4].name} == {S16_1K, S16_1K + IMAGENET.format(0.01, 224)}


def test_the_costs_are_those_of_the_original_code(index, shared):
    """Multiply-accumulates and parameters of the tables, at 224 pixels and 1000 classes."""
    macs = json.loads((shared / "golden" / "tables" / "flops.json").read_text())
    counts = json.loads((shared / "golden" / "tables" / "param_counts.json").read_text())["vit"]
    small = keras_vit.find_weights("ViT_S16", "imagenet2012", image_size=224)
    assert {w.parameters for w in small} == {counts["ViT-S_16"]["1000"]}
    assert str(round(small[0].gflops / 2 * 1e9)) in json.dumps(macs)
    large = keras_vit.find_weights("ViT_S16", "imagenet2012", image_size=384)
    assert {w.parameters for w in large} == {counts["ViT-S_16"]["1000_at_384"]}
    (pretrained,) = keras_vit.find_weights("ViT_S16", "imagenet21k")
    assert pretrained.parameters == counts["ViT-S_16"]["21843"]
    (kitti,) = keras_vit.find_weights("ViT_S16", "kitti")
    assert kitti.parameters < large[0].parameters


def test_limits_and_orders(index):
    every = keras_vit.find_weights()
    assert len(every) == len(sample()) + 11 == 26  # and the pre-trained files
    cheap = keras_vit.find_weights(dataset="imagenet2012", max_gflops=9.5)
    assert {w.model for w in cheap} == {"ViT_S16", "ViT_S32", "ViT_Ti16", "R_Ti16"}
    assert max(w.gflops for w in cheap) <= 9.5 < max(w.gflops for w in every)
    assert cheap[0].accuracy == pytest.approx(81.38)
    for sort in ("gflops", "parameters"):
        values = [getattr(w, sort) for w in keras_vit.find_weights(sort=sort)]
        assert values == sorted(values)
    only = keras_vit.find_weights(pretraining="imagenet2012")
    assert {w.name.split("--")[0] for w in only} == {S16_1K}
    assert keras_vit.find_weights("ViT_B8", image_size=384) == ()


def test_it_prints_a_table(index):
    text = str(keras_vit.find_weights("ViT_S16", "imagenet2012"))
    heads, first, *_, last = text.splitlines()
    assert re.split("  +", heads) == [
        *("model", "data set", "first trained on", "pixels", "top-1, %", "GFLOPs"),
        *("million parameters", "weights="),
    ]
    assert first.split()[:5] == ["ViT_S16", "imagenet2012", "imagenet21k", "384", "83.73"]
    assert first.endswith(S16 + IMAGENET.format(0.03, 384))
    assert last.split()[4] == "-"
    every = repr(keras_vit.find_weights())
    assert len(every.splitlines()) == 22 and every.endswith("and 6 more")
    nothing = keras_vit.find_weights("ViT_B8", image_size=384)
    assert str(nothing) == "No weights of the index are like this."


def test_weights_take_what_it_returns(index, tmp_path, one_block):
    best = keras_vit.find_weights("ViT_S16", "imagenet2012")[0]
    shapes = manifest(keras_vit.VARIANTS["ViT_S16"], 384, 1000)
    random = np.random.default_rng(0)
    np.savez(tmp_path / best.file, **{k: random.normal(0, 0.1, s) for k, s in shapes.items()})
    model = keras_vit.ViT_S16(weights=best)
    assert model.input_shape == (None, 384, 384, 3)
    assert model.count_params() == sum(np.prod(s) for s in shapes.values())
    assert keras_vit.download_weights("ViT_S16", best) == tmp_path / best.file
    assert find("ViT_S16", best) == find("ViT_S16", str(best))
    with pytest.raises(ValueError, match="holds a ViT_S16, not a ViT_B16"):
        keras_vit.ViT_B16(weights=best)


def test_the_index_is_fetched_once(tmp_path, monkeypatch):
    body = write_index(tmp_path / "index.csv", sample()).read_bytes()
    monkeypatch.setenv("KERAS_VIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download_module, "WAITS", ())
    server = LocalServer({"augreg/index.csv": b"<html>"})
    try:
        monkeypatch.setenv("KERAS_VIT_WEIGHTS_URL", server.root)
        with pytest.raises(ValueError, match="it has no column filename"):
            keras_vit.find_weights()
        server.files["augreg/index.csv"] = body  # what was refused is not in the cache
        assert len(keras_vit.find_weights()) == len(keras_vit.find_weights()) == 26
        assert len(server.requests) == 2
    finally:
        server.close()
    (tmp_path / "cache" / "augreg" / "index.csv").unlink()
    with pytest.raises(DownloadError, match=r"cannot be reached.*\nBring the index by other means"):
        keras_vit.find_weights()


BEST = row(S16, IMAGENET.format(0.03, 384), 0.8)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "it has no rows"),
        ([BEST, {**BEST, "adapt_filename": "../../x"}], r"row 3: adapt_filename is no name of"),
        ([{**BEST, "filename": "B_99" + S16[4:]}], "row 2: filename is no name of an AugReg file"),
        ([{**BEST, "filename": "\x1b[2J"}], r"no name of an AugReg file: '\\\\u001b\[2J'"),
        ([{**BEST, "adapt_final_test": "83.7"}], r"adapt_final_test must be in \[0, 1\]: '83.7'"),
        ([{**BEST, "final_val": "-1"}], r"final_val must be in \[0, 1\]: '-1'"),
        ([{**BEST, "final_val": "high"}], "final_val must be in"),
        ([{**BEST, "final_val": "inf"}], "final_val must be in"),
        ([{"name": "x"}], "row 2: it has another number of columns than the first row"),
        ([{**BEST, "more": "x"}], "row 2: it has another number of columns"),
        ([{**BEST, "aug": "x" * 5000}], "a line has more than 4,096 characters"),
        ([{**BEST, "aug": '"x'}], "is not used: "),
    ],
)
def test_a_bad_index_is_refused(tmp_path, rows, words):
    path = write_index(tmp_path / "index.csv", rows)
    with pytest.raises(ValueError, match=rf"is not the index of AugReg's files.*{words}"):
        read_index(path)


def test_an_index_without_a_column_a_binary_and_a_huge_one(tmp_path, monkeypatch):
    path = tmp_path / "index.csv"
    path.write_text("name,filename\n")
    with pytest.raises(ValueError, match="it has no column adapt_filename, final_test, final_val"):
        read_index(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not used: 'utf-8' codec"):
        read_index(path)
    write_index(path, [BEST] * 3)
    monkeypatch.setattr(module, "MOST_ROWS", 3)
    with pytest.raises(ValueError, match="more than 3 rows"):
        read_index(path)
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    with pytest.raises(ValueError, match=r"it has [\d,]+ bytes, more than 100"):
        read_index(path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "ViT_S61"}, "AugReg has files of. Did you mean ViT_S16"),
        ({"model": "BiT_R50x1"}, "These are the models that AugReg has files of"),
        ({"dataset": "imagenet"}, "`dataset` must be one of cifar100, imagenet2012, imagenet21k"),
        ({"pretraining": "jft"}, "`pretraining` must be one of imagenet2012, imagenet21k"),
        ({"sort": "speed"}, "`sort` must be one of accuracy, gflops, parameters"),
        ({"max_gflops": -1}, "`max_gflops` must be a positive number"),
        ({"max_gflops": "9"}, "`max_gflops` must be"),
        ({"image_size": 0}, "`image_size` must be a positive integer"),
    ],
)
def test_arguments_are_checked(index, options, words):
    with pytest.raises(ValueError, match=words):
        keras_vit.find_weights(**options)


def test_the_sample_agrees_with_the_table(index):
    """The recommended files are in the table of released files too, with the same accuracy."""
    found = {w.name: w for w in keras_vit.find_weights(dataset="imagenet2012", image_size=384)}
    top1 = {file.file_name: file.top1 for file in RELEASED if file.image_size == 384}
    assert len(found) == 10
    for name, best in found.items():
        assert best.accuracy == pytest.approx(top1[f"{name}.npz"], abs=0.005)
