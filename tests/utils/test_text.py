from __future__ import annotations

import ast
import io
import random

import pytest
from support.paths import ROOT

from keras_vit.utils import tables
from keras_vit.utils.progress import Progress
from keras_vit.utils.text import labels_text, printable, read_labels, say

HARMLESS = [
    "cat",
    "blå",
    "mąka żytnia",
    "犬 😀",
    "a b\u00a0c",
    "C:\\new\\x41",
    "\u200dzwj",
    "100 %",
]


def test_printable_by_hand():
    for text in HARMLESS:
        assert printable(text) == text
    assert printable("a\nb\tc\r\0") == r"a\u000ab\u0009c\u000d\u0000"
    assert printable("\x1b[31mred\x9b0m") == r"\u001b[31mred\u009b0m"
    assert printable("caf\udce9") == r"caf\udce9"  # a byte that is no UTF-8, as Python keeps it
    assert printable("\u202egpj.exe\u2028") == r"\u202egpj.exe\u2028"
    assert printable("a\n\tb\r", keep="\n\t") == "a\n\tb\\u000d"


def test_say_writes_what_the_output_can_hold():
    for encoding, expected in (("utf-8", "blå"), ("ascii", r"bl\xe5"), ("latin-1", "blå")):
        file = io.TextIOWrapper(io.BytesIO(), encoding)
        say("blå\n\x1b\udcff", file)
        written = file.buffer.getvalue().decode(encoding)
        assert written.splitlines() == [expected, r"\u001b\udcff"]


def test_labels_by_hand(tmp_path):
    assert labels_text(["cat", "blå", "a\nb", r"C:\new", r"\u000a"]) == (
        "cat\nblå\na\\u000ab\nC:\\new\n\\u005cu000a\n"
    )
    path = tmp_path / "labels.txt"
    for written, names in (
        (b"", ()),
        (b"\n", ("",)),
        (b"cat\ndog", ("cat", "dog")),
        (b"\xef\xbb\xbfcat\r\ndog\r\n", ("cat", "dog")),  # Notepad
        ("a\x85b\u2028c\x0cd\n".encode(), ("a\x85b\u2028c\x0cd",)),  # lines for `splitlines` alone
    ):
        path.write_bytes(written)
        assert read_labels(path) == names
    with pytest.raises(ValueError, match=r"a line for each class of the model, 3. Received: 1"):
        read_labels(path, 3)


def test_any_names_come_back(tmp_path):
    rng = random.Random(0)
    parts = [
        *"\\u0a5c \n\r\t\0\x1b\x85\u2028\ufeff\u202e\udcff\ud83d😀å",
        "\\u000a",
        "\\u005c",
        "\\",
    ]
    names = ["".join(rng.choices(parts, k=rng.randrange(9))) for _ in range(3000)]
    (tmp_path / "labels.txt").write_text(labels_text(names), "utf-8")
    assert list(read_labels(tmp_path / "labels.txt", 3000)) == names
    text = (tmp_path / "labels.txt").read_text("utf-8")
    assert text.count("\n") == len(text.splitlines()) == 3000


def test_tables_and_progress_print_no_escapes():
    assert str(tables.Table([["\x1b[31m", "a\nb"]])) == r"\u001b[31m  a\u000ab"
    file = io.StringIO()
    with Progress(3, 1, 2, unit="\x1b[31m", file=file) as progress:
        progress.evaluated(1, {"\x1b[32m": 1.0}, 0.1)
    assert "\x1b" not in file.getvalue() and r"\u001b[31m 1/3" in file.getvalue()


def test_everything_is_printed_by_say():
    """`download.py` runs without the package; what it prints has no names of others."""
    exempt = {"keras_vit/utils/text.py", "keras_vit/applications/download.py"}
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "keras_vit").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    }
    assert found == exempt
