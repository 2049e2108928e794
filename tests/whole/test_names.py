"""What docstrings, comments and pages name is there: files of ours, modules, functions."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.paths import ROOT, TESTS

FOLDERS = ("keras_vit", "tools", "examples", "benchmarks", "docs")
# Files of the originals are named with their project.
ORIGINALS = ("big_vision/", "vit_jax/", "task_adaptation/", "big_transfer/")
BACKTICKED = re.compile(r"`([\w./-]+\.py)\b")
OF_OURS = re.compile(rf"(?<![\w./-])((?:{'|'.join((*FOLDERS, 'tests'))})/[\w./-]+\.py)\b")
DOTTED = re.compile(r"\bkeras_vit(?:\.(?!md\b)[A-Za-z]\w*)+")  # not the name of a page
IMPORTED = re.compile(r"from (keras_vit[\w.]*) import (\w+(?:, \w+)*)")

# To a file; addresses and headings are left out.
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
PLACED = re.compile(r"`(\w+)` in\s+`([\w/.]+\.py)`")


def texts() -> Iterator[Path]:
    yield from (ROOT / name for name in ("README.md", "Makefile", "pyproject.toml"))
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            built = "node_modules" in path.parts or path.is_relative_to(ROOT / "docs" / "notebooks")
            if path.suffix in (".py", ".md") and not built:
                yield path


def names_in(line: str) -> Iterator[str]:
    yield from DOTTED.findall(line)
    for module, names in IMPORTED.findall(line):
        yield from (f"{module}.{name}" for name in names.split(", "))


def missing_files(text: str, path: Path) -> Iterator[tuple[int, str]]:
    """(line, name) of files that are not there, seen from the folders around `path`.

    A page may name a module of the package without its folders.
    """
    around = [folder for folder in path.parents if folder.is_relative_to(ROOT)]
    for number, line in enumerate(text.splitlines(), 1):
        for name in {*BACKTICKED.findall(line), *OF_OURS.findall(line)}:
            there = (
                name.startswith(ORIGINALS)
                or any((folder / name).is_file() for folder in (*around, ROOT / "keras_vit"))
                or (name.startswith("test_") and any(TESTS.rglob(name)))
                or (path.suffix == ".md" and any((ROOT / "keras_vit").rglob(name)))
            )
            if not there:
                yield number, name


def exists(name: str) -> bool:
    """Whether `keras_vit.a.b.c` is a module, or an attribute of one, or of a class in one."""
    module, parts = "keras_vit", name.split(".")[1:]
    while parts:
        try:
            importlib.import_module(f"{module}.{parts[0]}")
        except ModuleNotFoundError as error:
            if error.name != f"{module}.{parts[0]}":
                raise
            break
        module = f"{module}.{parts.pop(0)}"
    found = importlib.import_module(module)
    for part in parts:
        if isinstance(found, type) and part in getattr(found, "__annotations__", {}):
            return True
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def test_every_file_that_a_text_names_is_there():
    missing = [
        f"{path.relative_to(ROOT)}:{line}: there is no {name}"
        for path in texts()
        for line, name in missing_files(path.read_text("utf-8"), path)
    ]
    if missing:
        pytest.fail("\n".join(missing), pytrace=False)


def test_every_name_of_the_package_that_a_text_has_is_there():
    named = {
        name: f"{path.relative_to(ROOT)}:{number}"
        for path in texts()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        for name in names_in(line)
    }
    missing = [f"{place}: there is no {name}" for name, place in named.items() if not exists(name)]
    if missing:
        pytest.fail("\n".join(missing), pytrace=False)


def not_in_their_files(text: str) -> list[str]:
    """What a text calls "`name` in `file`" and the file does not define."""
    return [
        f"{name} in {file}"
        for name, file in PLACED.findall(text)
        if not re.search(
            rf"^(?:def {name}\(|class {name}\b|{name}\b.* = )",
            (ROOT / file).read_text("utf-8"),
            re.M,
        )
    ]


def test_the_walks_of_the_architecture_name_what_the_files_define():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    assert len(PLACED.findall(text)) > 30
    assert not_in_their_files(text) == []
    assert not_in_their_files("`gone` in\n`keras_vit/version.py`") == [
        "gone in keras_vit/version.py"
    ]


def test_what_is_not_there_is_noticed():
    text = "see `gone.py` and\n`tokens.py`, tools/gone.py, `big_vision/gone.py`"
    found = set(missing_files(text, ROOT / "keras_vit" / "layers" / "norm.py"))
    assert found == {(1, "gone.py"), (2, "tools/gone.py")}
    assert list(names_in("from keras_vit import a, b")) == ["keras_vit.a", "keras_vit.b"]
    assert list(names_in("`keras_vit.data.from_folder(x)`")) == ["keras_vit.data.from_folder"]
    assert exists("keras_vit.recipes.Recipe.total_steps")
    assert not exists("keras_vit.layers.gone")
    assert not exists("keras_vit.gone.Layer")


@pytest.mark.parametrize("path", [p for p in texts() if p.suffix == ".md"], ids=lambda p: p.stem)
def test_every_link_of_a_page_leads_somewhere(path):
    links = LINK.findall(path.read_text("utf-8"))
    missing = [link for link in links if not (path.parent / link).exists()]
    assert not missing, f"{path.relative_to(ROOT)} links to what is not there: {missing}"
