"""Numbers, tables and progress as people read them."""

from __future__ import annotations

import re

import pytest

from keras_vit.cli.output import show
from keras_vit.utils import progress
from keras_vit.utils.numbers import readable
from keras_vit.utils.progress import Progress, duration
from keras_vit.utils.tables import Page, Table

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1070.4, "1,070"), (1_234_567, "1,234,567"), (100, "100"), (99.96, "100"),
        (99.94, "99.9"), (12.34, "12.3"), (9.996, "10.0"), (9.99, "9.99"), (0.853, "0.85"),
        (0.0996, "0.10"), (0.0123, "0.012"), (0.00204, "0.0020"), (0, "0"), (-12.34, "-12.3"),
    ],
)  # fmt: skip
def test_readable(number, text):
    assert readable(number) == text


def test_a_duration():
    assert [duration(s) for s in (5.4, 65, 3 * 3600 + 62)] == ["0:05", "1:05", "3:01:02"]


ROWS = [("a [red]", "1.5", "yes"), ("longer", "12.25", "no")]
TABLE = Table(ROWS, ("", "number", "fits"), (0, 2))


def test_a_table_is_plain_text():
    assert str(TABLE).splitlines() == [
        "         number  fits",
        "a [red]     1.5  yes",
        "longer    12.25  no",
    ]
    assert str(Table([("a", "1"), ("bcd", "20")])) == "a     1\nbcd  20"
    assert str(Page("first", "", TABLE)).splitlines()[:2] == ["first", ""]
    wide = Table([("x" * 300, "y" * 300)])
    assert str(wide) == "x" * 300 + "  " + "y" * 300


def test_a_terminal_has_lines(capsys, monkeypatch):
    show(Page("first", TABLE), Page("second"))
    assert capsys.readouterr().out == f"first\n{TABLE}\n\nsecond\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for name, value in {"TERM": "xterm", "COLUMNS": "30"}.items():
        monkeypatch.setenv(name, value)
    show(Page("first", TABLE))
    drawn = capsys.readouterr().out
    assert "──" in drawn and "a [red]" in drawn
    lines = re.sub(r"\x1b\[[0-9;]*m", "", drawn).splitlines()
    assert len(lines) == 1 + 2 + len(ROWS)
    assert max(map(len, lines)) <= 30


@pytest.fixture
def clock(monkeypatch):
    """A second passes at each look at it."""
    seconds = iter(range(1000))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: float(next(seconds)))


def test_the_progress_of_a_run(clock, capsys):
    with Progress(900, 32, 2) as bar:
        bar.resumed(100)
        for step in (101, 102, 103):
            bar.show(step, {"loss": 0.5})
        bar.evaluated(103, {"loss": 0.25, "val_loss": 0.5}, 0.001)
    assert capsys.readouterr().out.splitlines() == [
        "goes on from step 100 of 900",
        "step 103/900  21.3 images/s  19:56 left  lr 0.001  loss 0.2500  val_loss 0.5000",
    ]


def test_a_terminal_has_a_line_that_is_written_anew(clock, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for name, value in {"TERM": "xterm", "COLUMNS": "90"}.items():
        monkeypatch.setenv(name, value)
    with Progress(1000, 2000, "auto") as bar:
        for step in (100, 101, 102):
            bar.show(step, {"loss": 0.5})
        bar.evaluated(102, {"loss": 0.25}, 0.001)
    written = capsys.readouterr().out
    assert "step 101/1,000 " in written and "2,000 images/s  14:59 left  loss 0.5000" in written
    assert "lr 0.001  loss 0.2500\n" in written  # above the line that remains
    assert written.endswith("\x1b[?25h\r\x1b[1A\x1b[2K")  # the line is gone, the cursor is back


def test_a_notebook_has_plain_text(capsys, monkeypatch):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert str(TABLE).splitlines()[0] == "         number  fits"
    show(Page("first", TABLE))
    with Progress(1000, 2000, 2) as bar:
        bar.evaluated(102, {"loss": 0.25}, 0.001)
    assert capsys.readouterr().out == f"first\n{TABLE}\nstep 102/1,000  lr 0.001  loss 0.2500\n"


def test_a_file_has_no_control_codes(clock, capsys, monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "CLICOLOR_FORCE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("TERM", "xterm")
    show(Page("first", TABLE))
    with Progress(1000, 2000, "auto") as bar:
        for step in (100, 101, 102):
            bar.show(step, {"loss": 0.5})
        bar.evaluated(102, {"loss": 0.25}, 0.001)
    written = capsys.readouterr().out
    assert f"first\n{TABLE}\nstep 102/1,000  " in written
    assert not re.search(r"[^\n -~]", written)


def test_silence(capsys):
    with Progress(10, 1, 0) as bar:
        bar.resumed(1)
        bar.show(2, {})
        bar.show(3, {})
        bar.evaluated(3, {}, 0.1)
    assert capsys.readouterr() == ("", "")
