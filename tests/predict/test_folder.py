"""A folder of photos becomes a folder of tables: every photo once, whoever writes and whenever."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from programs.killed_prediction import make_classifier
from support.interruptions import Killed, kill
from support.paths import TESTS

from keras_vit import predict
from keras_vit.predict import Predictor, folder, predict_folder
from keras_vit.utils import files
from keras_vit.utils.locks import one_process
from keras_vit.utils.preemption import PreemptedError

# Hostile names, in the order of their bytes; `\udcff` is the byte FF, which is no UTF-8.
GOOD = (
    "a,b.png", 'a"b.png', "a.JPG", "a/0.png", "a/deep/er/1.png", "line\nbreak.png", "mixed.png",
    "z.png", "\udcff.png",
)  # fmt: skip
BAD = {"empty.jpg": b"", "text.png": b"no photo", "cut.jpg": b"\xff\xd8\xff\xe0 cut"}
ORDER = sorted((*GOOD, *BAD), key=os.fsencode)
OPTIONS = {"part_size": 5, "batch_size": 2, "verbose": 0}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Photos of one colour each, red the redder the later; and what is no photo."""
    place = tmp_path_factory.mktemp("photos") / "in"
    for i, name in enumerate(GOOD):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (100 + 10 * i, 110, 120)).save(place / name, format="png")
    for name, content in BAD.items():
        (place / name).write_bytes(content)
    (place / ".hidden.png").write_bytes(b"")
    (place / "notes.txt").write_text("no photo")
    return place


@pytest.fixture(scope="module")
def classifier():
    return make_classifier()


@pytest.fixture(scope="module")
def whole(photos, classifier, tmp_path_factory) -> Path:
    """What one undisturbed process writes."""
    out = tmp_path_factory.mktemp("whole") / "out"
    summary = predict_folder(classifier, photos, out, **OPTIONS)
    assert summary == predict.FolderSummary(3, 12, 3, 3, 0)
    return out


def tables(out: Path) -> dict[str, bytes]:
    """The parts and their contents; there is nothing else but the manifest."""
    found = {path.name: path.read_bytes() for path in sorted(out.iterdir())}
    found.pop(folder.MANIFEST_FILE)
    assert all(name.startswith("part-") for name in found), [*found]
    return found


def rows(out: Path) -> list[dict[str, str]]:
    found = []
    for path in sorted(out.glob("part-*")):
        with path.open(newline="", encoding="utf-8") as file:
            found += csv.DictReader(file)
    return found


def test_every_photo_has_one_row_in_the_order_of_the_names(whole):
    assert list(tables(whole)) == [f"part-0000{i}.csv" for i in range(3)]
    found = rows(whole)
    assert [row["photo"] for row in found] == [n.replace("\udcff", "\\udcff") for n in ORDER]
    by_name = {row["photo"]: row for row in found}
    assert by_name["empty.jpg"]["error"] == "the file is empty"
    assert by_name["text.png"]["error"].startswith("cannot identify image file")
    for name in BAD:
        assert by_name[name]["error"] and set(list(by_name[name].values())[2:]) == {""}
    # By hand: the logits of a.JPG are a tenth of its colour, 12, 11 and 12.
    row = by_name["a.JPG"]
    share = 1 / (2 + math.exp(-1))
    assert row["error"] == "" and [row["class_1"], row["class_2"]] == ["red", "blue"]
    np.testing.assert_allclose(float(row["probability_1"]), share, rtol=1e-6)
    np.testing.assert_allclose(float(row["probability_3"]), share * math.exp(-1), rtol=1e-6)


def test_parquet_holds_what_csv_does_and_the_features(photos, classifier, whole, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    dataset = pytest.importorskip("pyarrow.dataset")
    predict_folder(classifier, photos, tmp_path, format="parquet", features=True, top=1, **OPTIONS)
    found = dataset.dataset(tmp_path, format="parquet").to_table()  # passes over the manifest
    assert found.schema.field("features").type == pyarrow.list_(pyarrow.float32(), 3)
    columns = found.to_pydict()
    assert list(columns) == ["photo", "error", "class_1", "probability_1", "features"]
    for i, row in enumerate(rows(whole)):
        for name in ("photo", "error", "class_1"):
            assert columns[name][i] == row[name]
        assert (row["error"] == "") == (not math.isnan(columns["probability_1"][i]))
        # The vector before the head: the mean of each colour.
        colour = [100 + 10 * GOOD.index(ORDER[i]), 110, 120] if not row["error"] else [math.nan] * 3
        np.testing.assert_allclose(columns["features"][i], colour, rtol=1e-6)
    predict_folder(classifier, photos, tmp_path / "csv", features=True, **OPTIONS)
    row = next(row for row in rows(tmp_path / "csv") if row["photo"] == "mixed.png")
    assert [round(float(row[f"feature_{i}"]), 3) for i in (1, 2, 3)] == [160, 110, 120]


def test_parquet_says_what_is_missing(photos, classifier, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"Parquet needs pyarrow: pip install .*\[parquet\]"):
        predict_folder(classifier, photos, tmp_path / "out", format="parquet")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="`format` must be one of csv, parquet"):
        predict_folder(classifier, photos, tmp_path / "out", format="json")


