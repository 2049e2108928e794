"""Fixtures that several test files share. Everything outside the repository is found here."""

from __future__ import annotations

import gc
import json
import os
import re
import runpy
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from support.paths import GOLDEN, ROOT, SHARED

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
# Most of the time of these small models is XLA's compilation, here and in the programs started.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
)
# Tracing makes so many objects that by Python's own thresholds a twentieth of all time would go
# into looking for garbage.
gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="module", autouse=True)
def _what_lives_is_not_walked_over_again():
    """TensorFlow keeps every graph of a process, millions of objects in the end.

    Each full garbage collection walks over all of them, and Keras asks for one whenever it
    quantizes a layer. What is alive after a module is therefore left out from then on.
    """
    gc.freeze()  # what the imports have made
    yield
    gc.collect()
    gc.freeze()


TI16 = (
    "Ti_16-i21k-300ep-lr_0.001-aug_none-wd_0.03-do_0.0-sd_0.0"
    "--imagenet2012-steps_20k-lr_0.03-res_224.npz"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On another backend than TensorFlow only the tests run that are marked `any_backend`.

    Those marked `one_backend` in such a file do not: what they test is the same on all.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        skip = pytest.mark.skip(reason="for TensorFlow's backend; the others run `any_backend`")
        for item in items:
            if "any_backend" not in item.keywords or "one_backend" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real weights and photos, which lies beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("needs the folder ../shared (real weights and photos), which is not there")
    return SHARED


@pytest.fixture(scope="session")
def ti16_path(shared: Path) -> Path:
    """The real ViT-Ti/16, ImageNet-21k then ImageNet-1k, 224 px."""
    return shared / "weights" / TI16


@pytest.fixture(scope="session")
def photos(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """100 ImageNet photos, named by their class index: `000_n01440764_tench.JPEG`."""
    folder = tmp_path_factory.mktemp("photos")
    with zipfile.ZipFile(shared / "data" / "in1k_100_short256.zip") as archive:
        archive.extractall(folder)
    return sorted(folder.rglob("*.JPEG"))


@pytest.fixture(scope="session")
def openvino_core():
    """OpenVINO's engine: one for all tests of a process.

    Each engine of OpenVINO 2026.4 gives the thread another stack for signals, and the one from
    before when it ends. The first of two that ends frees its own while the second remembers it:
    after both, the next signal, SIGTERM for example, crashes the process.
    """
    return pytest.importorskip("openvino", reason="not installed").Core()


class Golden:
    """One fixture: `checkpoint` (a path), `arrays` (what the original computed), `facts`."""

    def __init__(self, name: str):
        folder = GOLDEN
        if not (folder / f"{name}.json").exists():
            folder = SHARED / "golden"  # the larger ones are not copied into the repository
        if not (folder / f"{name}.json").exists():
            pytest.skip(f"needs ../shared/golden/{name}.json, which is not there")
        self.checkpoint = folder / f"{name}.npz"
        self.facts = json.loads((folder / f"{name}.json").read_text())
        arrays = folder / f"{name}.golden.npz"
        self.arrays: dict[str, np.ndarray] = {}
        if arrays.exists():
            with np.load(arrays) as file:
                self.arrays = dict(file)


@pytest.fixture
def golden():
    """`golden("vit_token")` reads one fixture of tests/golden."""
    return Golden


@pytest.fixture
def tool(monkeypatch, capsys):
    """`tool("predict", "a.jpg")` runs it in this process: exit code, output, errors."""

    def run(name: str, *arguments: object) -> tuple[int, str, str]:
        script = ROOT / "tools" / f"{name}.py"
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(script), run_name="__main__")
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        # It is no terminal: a log that one can read and search.
        assert not re.search(r"[^\n -\U0010ffff]|\x7f", captured.out + captured.err)
        assert isinstance(end.value.code, int)
        return end.value.code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def colour_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 8 photos, a colour each."""
    from support.colour_photos import write_photos

    return write_photos(tmp_path_factory.mktemp("data") / "colours", 8, ending="jpg")


@pytest.fixture(scope="session")
def colour_run(colour_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a short training on them leaves, of a model with one block."""
    from keras_vit import runs
    from keras_vit.runs import from_settings

    folder = tmp_path_factory.mktemp("runs") / "colours"
    settings = runs.settings_for(
        str(colour_photos), model="small", image_size=16, steps=40, batch_size=8, resize="crop",
        interpolation="bicubic",
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(from_settings.SMALL_MODEL, "depth", 1)
        runs.run(settings, folder, verbose=0)
    return folder
