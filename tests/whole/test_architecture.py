"""The house keeps its rules, and each rule notices when it is broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import architecture
from support.architecture import MAY_IMPORT, RULES, sources
from support.paths import ROOT


@pytest.fixture(scope="module")
def package():
    return sources(ROOT / "keras_vit")


def fail_on(breaches: list[str], rule: str) -> None:
    if breaches:
        pytest.fail(f"{rule}\n{relative(breaches, ROOT)}", pytrace=False)


def relative(breaches: list[str], root: Path) -> str:
    return "\n".join(breaches).replace(f"{root}/", "")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule, package):
    fail_on(rule(package), rule.__doc__.partition("\n")[0])


@pytest.mark.parametrize("folder", ["tools", "tests", "benchmarks", "examples"])
def test_other_files_are_short(folder):
    fail_on(architecture.long_files(sources(ROOT / folder)), "A file has one idea.")


def test_every_row_of_the_table_is_a_package_and_names_only_rows_above_it(package):
    above = []
    for name, allowed in MAY_IMPORT.items():
        assert f"keras_vit.{name}" in package or name in ("__init__", "__main__")
        if allowed != architecture.ANYTHING:
            assert set(allowed.split()) <= set(above), name
        above.append(name)


# A house that breaks every rule. Text -> the breaches, as `rule: file:line` and a word of each.
BROKEN = {
    "version.py": "",
    "stray.py": "",
    "utils/__init__.py": "",
    "utils/files.py": "def _hidden(): pass\ndef shown(): pass\n",
    "layers/__init__.py": "from house.layers.norm import Norm\n",
    "layers/norm.py": "from house.utils import files\nNorm = files._hidden\n",
    "layers/up.py": "from house import models\nfrom house import Norm\n",
    "layers/typed.py": "if TYPE_CHECKING:\n    from house.models.vit import ViT\n",
    "layers/lazy.py": "def late():\n    from ..models import vit\n",
    "layers/spoken.py": "where = 'house.models.vit'\n",
    "models/__init__.py": "",
    "models/vit.py": "from house.utils.files import _hidden, shown\nfrom house import layers\n",
    "data/__init__.py": "from house.data.reader import read\n",
    "data/reader.py": "from . import writer\n",
    "data/writer.py": "def write():\n    from house.data import read\n",
    "nowhere/__init__.py": "",
    "__init__.py": "from house.layers import Norm\n",
    "plots/__init__.py": "",
    "plots/__init__.pyi": "from . import chart\nfrom ..models.vit import ViT\n",
    "plots/chart.py": "\nfrom house import plots\n",
}


@pytest.fixture
def broken(tmp_path):
    for name, text in BROKEN.items():
        path = tmp_path / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return sources(tmp_path / "house")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            architecture.wrong_ways,
            [
                "layers/lazy.py:2: layers may not import models (house.models.vit)",
                "layers/spoken.py:1: layers may not import models (house.models.vit)",
                "layers/typed.py:2: layers may not import models (house.models.vit)",
                "layers/up.py:1: layers may not import models (house.models)",
                "layers/up.py:2: layers may not import __init__ (house)",
                "nowhere/__init__.py:1: nowhere has no row in MAY_IMPORT",
                "plots/__init__.pyi:2: plots may not import models (house.models.vit)",
                "stray.py:1: stray has no row in MAY_IMPORT",
            ],
        ),
        (
            architecture.private_names,
            [
                "layers/norm.py:2: _hidden belongs to house.utils.files alone",
                "models/vit.py:1: _hidden belongs to house.utils.files alone",
            ],
        ),
        (architecture.strays, ["stray.py:1: a module belongs into a package"]),
        (
            architecture.circles,
            [
                "data/__init__.py:1: a circle: "
                "house.data -> house.data.reader -> house.data.writer -> house.data",
                "data/reader.py:1: a circle: "
                "house.data.reader -> house.data.writer -> house.data -> house.data.reader",
                "data/writer.py:2: a circle: "
                "house.data.writer -> house.data -> house.data.reader -> house.data.writer",
                "plots/__init__.pyi:1: a circle: house.plots -> house.plots.chart -> house.plots",
                "plots/chart.py:2: a circle: house.plots.chart -> house.plots -> house.plots.chart",
            ],
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_rule_notices_every_breach(rule, expected, broken, tmp_path):
    assert sorted(relative(rule(broken), tmp_path / "house").splitlines()) == expected


def test_the_rules_of_size_notice_one_too_many(tmp_path):
    house = tmp_path / "house"
    house.mkdir()
    for name in ("__init__", "a", "b", "c"):
        (house / f"{name}.py").write_text("x = 1\n" * 3)
    tree = sources(house)
    assert architecture.full_folders(tree, most=3) == []
    assert architecture.full_folders(tree, most=2) == [
        f"{house}:1: 3 modules; at most 2 in one folder"
    ]
    assert architecture.long_files(tree, most=3) == []
    assert len(architecture.untold(tree)) == 4
    (house / "a.py").write_text('"""What it is for."""\n')
    (house / "b.py").write_text('"""What it\nis for."""\n')
    assert [line.split(":")[0] for line in architecture.untold(sources(house))] == [
        f"{house}/{name}.py" for name in ("__init__", "b", "c")
    ]
    assert architecture.long_files(tree, most=2)[0] == (
        f"{house}/__init__.py:3: at most 2 lines in one file"
    )