def test_any_number_of_shards_writes_the_same(photos, classifier, whole, tmp_path):
    summary = predict_folder(classifier, photos, tmp_path, shard=(2, 2), **OPTIONS)
    assert list(tables(tmp_path)) == ["part-00001.csv"]
    assert (summary.written, summary.photos, summary.missing) == (1, 5, 2)
    for number in (3, 2, 1):  # another number of them goes on
        summary = predict_folder(classifier, photos, tmp_path, shard=(number, 3), **OPTIONS)
    assert (summary.missing, tables(tmp_path)) == (0, tables(whole))
    # More shards than parts: some have nothing to do.
    assert predict_folder(classifier, photos, tmp_path, shard=(4, 4), **OPTIONS).written == 0
    for shard in ((0, 2), (3, 2), (1,), "1/2", (1, 0)):
        with pytest.raises(ValueError, match="`shard` must be a pair"):
            predict_folder(classifier, photos, tmp_path, shard=shard)


# Where a process may end: what is replaced by what kills it the nth time, and n.
MOMENTS = {
    "while a photo is read": (Predictor, "_of_batch", 4),
    "before a table is begun": (folder, "write_table", 2),
    "before a table is on the disk": (files, "_sync", 2),
    "before the folder is on the disk": (files, "_sync", 5),
    "before a table has its name": (Path, "replace", 2),
    "while the manifest is written": (os, "link", 1),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_it_goes_on_after_any_end(photos, classifier, whole, tmp_path, moment, monkeypatch):
    owner, name, count = MOMENTS[moment]
    real, left = getattr(owner, name), [count]

    def deadly(*arguments, **keywords):
        left[0] -= 1
        return kill() if left[0] == 0 else real(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, deadly)
        with pytest.raises(Killed):
            predict_folder(classifier, photos, tmp_path, **OPTIONS)
    (tmp_path / ".shard-1-of-1.0f").write_text("half a table")  # SIGKILL leaves it
    there = len([*tmp_path.glob("part-*")])
    summary = predict_folder(classifier, photos, tmp_path, **OPTIONS)
    assert (summary.written, summary.missing) == (3 - there, 0)
    assert tables(tmp_path) == tables(whole)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_it_is_killed_at_random_moments(photos, whole, tmp_path):
    program = [sys.executable, str(TESTS / "programs" / "killed_prediction.py")]
    # The parts have three photos, so there are four.
    done = subprocess.run(
        [*program, photos, tmp_path, "6", "0"],
        env={**os.environ, "PYTHONPATH": str(TESTS.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    counts = [*map(int, done.stdout.split())]
    assert counts == sorted(counts) and counts[-1] == 4 and counts[0] < 4
    assert len(tables(tmp_path)) == 4
    assert rows(tmp_path) == rows(whole)


def test_sigterm_leaves_out_the_part_that_was_begun(
    photos, classifier, whole, tmp_path, monkeypatch
):
    real = folder.write_table

    def write_and_ask(*arguments, **keywords):
        real(*arguments, **keywords)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(folder, "write_table", write_and_ask)
        with pytest.raises(PreemptedError, match=r"5 of the 12 photos of shard-1-of-1 are in"):
            predict_folder(classifier, photos, tmp_path, **OPTIONS)
    assert list(tables(tmp_path)) == ["part-00000.csv"]
    predict_folder(classifier, photos, tmp_path, **OPTIONS)
    assert tables(tmp_path) == tables(whole)


@pytest.fixture
def begun(photos, whole, tmp_path) -> tuple[Path, Path]:
    """A copy of the photos, and one of their tables where one is missing."""
    for source, name in ((photos, "in"), (whole, "out")):
        for path in (path for path in source.rglob("*") if path.is_file()):
            target = tmp_path / name / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (tmp_path / "out" / "part-00001.csv").unlink()
    return tmp_path / "in", tmp_path / "out"


def test_another_run_is_refused(begun, classifier):
    photos, out = begun

    def refused(said: str, classifier=classifier, **changes):
        with pytest.raises(ValueError, match=f"holds parts of other photos or.*{said}"):
            predict_folder(classifier, photos, out, **{**OPTIONS, **changes})

    before = tables(out)
    refused("features: 0 there, 3 here", features=True)
    refused("top: 3 there, 1 here", top=1)
    refused("part_size: 5 there, 6 here", part_size=6)
    refused("resize: 'squash' there, 'crop' here", dataclasses.replace(classifier, resize="crop"))
    refused("image_size", dataclasses.replace(classifier, image_size=(5, 4)))
    refused("class_names", dataclasses.replace(classifier, class_names=("a", "b", "c")))
    if "pyarrow" in sys.modules:
        refused("format: 'csv' there, 'parquet' here", format="parquet")
    other = make_classifier()  # in this process its layers have other numbers: no other model
    kernel = other.model.get_layer("head").kernel
    kernel.assign(kernel * 1.001)
    refused("\\(weights: '[0-9a-f]+' there, '[0-9a-f]+' here\\)", other)
    (photos / "text.png").write_bytes(b"another content")
    refused("photos: '12 photos, [0-9a-f]+' there, '12 photos, [0-9a-f]+' here")
    (photos / "more.png").write_bytes(b"no photo")
    refused("'13 photos")
    assert tables(out) == before
    (photos / "more.png").unlink()
    (photos / "text.png").write_bytes(BAD["text.png"])
    assert predict_folder(make_classifier(), photos, out, **OPTIONS).written == 1
    manifest = json.loads((out / folder.MANIFEST_FILE).read_text())
    assert manifest["image_size"] == [4, 4]


def test_a_folder_with_other_things_is_refused(photos, classifier, tmp_path):
    (tmp_path / "thesis.doc").write_text("")
    with pytest.raises(ValueError, match=r"new or empty folder.*'thesis.doc'"):
        predict_folder(classifier, photos, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="There is no photo"):
        predict_folder(classifier, tmp_path / "none", tmp_path / "out")
    with pytest.raises(ValueError, match="There is no folder"):
        predict_folder(classifier, tmp_path / "nowhere", tmp_path / "out")


def test_two_that_start_at_once_agree_on_the_manifest(tmp_path):
    """The second writes after it found none, and so does the first: one of them stays."""
    path = tmp_path / folder.MANIFEST_FILE
    files.write_new_json(path, {"top": 1})
    files.write_new_json(path, {"top": 2})
    assert json.loads(path.read_text()) == {"top": 1}
    assert len([*tmp_path.iterdir()]) == 1


def test_two_processes_of_one_shard_are_refused(begun, classifier):
    photos, out = begun
    with one_process(out / "_shard-1-of-2"):
        with pytest.raises(ValueError, match=r"Another process is writing .*_shard-1-of-2"):
            predict_folder(classifier, photos, out, shard=(1, 2), **OPTIONS)
        assert predict_folder(classifier, photos, out, shard=(2, 2), **OPTIONS).written == 1


def test_the_command(tool, classifier, colour_photos, tmp_path, monkeypatch):
    classifier.model.save(tmp_path / "model.keras")
    (tmp_path / "labels.txt").write_text("red\ngreen\nblå\n")
    out = tmp_path / "out"
    start = ("predict", "--model", tmp_path / "model.keras", "--top", 1, colour_photos)
    given = (*start, "--out", out, "--part-size", 10)
    code, said, err = tool(*given, "--shard", "1/2")
    assert (code, err) == (0, "")
    assert said.splitlines() == [
        f"wrote 14 photos in 2 parts into {out}",
        "1 of 3 parts are missing: other shards write them",
    ]
    real = folder.write_table

    def write_and_ask(*arguments, **keywords):
        real(*arguments, **keywords)
        os.kill(os.getpid(), signal.SIGTERM)

    (out / "part-00000.csv").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(folder, "write_table", write_and_ask)
        code, said, err = tool(*given)
    assert (code, said) == (75, "goes on from photo 4 of 24\n")
    assert err.startswith("asked to end (SIGTERM). 14 of the 24 photos")
    assert tool(*given)[0] == 0
    # A class is the folder of its photos.
    for row in rows(out):
        assert row["photo"].partition("/")[0] == row["class_1"]
    for arguments, message in (
        (start, "add --out FOLDER"),
        ((*given, "--csv", "a.csv"), "--csv does not go with --out"),
        ((*start, "--shard", "1/2"), "--shard needs --out"),
        ((*given, "--shard", "a"), "argument --shard: invalid shard value"),
        ((*start, tmp_path, "--out", out), "With --out give one folder"),
    ):
        code, _, err = tool(*arguments)
        assert code == 2 and message in err
