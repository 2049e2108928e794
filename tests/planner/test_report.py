"""What is printed and drawn of plans, and the table of devices."""

from __future__ import annotations

import re

import pytest

import keras_vit
from keras_vit import planner
from keras_vit.planner import devices, report


def test_devices():
    for name, device in planner.DEVICES.items():
        assert device.name == name
        assert device.source
        assert min(*device.peak.values(), device.memory, device.link) > 0
    assert devices.parse_devices("8xA100-80") == (8, planner.DEVICES["A100-80"])
    assert devices.parse_devices("TPUv4") == (1, planner.DEVICES["TPUv4"])


def lines_of(page):
    return str(page).splitlines()


def test_pages_say_everything():
    plan = planner.plan("ViT_L16", "A100-80", 8, epochs=14)
    text = str(report.plan_page([plan, planner.plan("ViT_L16", "H100", epochs=14)]))
    for part in ("322,049,907", "8 x A100-80", "1 x H100", "1,567", "NO", "days"):
        assert part in text
    assert len(lines_of(report.paper_page())) == 19
    assert len(lines_of(report.device_page())) == 2 * len(planner.DEVICES) + 3
    assert len(lines_of(report.fit_page(planner.fits()))) == len(keras_vit.VARIANTS) + 5


def test_columns_have_units():
    heads = [lines_of(page)[0] for page in (report.paper_page(), report.device_page())]
    assert re.split("  +", heads[0]) == [
        "JFT-300M", "epochs", "top-1, %", "published, exaFLOPs", "computed, exaFLOPs",
        "difference, %",
    ]  # fmt: skip
    assert heads[1].split("  ")[-3:] == ["memory, GB", "link, GB/s", "peak, TFLOPS"]
    # A cell has no unit that the head has.
    assert "%" not in "".join(lines_of(report.paper_page())[1:])


def test_the_picture_is_not_written_over_another(tmp_path):
    pytest.importorskip("matplotlib")
    path = report.paper_picture(tmp_path / "table6.png")
    written = path.read_bytes()
    assert written.startswith(b"\x89PNG") and len(written) > 20_000
    with pytest.raises(FileExistsError, match="overwrite"):
        report.paper_picture(path)
    with pytest.raises(ValueError, match=r"\.png"):
        report.paper_picture(tmp_path / "table6.jpg")
    assert [each.name for each in tmp_path.iterdir()] == ["table6.png"]
