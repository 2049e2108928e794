"""The benchmarks start, and compare what they time as they say."""

from __future__ import annotations

import ast
import importlib.util
import re
import runpy
import sys

import numpy as np
import pytest
from support.paths import ROOT

from benchmarks.common import comparison, memory, side_by_side, turns
from benchmarks.common.comparison import agreeing
from benchmarks.common.side_by_side import Contestant, Goal, Timing, judged, race, table
from benchmarks.speed import deploy

FOLDER = ROOT / "benchmarks"
SCRIPTS = sorted([*FOLDER.glob("speed/*.py"), *FOLDER.glob("size/*.py")])


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_help(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [path.name, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    document = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert document is not None
    assert document in shown
    assert f"-m benchmarks.{path.parent.name}.{path.stem}" in document


def test_every_command_that_is_written_down_is_there():
    files = [ROOT / "Makefile", ROOT / "README.md", *ROOT.glob("docs/*.md"), *FOLDER.rglob("*.py")]
    named = {
        name
        for path in files
        for name in re.findall(r"benchmarks[/.](\w+[/.]\w+)", path.read_text("utf-8"))
    }
    there = {path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.py")}
    assert len(named) > len(SCRIPTS)
    assert {name.removesuffix(".py").replace(".", "/") for name in named} <= there


def test_turns():
    calls = []
    times = turns.by_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b", "a", "b"]
    assert {name: len(values) for name, values in times.items()} == {"a": 2, "b": 2}
    assert turns.ratio([6.0, 1.0, 8.0], [2.0, 1.0, 4.0]) == (2.0, 1.0, 3.0)


def test_goals():
    """The fastest of ours counts, and of memory the least of theirs."""
    results = {
        "ours": Timing([[4.0], [4.0]], {"step_mib": 50}),
        "ours, XLA": Timing([[2.0], [2.0]], {"step_mib": 100}),
        "theirs": Timing([[5.0], [7.0]], {"step_mib": 120}),
        "theirs, XLA": Timing([[9.0], [9.0]], {"step_mib": 90}),
    }
    ours, theirs = ("ours", "ours, XLA"), ("theirs", "theirs, XLA")
    goals = [Goal(ours, theirs, 3.0), Goal(ours, theirs, 1.0, memory=True), Goal(ours, ("x",), 9)]
    speed, needs = judged(results, goals)
    assert (speed["ours"], speed["theirs"]) == ("ours, XLA", "theirs")
    assert (speed["ratio"], speed["spread"], speed["reached"]) == (3.0, [2.5, 3.5], True)
    assert (needs["theirs"], needs["ratio"], needs["reached"]) == ("theirs, XLA", 0.9, False)


def test_a_contestant_that_fails_is_named_and_left_out(monkeypatch, capsys):
    broken = Contestant("broken", "import_timm")  # a module without `build`
    with pytest.raises(ValueError, match="None of the contestants can run"):
        race([broken, Contestant("absent", "nowhere")], {}, 1, 1)
    said = capsys.readouterr().err
    assert re.search(r"broken: left out, ended with code 1 \(AttributeError: .*'build'\)", said)
    assert "absent: left out, not here (No module named" in said

    class Sudden:
        """Fails in its second turn."""

        def __init__(self, contestant, task):
            self.name, self.facts, self.turns = contestant.name, {}, 0

        def take(self, repeats):
            self.turns += 1
            if self.name == "theirs" and self.turns == 2:
                raise side_by_side.CannotRunError("ended with code -9 (no message)")
            return [2.0] * repeats

        def end(self):
            pass

    monkeypatch.setattr(side_by_side, "Process", Sudden)
    results = race([Contestant("ours", "ours"), Contestant("theirs", "ours")], {}, 3, 2)
    assert {name: timing.seconds for name, timing in results.items()} == {"ours": [[2.0, 2.0]] * 3}
    assert "theirs: left out, ended with code -9" in capsys.readouterr().err


def _timing(**facts):
    return Timing([[1.0]], {"step_mib": 1, "peak_mib": 1, **facts})


def test_what_computes_something_else_is_named_and_left_out(capsys):
    expected = np.array([0.0, 1.0, 2.0])  # a range of 2
    results = {
        "ours": _timing(logits=[0.0, 1.0, 2.001]),
        "near": _timing(logits=[0.0, 1.1]),  # the first ones only
        "far": _timing(logits=[0.5, 1.0]),
        "broken": _timing(logits=[float("nan"), 1.0]),
        "limit": _timing(),
    }
    assert list(agreeing(results, expected, 0.1)) == ["ours", "near", "limit"]
    assert [results[name].facts["difference"] for name in ("near", "far")] == pytest.approx(
        [0.05, 0.25]
    )
    said = capsys.readouterr().err
    assert "far: left out, the logits differ by 2.5e-01 of their range, more than 0.1" in said
    assert "broken: left out, the logits differ by nan" in said
    lines = table(results, 1, "ours").splitlines()
    assert [line.split()[-1] for line in lines[1:3]] == ["5.0e-04", "5.0e-02"]
    with pytest.raises(ValueError, match=r"^ours: the logits differ by 5\.0e-04"):
        agreeing(results, expected, 1e-4)
    with pytest.raises(ValueError, match="None of the contestants computes what it should"):
        agreeing({"far": results["far"]}, expected, 0.1)


def test_the_goals_of_what_is_deployed():
    """In each precision the best of ours is compared with the best of each other library."""
    names = {each.name for each in deploy.CONTESTANTS}
    assert len(names) == len(deploy.CONTESTANTS)
    assert set(deploy.QUICK) <= names
    for precision, least in (("float32", 1.1), ("bfloat16", 1.1), ("int8", 1.5)):
        goals = deploy.goals("ViT_S16", 1, precision)
        assert all(goal.least == least for goal in goals)
        assert {name for goal in goals for name in (*goal.of, *goal.to)} == names
        able = {each.name for each in deploy.CONTESTANTS if precision in each.precisions}
        for goal in goals:
            assert able & set(goal.of)
            assert able & set(goal.to)
            assert len({name.split(",")[0] for name in goal.to}) == 1


@pytest.fixture(scope="module")
def weights_of_all(tmp_path_factory):
    """A folder of a ViT-Ti/16 for images of 32 pixels, and its logits."""
    pytest.importorskip("safetensors", reason="the extra safetensors")
    from benchmarks.contestants.weights import write

    folder = tmp_path_factory.mktemp("weights")
    return folder, write(folder, "ViT_Ti16", 32)


@pytest.mark.parametrize(
    ("library", "engine", "kind", "precision", "modules"),
    [
        ("ours", "onnxruntime", "onnx", "float32", "onnx onnxruntime"),
        ("ours", "openvino", "openvino.onnx", "bfloat16", "onnx openvino"),
        ("ours", "openvino", "openvino.onnx", "int8", "onnx openvino"),
        ("ours", "litert", "tflite", "int8", "ai_edge_litert ai_edge_quantizer"),
        ("timm", "openvino", "onnx", "float32", "timm onnx openvino"),
        ("timm", "onnxruntime", "onnx", "int8", "timm onnx onnxruntime"),
    ],
)
def test_files_in_engines(library, engine, kind, precision, modules, weights_of_all):
    """Exported files give the logits of the model, for two images at once."""
    absent = [name for name in modules.split() if importlib.util.find_spec(name) is None]
    if absent:
        pytest.skip(f"not installed: {', '.join(absent)}")
    from benchmarks.contestants import engines, files

    folder, expected = weights_of_all
    task = {"model": "ViT_Ti16", "size": 32, "batch": 2}
    path = files.path_of(folder, library, kind, 2, precision)
    if not path.exists():
        files.write(path, library, **task, int8=precision == "int8")  # without a process of its own
    step, facts = engines.build(
        **task, precision=precision, training=False, folder=str(folder), library=library,
        engine=engine, kind=kind,
    )  # fmt: skip
    assert step().shape == (2, 1000)
    result = {"theirs": _timing(**facts)}
    assert agreeing(result, expected, comparison.ALLOWED[precision])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory():
    before = memory.new_peak()
    block = bytearray(b"x" * 100 * 2**20)
    assert memory.resident() - before > 90 * 2**20
    del block
    assert memory.peak() - before > 90 * 2**20
    assert memory.new_peak() - before < 50 * 2**20
