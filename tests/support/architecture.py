"""The rules of the house: who may import whom, and what else holds for every file of the package.

The table is here and nowhere else: tests/whole/test_architecture.py checks the code against it,
and docs/architecture.py draws it. A rule is a function from the files of a tree to its breaches,
each a line that starts with `file:line`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Every package may import these two.
EVERYONE = ("utils", "version")
ANYTHING = "anything"
# Package, or module beside the packages -> what it may import besides itself and `EVERYONE`.
# The lowest come first: a row names only what stands above it.
MAY_IMPORT = {
    "version": "",
    "utils": "",
    "plots": "",
    "layers": "",
    "data": "",
    "distribution": "",
    "models": "layers",
    "recipes": "models data",
    "checkpoints": "models layers",
    "planner": "recipes models layers plots",
    "training": "recipes checkpoints distribution data models",
    "exports": "checkpoints data models layers plots",
    "serving": "exports",
    "applications": "planner checkpoints models layers",
    "predict": "applications checkpoints data distribution models",
    "analysis": "predict checkpoints data models layers plots",
    "evaluate": "predict training distribution data models layers plots",
    "runs": "analysis predict applications planner training recipes distribution data models "
    "layers plots",
    "experiments": "runs evaluate planner training recipes distribution data models plots",
    "cli": ANYTHING,
    "__main__": ANYTHING,
    "__init__": ANYTHING,
}
# What a row with `ANYTHING` may not import either. `__init__` is what users import; the package
# itself imports from the packages.
NEVER = {"cli": {"__init__", "__main__"}, "__main__": {"__init__"}, "__init__": {"cli", "__main__"}}
BESIDE_THE_PACKAGES = {"__init__", "__main__", "version"}
MOST_MODULES = 16
MOST_LINES = 350


@dataclass(frozen=True)
class Import:
    line: int
    module: str  # the file that is imported, a package's `__init__.py` included
    name: str  # what is taken from it, "" for the module itself


@dataclass(frozen=True)
class Source:
    """A file of Python: where it is, what it is called when imported, and what is in it."""

    path: Path
    module: str
    tree: ast.Module
    lines: int

    @property
    def is_face(self) -> bool:
        return self.path.stem == "__init__"

    @property
    def package(self) -> str:
        """The row of `MAY_IMPORT`: `data` for `keras_vit.data.sources.tfds`."""
        return package_of(self.module)


def package_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def sources(root: Path) -> dict[str, Source]:
    """Every file of Python below a folder, by module; the folder is the outermost package.

    A stub says what `lazy_loader` imports later. It is there too, as `module.pyi`.
    """
    found = {}
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.pyi")]):
        parts = path.relative_to(root.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text("utf-8")
        key = module if path.suffix == ".py" else f"{module}.pyi"
        found[key] = Source(path, module, ast.parse(text), len(text.splitlines()))
    return found


def imports(source: Source, tree: dict[str, Source]) -> Iterator[Import]:
    """What a file imports of its own tree: at the top, in functions, under TYPE_CHECKING.

    A string that is exactly the name of a module counts: such strings go to `import_module`.
    """
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            named = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, source)
            named = [
                (f"{module}.{alias.name}", "")
                if f"{module}.{alias.name}" in tree
                else (module, alias.name)
                for alias in node.names
            ]
        elif isinstance(node, ast.Constant) and "." in str(node.value):
            named = [(str(node.value), "")]
        else:
            continue
        for module, name in named:
            if module in tree and module != source.module:
                yield Import(node.lineno, module, name)


def _absolute(node: ast.ImportFrom, source: Source) -> str:
    if not node.level:
        return str(node.module)
    parts = source.module.split(".")
    above = parts[: len(parts) - node.level + source.is_face]
    return ".".join([*above, *([node.module] if node.module else [])])


def may_import(package: str, table: dict[str, str] = MAY_IMPORT) -> set[str]:
    """The packages that a package may import, `EVERYONE` and itself included."""
    if table[package] == ANYTHING:
        return set(table) - NEVER[package]
    everyone = EVERYONE if table[package] or package not in EVERYONE else ()
    return {package, *everyone, *table[package].split()}


def wrong_ways(tree: dict[str, Source], table: dict[str, str] = MAY_IMPORT) -> list[str]:
    """Imports that the table does not allow, and packages that have no row."""
    breaches = []
    for source in tree.values():
        if source.package not in table:
            breaches.append(f"{source.path}:1: {source.package} has no row in MAY_IMPORT")
            continue
        allowed = may_import(source.package, table)
        breaches += [
            f"{source.path}:{found.line}: {source.package} may not import "
            f"{package_of(found.module)} ({found.module})"
            for found in imports(source, tree)
            if package_of(found.module) not in allowed
        ]
    return breaches


def circles(tree: dict[str, Source]) -> list[str]:
    """Imports that lead back to the file that they stand in.

    Importing a module runs the `__init__.py` of every package around it. Those count too, but for
    the packages that the importing file is inside itself: they run already.
    """
    edges: dict[str, dict[str, str]] = {}
    for source in tree.values():
        targets = edges.setdefault(source.module, {})
        for found in imports(source, tree):
            for face in _with_faces(found.module):
                inside = face != found.module and f"{source.module}.".startswith(f"{face}.")
                if face in tree and not inside:
                    targets[face] = f"{source.path}:{found.line}"
    breaches = []
    for module, targets in edges.items():
        for target, place in targets.items():
            if back := _way(target, module, edges):
                breaches.append(f"{place}: a circle: {module} -> {back}")
    return breaches


def _with_faces(module: str) -> list[str]:
    """A module and the packages around it, the outermost first."""
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _way(start: str, end: str, edges: dict[str, dict[str, str]]) -> str:
    """The shortest way along the imports, as text; "" if there is none."""
    before = {start: ""}
    queue = [start]
    for module in queue:
        if module == end:
            way = [module]
            while before[way[0]]:
                way.insert(0, before[way[0]])
            return " -> ".join(way)
        for target in edges[module]:
            if target not in before:
                before[target] = module
                queue.append(target)
    return ""


def private_names(tree: dict[str, Source]) -> list[str]:
    """Names with a leading underscore that are used in another file than their own."""
    breaches = []
    for source in tree.values():
        modules = {}  # what a module is called in this file
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                where = _absolute(node, source) + "." if isinstance(node, ast.ImportFrom) else ""
                for alias in node.names:
                    if f"{where}{alias.name}" in tree:
                        modules[alias.asname or alias.name] = f"{where}{alias.name}"
        used = [(found.line, found.module, found.name) for found in imports(source, tree)]
        used += [
            (node.lineno, modules[ast.unparse(node.value)], node.attr)
            for node in ast.walk(source.tree)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in modules
        ]
        breaches += [
            f"{source.path}:{line}: {name} belongs to {module} alone"
            for line, module, name in used
            if name.startswith("_") and not name.endswith("__")
        ]
    return breaches


def full_folders(tree: dict[str, Source], most: int = MOST_MODULES) -> list[str]:
    """Folders with more modules than one person takes in."""
    folders: dict[Path, int] = {}
    for source in tree.values():
        folders[source.path.parent] = folders.get(source.path.parent, 0) + (not source.is_face)
    return [
        f"{folder}:1: {count} modules; at most {most} in one folder"
        for folder, count in folders.items()
        if count > most
    ]


def long_files(tree: dict[str, Source], most: int = MOST_LINES) -> list[str]:
    """Files with more than one idea in them, as their length tells."""
    return [
        f"{source.path}:{source.lines}: at most {most} lines in one file"
        for source in tree.values()
        if source.lines > most
    ]


def strays(tree: dict[str, Source]) -> list[str]:
    """Modules beside the packages that belong into one."""
    return [
        f"{source.path}:1: a module belongs into a package"
        for source in tree.values()
        if source.module.count(".") == 1
        and not source.is_face
        and source.package not in BESIDE_THE_PACKAGES
    ]


def first_line(source: Source) -> str:
    return (ast.get_docstring(source.tree) or "").partition("\n")[0]


def untold(tree: dict[str, Source]) -> list[str]:
    """Files whose docstring does not say in its first line what they are for."""
    return [
        f"{source.path}:1: the first line of the docstring must be a sentence"
        for source in tree.values()
        if source.path.suffix == ".py" and not first_line(source).endswith(".")
    ]


RULES = (wrong_ways, circles, private_names, full_folders, long_files, strays, untold)
