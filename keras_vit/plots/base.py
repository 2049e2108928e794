"""Makes and saves figures without matplotlib's global state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from keras_vit.utils.files import replacing
from keras_vit.utils.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RIGHT, WRONG = "#1a7f37", "#c62828"
LONGEST_TEXT = 32  # characters
TRAINING, VALIDATION = "#8a8f98", "#1f6feb"


def plain(name: str) -> str:
    """A name as it is: for matplotlib, dollars begin a formula, and a line break is a new line."""
    return printable(name).replace("$", r"\$")


def require_matplotlib() -> None:
    """Raises an ImportError that says what to install, before any work is done."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "The pictures need matplotlib: pip install keras-vit-applications[plots]"
        ) from error


def new_figure(width: float, height: float) -> Figure:
    """An empty figure; width and height in inches, of 120 pixels each once it is saved."""
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def shortened(text: str) -> str:
    """A line that has room beside or above a small picture."""
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def save(figure: Figure, path: str | Path) -> None:
    """Writes a figure as PNG, in place of a file that is there."""
    with replacing(Path(path)) as temporary:
        figure.savefig(temporary, format="png", dpi=120, facecolor="white")
