"""What docs/coming_from.md says of other libraries: their names and arguments are theirs.

Our side of each pair runs in test_docs_code.py.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from typing import Any

import pytest
from support.paths import ROOT

from benchmarks.contestants.import_timm import import_timm, import_transformers

PAGE = ROOT / "docs" / "coming_from.md"
LEFT = re.compile(r"<!-- not run: [^>]+ -->\n```python\n(.*?)^```$", re.M | re.S)


def left_code(title: str) -> str:
    """The left-hand sides of a section, one after the other."""
    page = PAGE.read_text("utf-8")
    (section,) = re.findall(rf"^## From {title}$(.*?)(?=^## |\Z)", page, re.M | re.S)
    found = LEFT.findall(section)
    assert len(found) == 5
    return "\n".join(found)


def refused(code: str) -> list[str]:
    """Names that a library does not have, and arguments that its functions do not take."""
    known: dict[str, Any] = {}
    wrong = []

    def value(node: ast.expr) -> Any:
        """What a dotted name of a library is; `None` for everything else."""
        if isinstance(node, ast.Name):
            return known.get(node.id)
        if not isinstance(node, ast.Attribute) or (owner := value(node.value)) is None:
            return None
        found = getattr(owner, node.attr, None)
        if found is None:
            wrong.append(ast.unparse(node))
        return found

    for node in ast.walk(ast.parse(code)):  # statements come before what is in them
        if isinstance(node, ast.Import):
            known |= {
                a.asname or a.name.split(".")[0]: importlib.import_module(a.name.split(".")[0])
                for a in node.names
            }
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            known |= {name.name: getattr(module, name.name) for name in node.names}
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute):
            known[ast.unparse(node.targets[0])] = value(node.value)
        elif isinstance(node, ast.Call) and (called := value(node.func)) is not None:
            parameters = inspect.signature(called).parameters.values()
            names = {parameter.name for parameter in parameters}
            if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
                wrong += [
                    f"{ast.unparse(node.func)}({keyword.arg}=)"
                    for keyword in node.keywords
                    if keyword.arg and keyword.arg not in names
                ]
    return wrong


def test_what_a_library_does_not_have_is_found():
    assert refused("import keras\nkeras.layers.Dense(12)\nkeras.Model.save(a=1)") == []
    assert refused("import keras\nkeras.layers.Dens(1)\nkeras.utils.load_img('a', siz=1)") == [
        "keras.layers.Dens",
        "keras.utils.load_img(siz=)",
    ]


def test_keras_applications_are_used_as_they_are():
    assert refused("import keras\n" + left_code("keras.applications")) == []


@pytest.mark.slow  # they import PyTorch
@pytest.mark.parametrize("title", ["keras-hub", "timm"])
def test_other_libraries_are_used_as_they_are(title):
    pytest.importorskip("torch", reason="needs PyTorch: make bench-peers")
    pytest.importorskip("keras_hub", reason="needs keras-hub: make bench-peers")
    import_timm()
    assert refused(left_code(title)) == []


@pytest.mark.slow
def test_transformers_5_has_no_tfvit():
    pytest.importorskip("torch", reason="needs PyTorch: make interop")
    transformers = import_transformers()
    assert not hasattr(transformers, "TFViTForImageClassification")
    assert hasattr(transformers, "ViTForImageClassification")
