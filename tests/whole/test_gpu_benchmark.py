"""`benchmarks/speed/gpu.py`: it runs without TensorFlow and without a card, and its arithmetic."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from support.paths import ROOT

from benchmarks.common import card, card_rows, memory, side_by_side, turns
from benchmarks.common.side_by_side import Contestant, Timing, race
from benchmarks.contestants import process
from benchmarks.speed import gpu

H200 = card.card_of("NVIDIA H200", 140 * 2**30)


def test_it_runs_where_tensorflow_is_not_installed(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ModuleNotFoundError('hidden by the test')")
    places = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.speed.gpu", "--tiny", "--only", "ours, JAX"),
            *("--json", tmp_path / "found.json", "--picture", tmp_path / "found.png"),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": places},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert found["card"] is None
    assert [row["training"] for row in found["rows"]] == [False, True]
    for row in found["rows"]:
        assert list(row["results"]) == ["ours, JAX"]
        assert row["results"]["ours, JAX"]["images_per_second"] > 0
        assert row["results"]["ours, JAX"]["share_of_peak"] is None


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("NVIDIA H200", "H200"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA A100-SXM4-40GB", "A100-40"),
        ("NVIDIA A100 80GB PCIe", "A100-80"),
        ("Tesla T4", "T4"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", None),
    ],
)
def test_cards(name, device):
    found = card.card_of(name, 2**30)
    assert (found.name, found.memory) == (name, 2**30)
    assert (found.device.name if found.device else None) == device


def test_share_of_the_peak():
    """A ViT-B/16 has 17,563,828,224 multiply-accumulates, an H200 989 TFLOP/s in bfloat16."""
    forward = 1e4 * 2 * 17_563_828_224 / 989e12
    assert card.share_of_peak(1e4, "ViT_B16", 224, False, H200) == pytest.approx(forward)
    assert card.share_of_peak(1e4, "ViT_B16", 224, True, H200) == pytest.approx(3 * forward)
    unknown = card.card_of("NVIDIA H100 PCIe", 80 * 2**30)
    assert card.share_of_peak(1e4, "ViT_B16", 224, True, unknown) is None


def test_largest_batch():
    """The planner says 43.6 GB for a batch of 1,024 and 22.2 GB for half of it."""
    sizes = [card.largest_batch("ViT_B16", 224, False, gb * 1e9, 1024) for gb in (45, 30, 1)]
    assert sizes == [1024, 512, 1]
    assert card.largest_batch("ViT_B16", 224, True, 30e9, 1024) == 1024


def _timing(seconds):
    return Timing([[seconds]], {"peak_mib": 1.0, "step_mib": 1.0, "logits": [1.0, 2.0]})


def test_goals(tmp_path):
    bench = card_rows.Bench(H200, tmp_path, 0.0, 224)
    # 989e12 / (3 * 2 * 17,563,828,224) images/s are the peak; 256 images at 40.9 % of it.
    step = 256 * 6 * 17_563_828_224 / 989e12 / 0.409
    row = card_rows.Row("ViT_B16", 256, training=True, results={"ours, JAX": _timing(step)})
    assert bench.shares(row)["ours, JAX"] == pytest.approx(0.409)
    assert [goal["reached"] for goal in gpu.goals(bench, row)] == [True]
    row.results["ours, JAX"] = _timing(1.1 * step)
    assert [goal["reached"] for goal in gpu.goals(bench, row)] == [False]
    times = {"ours, JAX": _timing(2.0), "timm, compiled": _timing(3.0)}
    row = card_rows.Row("ViT_B16", 1, results=times)
    assert [goal["ratio"] for goal in gpu.goals(bench, row)] == [1.5]
    times["timm, CUDA graphs"] = _timing(1.0)
    assert [goal["reached"] for goal in gpu.goals(bench, row)] == [False]


@pytest.mark.parametrize(
    ("most", "gib_an_image", "tried", "found"),
    [
        (64, 0.5, [128, 64], 64),  # too large
        (1024, 0.1, [128, 256, 512], 512),  # with room to spare
        (200, 0.1, [128, 256], 128),  # it looks so, but is too large
        (128, 0.9, [128], 128),
        (0, 0.0, [128, 64, 32], 32),  # nothing works
    ],
)
def test_the_batch_of_a_training_step(most, gib_an_image, tried, found, tmp_path, monkeypatch):
    asked = []

    def race(contestants, task, rounds, repeats, at_once):
        asked.append(task["batch"])
        if task["batch"] > most:
            raise ValueError("None of the contestants can run")
        mib = 1024 * gib_an_image * task["batch"]
        facts = {"peak_mib": mib, "on_card": True}
        return {each.name: Timing([[1.0]], facts) for each in contestants}

    monkeypatch.setattr(card_rows, "race", race)
    monkeypatch.setattr(card_rows, "write_weights", lambda *_: None)
    bench = card_rows.Bench(H200, tmp_path, card_rows.time.monotonic() + 1000, 224)
    row = card_rows.Row("ViT_L16", training=True)
    bench.run(row, row.runners(gpu.FIRST, H200))
    assert (asked, row.batch) == ([*tried, found], found)  # the last is timm
    assert list(row.results) == (["ours, JAX", "timm, compiled"] if most else [])


def test_what_runs_on_the_processor_is_left_out(tmp_path, monkeypatch, capsys):
    """PyTorch without CUDA beside JAX with it, for example."""

    def race(contestants, *_):
        return {x.name: Timing([[1.0]], {"on_card": x.name == "Flax"}) for x in contestants}

    monkeypatch.setattr(card_rows, "race", race)
    monkeypatch.setattr(card_rows, "write_weights", lambda *_: None)
    bench = card_rows.Bench(H200, tmp_path, card_rows.time.monotonic() + 1000, 224)
    row = card_rows.Row("ViT_B16", 1)
    bench.run(row, row.runners(gpu.SECOND, H200))
    assert list(row.results) == ["Flax"]
    assert "ours, torch: left out, its library sees no card" in capsys.readouterr().err


def test_a_machine_without_a_card_says_so():
    with pytest.raises(ValueError, match=r"that JAX sees.*--tiny.*Received: cpu"):
        card.first_card({"JAX_PLATFORMS": "cpu"})


def test_what_comes_too_late_is_named(tmp_path, capsys):
    bench, row = (
        card_rows.Bench(H200, tmp_path, card_rows.time.monotonic() + 1, 224),
        card_rows.Row("ViT_B16", 1),
    )
    gpu.measure(bench, row, gpu.SECOND, None)
    assert row.left_out == ["timm, eager", "Flax", "ours, torch"]
    assert "no time is left for timm, eager; Flax; ours, torch" in capsys.readouterr().out


def test_memory_of_a_card(monkeypatch):
    numbers = {"bytes_in_use": 3, "peak_bytes_in_use": 5}
    device = SimpleNamespace(memory_stats=lambda: numbers)
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(local_devices=lambda: [device]))
    monkeypatch.setitem(sys.modules, "torch", None)
    assert memory.on_card() == memory.used() == (3, 5)
    numbers.clear()  # a processor
    assert memory.on_card() is None
    assert memory.used()[0] > 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_several_steps_go_to_a_card_before_one_waits(monkeypatch, capsys):
    log = []
    waiting = SimpleNamespace(block_until_ready=lambda: log.append("wait"))

    def build(batch):
        assert batch == 8
        return lambda: log.append("step") or waiting, {"logits": [1.0]}

    def seconds(job):
        job()
        return 6.0

    monkeypatch.setitem(sys.modules, "benchmarks.contestants.fake", SimpleNamespace(build=build))
    monkeypatch.setattr(turns, "seconds", seconds)
    monkeypatch.setattr(sys, "argv", ["process", "fake", '{"batch": 8, "launches": 3}'])
    monkeypatch.setattr(sys, "stdin", io.StringIO("2\n"))
    process.main()
    facts, answer = map(json.loads, capsys.readouterr().out.splitlines())
    assert facts == {"logits": [1.0], "on_card": False}
    assert answer["seconds"] == [2.0, 2.0]
    assert log == ["step", "step", "step", "wait"] * 5  # two to compile, one before it counts


def test_a_contestant_that_takes_too_long_is_left_out(capsys):
    with pytest.raises(ValueError, match="None of the contestants can run"):
        race([Contestant("slow", "ours")], {"limit": 1}, 1, 1)
    assert "slow: left out, not ready in the time that was left" in capsys.readouterr().err


def test_contestants_are_built_at_the_same_time(monkeypatch):
    together = threading.Barrier(2, timeout=10)

    class Process:
        def __init__(self, contestant, task):
            self.name, self.facts = contestant.name, {}
            together.wait()

        def take(self, repeats):
            return [1.0] * repeats

        def end(self):
            pass

    monkeypatch.setattr(side_by_side, "Process", Process)
    contestants = [Contestant("a", "ours"), Contestant("b", "ours")]
    assert list(race(contestants, {}, 2, 1, at_once=True)) == ["a", "b"]
