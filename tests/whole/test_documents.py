"""What the documents name is there: files of this repository, and modules of the package."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import keras
import pytest
from support.paths import ROOT

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="once is enough")
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]
FOLDERS = "benchmarks|docs|examples|keras_vit|tests|tools"
# Below keras_vit/ in a sketch, or a name alone.
FILE = re.compile(r"(?<![\w/.<>-])(?:[\w-]+/)*[\w-]+\.(?:py|kt|js)\b(?!`? *\()")
PLACE = re.compile(rf"(?<![\w/.-])(?:{FOLDERS})/[\w/.-]*\w")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)\)")
NAME = re.compile(r"`(keras_vit(?:\.\w+)+)\b(?!\*)")


def there(name: str, base: Path) -> bool:
    places = (base, ROOT, ROOT / "keras_vit")
    return any((place / name).exists() for place in places)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files(path):
    text = path.read_text("utf-8")
    named = {*FILE.findall(text), *PLACE.findall(text), *LINK.findall(text)}
    assert named
    missing = sorted(
        name
        for name in named
        if not name.endswith(".onnx")  # what a command of the text writes
        and not there(name, path.parent)
    )
    assert not missing, f"{path.name} names what is not there: {missing}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_names(path):
    for name in sorted(set(NAME.findall(path.read_text("utf-8")))):
        found = importlib.import_module("keras_vit")
        for part in name.split(".")[1:]:
            if not hasattr(found, part):
                importlib.import_module(f"{found.__name__}.{part}")
            found = getattr(found, part)
