"""What a person gets who installs the package: imports and data files."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import os
import subprocess
import sys

import pytest
from support.paths import ROOT

import keras_vit

PACKAGES = [
    module
    for name in keras_vit.__all__
    if inspect.ismodule(module := getattr(keras_vit, name)) and hasattr(module, "__path__")
]


@pytest.fixture(scope="module")
def seen() -> dict[str, set[str]]:
    """What a new process has imported and registered, which imports one thing after another."""
    script = """
import json, sys
import keras
modules = lambda: sorted({name.split(".")[0] for name in sys.modules})
seen = {"keras": modules()}
import keras_vit
seen |= {"package": modules(), "registered": [*keras.saving.get_custom_objects()]}
for name in keras_vit.__all__:
    getattr(keras_vit, name)
print(json.dumps({**seen, "all": modules()}))
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    printed = json.loads(result.stdout.splitlines()[-1])
    return {name: set(values) for name, values in printed.items()}


@pytest.mark.parametrize("imported", ["package", "all"])
def test_the_package_imports_nothing_heavy_beside_keras(imported, seen):
    extra = seen[imported] - seen["keras"]
    assert extra - set(sys.stdlib_module_names) == {"keras_vit", "lazy_loader"}


def test_jax_alone_trains_saves_and_opens_models(tmp_path):
    """TensorFlow is a dependency for its data pipelines and exports; the models do without."""
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "programs" / "without_tensorflow.py", tmp_path],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "trained True",
        "opened a.npz True",
        "opened b.safetensors True",
        "opened c.weights.h5 True",
        "resized (None, 3) (None, 2, 2, 8)",
        "loaded True",
    ]


def test_importing_the_package_registers_all_that_a_saved_model_may_name(seen):
    classes = {
        f"keras_vit>{node.name}"
        for path in (ROOT / "keras_vit").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
        and any("register_keras_serializable" in ast.unparse(d) for d in node.decorator_list)
    }
    assert "keras_vit>PatchEmbed" in classes
    assert classes <= seen["registered"]


def test_the_public_names_are_there_and_documented():
    for module in (keras_vit, *PACKAGES):
        assert len(module.__all__) == len(set(module.__all__)), module.__name__
        for name in module.__all__:
            value = getattr(module, name)
            assert getattr(value, "__doc__", None), f"{name} of {module.__name__} has no docstring"
            assert name in dir(module)


def test_every_package_is_public_or_named_here_as_one_that_is_not():
    folders = {path.parent.name for path in (ROOT / "keras_vit").glob("*/__init__.py")}
    assert folders - set(keras_vit.__all__) == {"cli", "utils"}


def test_a_misspelt_name_is_an_error_that_names_the_nearest(capsys):
    with pytest.raises(AttributeError) as error:
        keras_vit.ViT_B61  # noqa: B018
    # What the interpreter prints at the end of a program.
    sys.__excepthook__(error.type, error.value, error.tb)
    assert "Did you mean: 'ViT_B16'" in capsys.readouterr().err


def test_the_installed_package_works_without_the_repository(installed):
    """The class names, the stub and `py.typed` must be in the wheel."""
    script = (
        f"import sys; sys.path.insert(0, {str(installed)!r}); import keras_vit; "
        "from keras_vit.data.preprocessing import labels; "
        "print(keras_vit.__file__, labels(1000)[0])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=installed,
        env={**os.environ, "KERAS_BACKEND": "numpy"},  # the fastest to import
    )
    assert str(installed) in result.stdout and "n01440764" in result.stdout
    assert (installed / "keras_vit" / "py.typed").exists()


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
