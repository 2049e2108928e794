"""What a person gets who installs the package: imports, data files, the README's tables."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import re
import subprocess
import sys

import keras
import pytest
from support.paths import ROOT

import keras_vit
from keras_vit import planner
from keras_vit.applications.released_files import RELEASED


def _imported(statement: str) -> set[str]:
    """Top-level modules after a statement, in a new process."""
    script = f"{statement}; import sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(result.stdout.splitlines()[-1].split())


def test_importing_the_package_imports_nothing_heavy_beside_keras():
    extra = _imported("import keras_vit") - _imported("import keras")
    assert "keras_vit" in extra
    assert extra - set(sys.stdlib_module_names) == {"keras_vit"}


def test_the_public_names_are_there_and_documented():
    for name in keras_vit.__all__:
        value = getattr(keras_vit, name)
        assert getattr(value, "__doc__", None), f"{name} has no docstring"


def test_the_installed_package_works_without_the_repository(tmp_path):
    """`pip install .` into an empty folder: the class names must be in the wheel."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--target", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import keras_vit; "
        "from keras_vit.data.preprocessing import labels; "
        "print(keras_vit.__file__, labels(1000)[0])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert str(tmp_path) in result.stdout and "n01440764" in result.stdout


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="once is enough")
def test_the_tables_of_the_readme_are_those_of_the_code():
    readme = (ROOT / "README.md").read_text()
    rows = [re.split(r" *\| *", line.strip("| ")) for line in readme.splitlines() if "|" in line]
    for name, config in keras_vit.VARIANTS.items():
        # Width, depth and so on, each family in the order of its fields; then the parameters.
        fields = dataclasses.asdict(config)
        facts = [fields[key] for key in fields if key not in ("title", "stem")]
        if isinstance(config, keras_vit.BiTConfig):
            facts = [", ".join(map(str, config.block_sizes)), config.width_factor, config.width]
        expected = [f"`{name}`", config.title, *facts, f"{planner.parameters(config):,}"]
        assert [str(cell) for cell in expected] in rows, name
    for file in RELEASED:
        expected = [
            f"`{file.variant}`", f"`{file.name}`", file.classes, file.image_size,
            file.source, "-" if file.top1 is None else file.top1,
            f"{file.payload_bytes / 2**20:.0f}", f"`{file.path}`",
        ]  # fmt: skip
        assert [str(cell) for cell in expected] in rows, (file.variant, file.name)


@pytest.mark.parametrize("folder", ["benchmarks", "examples", "tools"])
def test_scripts_import_what_there_is(folder):
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(
                "keras_vit"
            ):
                continue
            module = importlib.import_module(str(node.module))
            for name in (alias.name for alias in node.names):
                inside = hasattr(module, "__path__") and importlib.util.find_spec(
                    f"{node.module}.{name}"
                )
                assert hasattr(module, name) or inside, f"{path}: {node.module} has no {name}"
