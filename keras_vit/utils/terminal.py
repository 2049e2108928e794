"""rich's console. Bars, colours and lines are for people at a terminal, never for a file."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console(file: IO[str] | None = None, width: int | None = None) -> Console:
    """A console that sends control codes to a terminal only.

    By itself rich also sends them to a file if `FORCE_COLOR` is set, and HTML to a notebook.

    Args:
        file: What is written to. Default: the standard output.
        width: Characters of a line. Default: those of the terminal.
    """
    from rich.console import Console

    file = sys.stdout if file is None else file
    # There is none in a program without a console on Windows.
    terminal = file is not None and file.isatty()
    return Console(
        file=file,
        width=width,
        force_terminal=terminal,
        force_interactive=None if terminal else False,
        force_jupyter=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
