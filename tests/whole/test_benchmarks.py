"""The benchmarks start, and compare what they time as they say."""

from __future__ import annotations

import ast
import re
import runpy
import sys

import pytest
from support.paths import ROOT

from benchmarks.common import memory, side_by_side, turns
from benchmarks.common.side_by_side import Contestant, Goal, Timing, judged, race

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


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory():
    before = memory.new_peak()
    block = bytearray(b"x" * 100 * 2**20)
    assert memory.resident() - before > 90 * 2**20
    del block
    assert memory.peak() - before > 90 * 2**20
    assert memory.new_peak() - before < 50 * 2**20
