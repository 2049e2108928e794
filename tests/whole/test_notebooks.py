"""The notebooks: whole, small, up to date, and run from top to bottom."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest
from support.paths import ROOT, SHARED

FOLDER = ROOT / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 300_000
# Folders of a machine, as Linux, macOS and Windows call them.
MACHINE_PATH = re.compile(r"(?<![\w.])/(home|root|work|tmp|Users|usr|var|opt|mnt)/|[A-Z]:\\\\")


def cells(path: Path, kind: str) -> list[dict]:
    return [
        cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == kind
    ]


def test_there_are_five():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["1_", "2_", "3_", "4_", "5_"]
    listed = re.findall(r"\((\d_\w+\.ipynb)\)", (FOLDER / "README.md").read_text("utf-8"))
    assert listed == [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:1])
def test_a_notebook_was_saved_after_a_whole_run(path):
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.read(path, as_version=4))
    text = path.read_text("utf-8")
    assert len(text.encode()) < MOST_BYTES
    assert not MACHINE_PATH.search(text)
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:1])
def test_a_notebook_installs_the_package_in_colab(path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    install = "".join(cells(path, "code")[0]["source"])
    (address,) = re.findall(r"git clone .*(https://\S+)", install)
    assert address == project["urls"]["Repository"], "Put the address of pyproject.toml into it."
    assert f"%cd -q {address.rpartition('/')[2]}/examples/notebooks" in install
    (extras,) = re.findall(r"%pip install --quiet \"../..\[(.+)\]\"", install)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_what_names_a_machine_is_noticed():
    assert MACHINE_PATH.search('"/home/me/photos"') and MACHINE_PATH.search("in /tmp/tmpab12/x")
    assert MACHINE_PATH.search(r'"C:\\Users"')
    assert not MACHINE_PATH.search("a/tmp/b, https://example.org/tmp/x, ../shared, photos/train")


def run(path: Path, folder: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    options = {"timeout": 600, "kernel_name": "python3"}
    place = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, resources=place, **options).execute()


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:1])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "alone"])
def test_a_notebook_runs(path, shared, tmp_path, monkeypatch):
    """A minute or two each. Without `../shared`, they work on what scikit-learn brings."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("KERAS_VIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_VIT_WEIGHTS_URL", (tmp_path / "nowhere").as_uri() + "/")
    if shared and not SHARED.is_dir():
        pytest.skip("needs the folder ../shared (real weights and photos), which is not there")
    folder = FOLDER
    if not shared:
        folder = tmp_path / "clone" / "examples" / "notebooks"
        shutil.copytree(FOLDER, folder)
        (tmp_path / "clone" / "benchmarks").symlink_to(ROOT / "benchmarks")
    run(path, folder)
