"""The tree, the table and the picture of docs/architecture.md, from the code.

docs/generate.py writes them. What the picture shows is kept in the PNG as text, as pixels differ
from one matplotlib to the next.
"""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from support.architecture import (  # noqa: E402
    ANYTHING,
    EVERYONE,
    MAY_IMPORT,
    NEVER,
    Source,
    first_line,
    imports,
    may_import,
    package_of,
    sources,
)

PICTURE = ROOT / "docs" / "architecture.png"
PACKAGE = ROOT / "keras_vit"

# Package -> how far to the right it stands in the picture, and the colour of its subject. Its
# height follows from what it imports.
MODEL, TRAINING, MEASURING, DEPLOYING = "#2563a8", "#b4540a", "#6b3fa0", "#1a7f5a"
SUBJECTS = {
    "The model and its weights": MODEL,
    "Data and training": TRAINING,
    "Looking and measuring": MEASURING,
    "Deploying": DEPLOYING,
}
PLACES = {
    "layers": (1, MODEL),
    "models": (1, MODEL),
    "checkpoints": (1, MODEL),
    "applications": (1, MODEL),
    "predict": (3, MODEL),
    "plots": (2, MEASURING),
    "planner": (2, MEASURING),
    "analysis": (2, MEASURING),
    "evaluate": (3, MEASURING),
    "data": (3, TRAINING),
    "recipes": (3, TRAINING),
    "distribution": (4, TRAINING),
    "training": (4, TRAINING),
    "runs": (4, TRAINING),
    "experiments": (3, TRAINING),
    "exports": (0, DEPLOYING),
    "serving": (0, DEPLOYING),
}


def tree_text() -> str:
    """Every package and module, in the order of the table, with the first line of its text."""
    tree, lines = sources(PACKAGE), []
    order = ["__init__", *MAY_IMPORT]
    modules = [name for name in tree if not name.endswith(".pyi")]
    for module in sorted(
        modules, key=lambda name: (order.index(package_of(name)), name.split("."))
    ):
        source = tree[module]
        depth = module.count(".")
        name = source.path.parent.name + "/" if source.is_face else source.path.name
        lines.append(f"{'  ' * depth + name:30}{first_line(source)}")
    return "\n".join(["```text", *lines, "```"])


def table_text() -> str:
    rows = ["| package | may import |", "|---|---|"]
    for package, allowed in MAY_IMPORT.items():
        if allowed == ANYTHING:
            what = "anything but " + ", ".join(f"`{name}`" for name in sorted(NEVER[package]))
        else:
            what = ", ".join(f"`{name}`" for name in allowed.split()) or "nothing more"
        rows.append(f"| `{package}` | {'nothing' if package in EVERYONE else what} |")
    return "\n".join(rows)


def package_imports(tree: dict[str, Source]) -> dict[str, set[str]]:
    """Package -> the packages that it imports and may import, without itself."""
    found: dict[str, set[str]] = {package: set() for package in PLACES}
    for source in tree.values():
        if source.package in found:
            found[source.package] |= {package_of(one.module) for one in imports(source, tree)}
    return {
        package: others & may_import(package) & set(PLACES) - {package}
        for package, others in found.items()
    }


