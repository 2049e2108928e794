"""What the commands print: text and tables, for people in a terminal and for programs elsewhere."""

from __future__ import annotations

import sys

from keras_vit.utils.tables import Page
from keras_vit.utils.terminal import console
from keras_vit.utils.text import say


def verbosity() -> int:
    """`verbose` of a training: 1, an updated line, in a terminal; 2, whole lines, elsewhere."""
    return 1 if sys.stdout.isatty() else 2


def show(*pages: Page) -> None:
    """Prints pages with an empty line between; rich draws their tables in a terminal."""
    terminal = console()
    for i, page in enumerate(pages):
        if i > 0:
            say("")
        for block in page.blocks:
            if isinstance(block, str) or not terminal.is_terminal:
                say(block)
            else:
                terminal.print(block)
