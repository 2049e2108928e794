"""The benchmark of the input pipeline: what its loaders give, and which ratio decides."""

from __future__ import annotations

import pytest
from support.colour_photos import write_photos

from benchmarks.common.side_by_side import Timing
from benchmarks.contestants import loaders
from benchmarks.speed import input as benchmark


def test_our_loader_gives_batches_of_crops_without_an_end(tmp_path):
    photos = write_photos(tmp_path / "photos", 5, classes=2)
    batches = loaders.BATCHES["ours"](str(photos), 8, 2, 1)
    for _, (pixels, labels) in zip(range(7), batches, strict=False):
        assert (pixels.shape, pixels.dtype, labels.shape) == ((2, 8, 8, 3), "float32", (2,))


@pytest.mark.slow
def test_all_loaders_run(tmp_path, capfd):
    """In processes of their own; what cannot run says which library is missing."""
    photos = write_photos(tmp_path / "photos", 5, classes=2)
    rates, _ = benchmark.loaders(photos, 1, 2, 1)
    left_out = capfd.readouterr().err
    assert set(rates) >= {"ours"}
    for name, *_ in benchmark.LOADERS:
        assert (name in rates) != (f"{name}: left out, not here (" in left_out)


@pytest.mark.parametrize(("seconds", "fastest"), [(1.1, True), (0.9, False)])
def test_the_fastest_of_the_others_counts(tmp_path, monkeypatch, capsys, seconds, fastest):
    times = {"ours": 1.0, "timm": 3.0, "torchvision, Pillow": seconds}
    monkeypatch.setattr(
        benchmark, "race", lambda *_, **__: {k: Timing([[v]] * 3, {}) for k, v in times.items()}
    )
    rates, found = benchmark.loaders(tmp_path, 3, 10, 2)
    assert found == fastest
    assert rates["ours"] == [160.0] * 3
    shown = capsys.readouterr().out
    assert f"ours is {seconds:.2f} times as fast as torchvision, Pillow" in shown
