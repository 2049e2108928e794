"""Ray Data takes the `Predictor`: two workers give what one process gives, and one may die."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest
from programs.killed_prediction import make_classifier
from support.paths import ROOT, TESTS

from keras_vit.data.image_files import walk_images
from keras_vit.predict import Predictor


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install .[ray]")
def test_two_workers_lose_nothing_when_one_is_killed(colour_photos, tmp_path):
    from pyarrow import parquet

    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "colours").symlink_to(colour_photos)  # links to folders are not followed
    for path in colour_photos.rglob("*.jpg"):
        os.link(path, tmp_path / f"{path.parent.name}{path.name}")
    model = tmp_path / "model.keras"
    make_classifier().model.save(model)
    done = subprocess.run(
        [sys.executable, TESTS / "programs" / "ray_prediction.py", tmp_path, model, tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_DEDUP_LOGS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names = sorted(os.fsencode(file.path) for file in walk_images(tmp_path))
    assert len(names) == 25
    expected = Predictor(model)({"photo": names})
    for out in ("calm", "killed"):
        rows = parquet.read_table(tmp_path / out).sort_by("photo").to_pydict()
        assert list(rows) == list(expected)
        for column, values in expected.items():
            if column.startswith("probability"):
                assert rows[column] == pytest.approx([*values], abs=1e-6, nan_ok=True)
            else:
                assert rows[column] == [*values]
