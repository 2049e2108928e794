"""How a benchmark starts and what it leaves: options, exit code, a JSON file and a picture."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_vit import plots
from keras_vit.cli.run_command import run_command
from keras_vit.utils.files import write_json


def start(main: Callable[[], int]) -> None:
    """Runs the body of a benchmark, which returns the exit code, and ends the process."""
    sys.exit(run_command(main))


def options(description: str | None, results: bool = True) -> argparse.ArgumentParser:
    """A parser to add options to.

    Args:
        description: The docstring of the benchmark, which `--help` prints as it is.
        results: Whether `write` follows: adds `--json` and `--picture`.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if results:
        parser.add_argument("--json", help="file to write")
        parser.add_argument("--picture", help="PNG to write")
    return parser


def write(args: argparse.Namespace, found: Any, figure: Callable[[], Any]) -> None:
    """Writes what `--json` and `--picture` ask for.

    Args:
        args: Parsed.
        found: All numbers, JSON values.
        figure: Makes the picture.
    """
    if args.json:
        write_json(Path(args.json), found)
    if args.picture:
        plots.save(figure(), args.picture)


def bars(panels: Sequence[tuple[str, str, Mapping[str, float]]]) -> Any:
    """Horizontal bars, two panels in a row; what is named "ours ..." stands out.

    Args:
        panels: Title, name of the axis, and the value of each bar by its name.
    """
    columns = min(len(panels), 2)
    lines = -(-len(panels) // columns)
    figure = plots.new_figure(5.5 * columns, 3.2 * lines)
    cells: Any = figure.subplots(lines, columns, squeeze=False)
    for axes, (title, label, values) in zip(cells.ravel(), panels, strict=False):
        names = list(values)[::-1]
        colours = [plots.VALIDATION if n.startswith("ours") else plots.TRAINING for n in names]
        axes.barh(names, [values[name] for name in names], color=colours)
        for place, name in enumerate(names):
            value = values[name]
            text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
            axes.text(value, place, f" {text}", va="center", fontsize=8)
        axes.margins(x=0.12)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in cells.ravel()[len(panels) :]:
        axes.set_axis_off()
    return figure