def needed_arrows(found: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The imports that do not follow from others: with A to B and B to C, not A to C."""
    below: dict[str, set[str]] = {}
    for package in sorted(found, key=list(MAY_IMPORT).index):
        below[package] = set().union(*({other, *below[other]} for other in found[package]))
    return [
        (package, other)
        for package, others in found.items()
        for other in sorted(others)
        if not any(other in below[between] for between in others)
    ]


def floors() -> dict[str, int]:
    """Package -> its floor: one above the highest that it may import."""
    found: dict[str, int] = {}
    for package in (name for name in MAY_IMPORT if name in PLACES):
        others = may_import(package) & set(PLACES) - {package}
        found[package] = 1 + max((found[other] for other in others), default=-1)
    return found


def shown(tree: dict[str, Source]) -> str:
    """All that the picture says, as text."""
    if missing := set(MAY_IMPORT) - set(PLACES) - {"cli", *EVERYONE, "__main__", "__init__"}:
        raise ValueError(f"Give {sorted(missing)} a column and a colour in PLACES.")
    boxes = [f"{package}: {question(tree, package)}" for package in PLACES]
    arrows = [f"{one} > {other}" for one, other in needed_arrows(package_imports(tree))]
    return "\n".join([str(PLACES), str(floors()), *boxes, *arrows])


def question(tree: dict[str, Source], package: str) -> str:
    return first_line(tree[f"keras_vit.{package}"]).rstrip(".").replace("`", "")


# In inches: a box, and from one box to the next.
WIDTH, HEIGHT, COLUMN, FLOOR = 2.55, 0.88, 2.95, 1.5
PORT, BEGIN, LANE, ROUND = 0.24, 0.2, 0.08, 0.08
GREY, INK = "#555b66", "#333333"


def draw() -> None:
    from matplotlib.figure import Figure

    tree = sources(PACKAGE)
    floor, top = floors(), max(floors().values()) + 1
    columns = 1 + max(column for column, _ in PLACES.values())
    across, up = columns * COLUMN, (top + 2) * FLOOR
    figure = Figure(figsize=(across, up), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-COLUMN / 2, across - COLUMN / 2)
    axes.set_ylim(-1.58 * FLOOR, (top + 0.42) * FLOOR)
    axes.set_axis_off()

    middle, wide = (columns - 1) / 2, across - (COLUMN - WIDTH)
    everything = "Every package may use them: checks, files, progress"
    _box(axes, (middle, top), wide, "cli", "The commands: they may use every package", GREY)
    _box(axes, (middle, -1), wide, "utils, version", everything, GREY)
    for name, (column, colour) in PLACES.items():
        _box(axes, (column, floor[name]), WIDTH, name, question(tree, name), colour)
    arrows = needed_arrows(package_imports(tree))
    for (package, _), points in zip(arrows, _ways(arrows, floor), strict=True):
        _arrow(axes, points, PLACES[package][1])
    for index, (subject, colour) in enumerate(SUBJECTS.items()):
        x, y = -WIDTH / 2 + 0.1 + index * 3.1, -1.45 * FLOOR
        axes.scatter([x], [y], s=110, marker="s", color=colour)
        axes.text(x + 0.2, y, subject, va="center", fontsize=12, color=INK)
    figure.savefig(PICTURE, dpi=110, metadata={"Description": shown(tree), "Software": None})


def _box(axes: Any, place: Any, width: float, name: str, text: str, colour: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y = place[0] * COLUMN, place[1] * FLOOR
    corner = (x - width / 2, y - HEIGHT / 2)
    style = "round,pad=0,rounding_size=0.1"
    look = {"facecolor": "white", "edgecolor": colour, "lw": 1.6}
    axes.add_patch(FancyBboxPatch(corner, width, HEIGHT, boxstyle=style, zorder=3, **look))
    common = {"ha": "center", "va": "center", "zorder": 4}
    axes.text(x, y + 0.23, name, fontsize=15, weight="bold", color=colour, **common)
    lines = "\n".join(textwrap.wrap(text, int(width * 11.8)))
    axes.text(x, y - 0.13, lines, fontsize=10.5, color=INK, linespacing=1.15, **common)


def _ways(arrows: list[tuple[str, str]], floor: dict[str, int]) -> list[list[tuple[float, float]]]:
    """For each arrow the corners of its way: down, along a gap between two floors, and down."""
    taken = {(column, floor[name]) for name, (column, _) in PLACES.items()}
    turns = []
    for one, other in arrows:
        column, target = PLACES[one][0], PLACES[other][0]
        turns.append(Turn(one, other, target - column, _gap(one, other, floor, taken)))
    ways = []
    for turn in turns:
        top = floor[turn.one] * FLOOR - HEIGHT / 2
        bottom = floor[turn.other] * FLOOR + HEIGHT / 2
        # Beginnings stand farther out than ends: a long way down meets no arrow that ends below.
        out = turn.way * (PORT * _port(turn, turns, "one") + BEGIN)
        x0 = PLACES[turn.one][0] * COLUMN + out
        x1 = PLACES[turn.other][0] * COLUMN - turn.way * PORT * _port(turn, turns, "other")
        lane = (turn.gap + 0.5) * FLOOR + LANE * _lane(turn, turns)
        corners = [(x0, lane), (x1, lane)] if turn.way else []
        ways.append([(x0, top), *corners, (x1, bottom)])
    return ways


@dataclass(frozen=True)
class Turn:
    """An arrow: its ends, how many columns it goes to the right, and the gap that it takes."""

    one: str
    other: str
    columns: int
    gap: int

    @property
    def way(self) -> int:
        """1 to the right, -1 to the left, 0 straight down."""
        return (self.columns > 0) - (self.columns < 0)


def _port(turn: Turn, turns: list[Turn], end: str) -> int:
    """How far from the middle of a box an arrow begins or ends; 0 for one straight down.

    In an order in which arrows on one side of a box do not cross: who goes down farthest leaves
    nearest to the middle, and who comes along the lowest gap ends farthest from it.
    """
    beside = [t for t in turns if getattr(t, end) == getattr(turn, end) and t.way == turn.way]
    sign = 1 if end == "one" else -1
    beside.sort(key=lambda t: (sign * t.gap, abs(t.columns)))
    return (1 + beside.index(turn)) if turn.way else 0


def _lane(turn: Turn, turns: list[Turn]) -> float:
    """How far above the middle of its gap an arrow runs, counted from 0 to both sides.

    Of arrows from one box the longest runs highest, of arrows to one box it runs lowest.
    """
    beside = [t for t in turns if t.gap == turn.gap and t.way]
    starts = [t.one for t in beside]
    beside.sort(key=lambda t: abs(t.columns) * (1 if starts.count(t.one) > 1 else -1))
    return beside.index(turn) - (len(beside) - 1) / 2 if turn.way else 0


def _gap(one: str, other: str, floor: dict[str, int], taken: set[tuple[int, int]]) -> int:
    """The floor under the gap along which an arrow runs: the lowest that no box bars."""
    column, target = PLACES[one][0], PLACES[other][0]
    for gap in range(floor[other], floor[one]):
        above = {(column, storey) for storey in range(gap + 1, floor[one])}
        below = {(target, storey) for storey in range(floor[other] + 1, gap + 1)}
        if not taken & (above | below):
            return gap
    raise ValueError(f"Move {one} or {other} in PLACES: boxes bar every way between them.")


def _arrow(axes: Any, points: list[tuple[float, float]], colour: str) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Line

    vertices, codes = [points[0]], [Line.MOVETO]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        vertices += [_towards(corner, before), corner, _towards(corner, after)]
        codes += [Line.LINETO, Line.CURVE3, Line.CURVE3]
    path = Line([*vertices, points[-1]], [*codes, Line.LINETO])
    head = "-|>,head_length=5,head_width=2.6"
    axes.add_patch(FancyArrowPatch(path=path, arrowstyle=head, color=colour, lw=1.5, zorder=2))


def _towards(corner: tuple[float, float], point: tuple[float, float]) -> tuple[float, float]:
    """Where the round of a corner begins."""
    (x, y), (to_x, to_y) = corner, point
    part = min(1, ROUND / max(abs(to_x - x) + abs(to_y - y), 1e-6))
    return x + part * (to_x - x), y + part * (to_y - y)


def picture_is_stale() -> bool:
    from PIL import Image

    if not PICTURE.exists():
        return True
    with Image.open(PICTURE) as picture:
        return picture.info.get("Description") != shown(sources(PACKAGE))
