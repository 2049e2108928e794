"""Many photos take no more memory than few."""

from __future__ import annotations

import csv
import os
import types

import pytest
from PIL import Image
from programs.killed_prediction import NAMES, make_classifier

from benchmarks.common.memory import new_peak, peak
from keras_vit import predict
from keras_vit.predict import Predictor, folder, predict_folder
from keras_vit.predict.listing import Listing


@pytest.fixture(scope="module")
def classifier():
    return make_classifier()


class Fake(types.SimpleNamespace):
    """A file of a folder that is not there."""

    def stat(self):
        return types.SimpleNamespace(st_size=1)


def test_a_million_photos_take_no_more_memory(classifier, tmp_path, monkeypatch):
    """20,000 photos of 100,000, and then of a million, that are listed and not on the disk."""

    def answers(self, photos):
        for path in photos:
            yield predict.Prediction(path, tuple((name, 1 / 3) for name in NAMES))

    monkeypatch.setattr(Predictor, "predict", lambda *given: (row for row in answers(*given)))
    monkeypatch.setattr(os.path, "isdir", lambda path: True)
    taken = []
    for count, shards in ((100_000, 5), (1_000_000, 50)):
        names = (f"/photos/{i * 7919 % count:07d} of a camera.jpg" for i in range(count))
        entries = (Fake(path=name) for name in names)
        monkeypatch.setattr(folder, "walk_images", lambda _, entries=entries: entries)
        before, out = new_peak(), tmp_path / str(count)
        summary = predict_folder(classifier, "/photos", out, shard=(2, shards), verbose=0)
        taken.append(peak() - before)
        assert (summary.written, summary.photos) == (2, 20_000)
        assert summary.missing == count // 10_000 - 2
        first = (out / "part-00001.csv").read_text().splitlines()[1]
        assert first.startswith("0010000 of a camera.jpg,,red,0.3333")
    assert taken[1] < taken[0] + 8 * 2**20, taken


def test_names_are_sorted_on_the_disk(monkeypatch):
    names = [os.fsdecode(bytes([a, b])) for a in (2, 10, 47, 255) for b in (1, 10, 255)]
    shuffled = [names[i * 5 % len(names)] for i in range(len(names))]
    prints = set()
    for at_once in (1, 5, 100):
        monkeypatch.setattr("keras_vit.predict.listing.IN_MEMORY", at_once)
        listing = Listing(((name, 3) for name in shuffled), 5)
        assert (listing.count, listing.parts) == (12, 3)
        assert [*listing.part(2), *listing.part(0), *listing.part(1)] == [
            *names[10:], *names[:5], *names[5:10],
        ]  # fmt: skip
        assert [listing.length(i) for i in range(3)] == [5, 5, 2]
        prints.add(listing.fingerprint)
        listing.close()
    assert len(prints) == 1


@pytest.mark.slow
def test_twenty_thousand_photos(classifier, tmp_path):
    """Real files; four times as many take no more memory."""
    for i in range(20_000):
        if i % 1000 == 0:
            (tmp_path / f"few/{i // 1000}").mkdir(parents=True)
            (tmp_path / f"many/{i // 1000}").mkdir(parents=True)
            Image.new("RGB", (64, 48), (i // 100, 100, 50)).save(tmp_path / "photo.jpg")
        for name in ("few", "many")[i >= 5000 :]:
            os.link(tmp_path / "photo.jpg", tmp_path / f"{name}/{i // 1000}/{i:05d}.jpg")
    predictor_options = {"part_size": 2000, "verbose": 0}
    taken = []
    for name, count in (("few", 5000), ("many", 20_000)):
        before, out = new_peak(), tmp_path / f"{name}_out"
        summary = predict_folder(classifier, tmp_path / name, out, **predictor_options)
        taken.append(peak() - before)
        assert (summary.photos, summary.unreadable, summary.missing) == (count, 0, 0)
        found = []
        for path in out.glob("part-*"):
            with path.open(newline="", encoding="utf-8") as file:
                found += [row["photo"] for row in csv.DictReader(file)]
        assert len(found) == len({*found}) == count
    assert taken[1] < taken[0] + 32 * 2**20, taken
