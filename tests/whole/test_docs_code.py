"""Every block of Python and shell in README and docs runs, or says above it why it does not.

A page is run as a reader would, from top to bottom in one folder: Python in this process with one
set of variables, `keras-vit` by its main function. There is no network; released weights are those
of models with one narrow block. The training of README makes one small step, those of the other
pages say what they would do (`--dry-run`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import re
import runpy
import shlex
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
from support.augreg_index import sample, write_index
from support.colour_photos import write_photos
from support.paths import ROOT

import keras_vit
from keras_vit.applications import weights
from keras_vit.checkpoints import hub
from keras_vit.cli.main import main
from keras_vit.data import write_records
from keras_vit.models import VARIANTS

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>.+?) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.M | re.S,
)
NARROW = {"width": 32, "depth": 1, "num_heads": 4, "mlp_dim": 64}


def shortened(command: list[str], train: bool) -> list[str]:
    """A command that takes seconds and not hours: a training of one step, or none."""
    if command[0] not in ("finetune", "train"):
        return command
    short = [*command, "--steps", "1", "--batch-size", "4", "--image-size", "32", "--overwrite"]
    return short if train else [*short, "--dry-run"]


class Block(NamedTuple):
    language: str
    code: str
    line: int
    reason: str | None


def blocks(text: str) -> Iterator[Block]:
    for found in BLOCK.finditer(text):
        if found["language"] in ("python", "bash"):
            line = text.count("\n", 0, found.start("code")) + 1
            yield Block(found["language"], found["code"], line, found["reason"])


def commands(code: str) -> Iterator[list[str]]:
    """The words of each command, with `*` replaced by the files that there are."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield [name for word in words for name in sorted(glob.glob(word)) or [word]]


def run_shell(code: str, train: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for program, *arguments in commands(code):
        if program == "keras-vit":
            assert main(shortened(arguments, train)) == 0, arguments
        elif program == "python" and arguments[0].startswith("examples/"):
            monkeypatch.setattr(sys, "argv", arguments)
            runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")
        else:
            pytest.fail(f"{program} cannot run here: write <!-- not run: why --> above the block")


@pytest.fixture(scope="module")
def small_weights() -> Iterator[pytest.MonkeyPatch]:
    """Narrow models in place of the variants, and their weights in place of released files."""
    with pytest.MonkeyPatch.context() as patch:
        for name, row in VARIANTS.items():
            if isinstance(row, keras_vit.ViTConfig) and row.stem is None:
                patch.setitem(VARIANTS, name, dataclasses.replace(row, **NARROW))
        yield patch


def narrow(classes: int, image_size: int = 224, **options):
    model = keras_vit.ViT(image_size, patch_size=16, classes=classes, **NARROW, **options)
    head = model.get_layer("head")
    head.kernel.assign(np.random.default_rng(0).normal(0, 0.1, head.kernel.shape))
    return model


@pytest.fixture(scope="module")
def place(tmp_path_factory, small_weights) -> Path:
    """A folder with what the pages name: photos, weights, the folder of a run."""
    folder = tmp_path_factory.mktemp("docs")
    released = folder / "released"
    released.mkdir()

    def fetch(file, sha256=None):
        path = released / f"{file.variant}-{file.name}.npz"
        if not path.exists():
            row = VARIANTS[file.variant]
            model = row.build(file.image_size, **row.architecture, classes=file.classes)
            head = model.get_layer("head")
            head.kernel.assign(np.random.default_rng(0).normal(0, 0.1, head.kernel.shape))
            keras_vit.save_weights(model, path)
        return path

    small_weights.setattr(weights, "fetch", fetch)
    small_weights.setenv("KERAS_VIT_CACHE", str(released))
    write_index(released / "augreg" / "index.csv", sample())
    small_weights.setattr(hub, "fetch", lambda *_: folder)  # the model below
    for name, count in (("photos", 8), ("flowers", 25), ("cifar10", 8)):
        for part in ("train", "validation", "test"):
            write_photos(folder / name / part, count)
    (folder / "new").mkdir()
    for path in ("photo.jpg", "new/a.jpg", "new/b.jpg"):
        pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3))
        keras.utils.save_img(folder / path, pixels, scale=False)
    (folder / "labels.csv").write_text("a.jpg,cat\nb.jpg,dog\n")
    write_records(folder / "photos", folder / "imagenet_tfrecords")

    keras_vit.save_weights(narrow(1000), folder / "B_16.npz")
    keras_vit.save_weights(narrow(1000, gelu="exact"), folder / "model.safetensors", format="timm")
    run = folder / "runs" / "photos"
    run.mkdir(parents=True)
    classes = sorted(path.name for path in (folder / "photos" / "train").iterdir())
    model = narrow(len(classes), 32, include_preprocessing=True, classifier_activation="softmax")
    model.save(run / "model.keras")
    (run / "labels.txt").write_text("".join(f"{name}\n" for name in classes))
    (run / "summary.json").write_text('{"data": {"resize": "squash"}}')
    return folder


@pytest.fixture
def no_network(monkeypatch):
    connect = socket.socket.connect

    def connect_here(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1"):
            raise OSError(f"There is no network in this test. Received: {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_here)


def test_there_is_no_network(no_network):
    with pytest.raises(OSError, match="no network in this test"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)


# Keras warns of its own default; saving for timm warns of the GELU, and the page says why.
@pytest.mark.filterwarnings("ignore:.*shuffle=True", "ignore:The model .* has .'gelu'")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(page, place, no_network, tmp_path, monkeypatch, capsys):
    found = [block for block in blocks(page.read_text("utf-8")) if block.reason is None]
    if not found:
        return
    here = tmp_path / "here"
    shutil.copytree(place, here, ignore=shutil.ignore_patterns("released"))
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "argv", ["keras-vit"])
    variables = {"__name__": page.stem}
    for block in found:
        where = f"{page.relative_to(ROOT)}:{block.line}"
        with contextlib.ExitStack() as stack:
            stack.callback(keras.config.set_dtype_policy, keras.config.dtype_policy())
            try:
                if block.language == "python":
                    # Blank lines before it, so that a traceback has the lines of the page.
                    code = "\n" * block.line + block.code
                    exec(compile(code, str(page), "exec"), variables)
                else:
                    run_shell(block.code, page.stem == "README", monkeypatch)
            except Exception as error:
                error.add_note(f"The block at {where} does not run:\n{capsys.readouterr().err}")
                raise


def test_a_block_that_is_not_run_says_why():
    text = (
        "<!-- not run: no GPU -->\n```bash\nls  # all\n```\n```python\nx = 1\n```\n```text\n```\n"
    )
    assert list(blocks(text)) == [
        Block("bash", "ls  # all\n", 3, "no GPU"),
        Block("python", "x = 1\n", 6, None),
    ]
    assert list(commands("a \\\n  'b c'  # d\n\n# e\nf\n")) == [["a", "b c"], ["f"]]
    unmarked = [block for page in PAGES for block in blocks(page.read_text("utf-8"))]
    assert len(unmarked) > 40
