"""Tables: drawn with lines in a terminal, plain aligned text that `grep` reads elsewhere."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from typing import Any

from keras_vit.utils.terminal import console
from keras_vit.utils.text import printable

SHORT = 24  # characters of a cell that is not broken into lines


@dataclasses.dataclass(frozen=True)
class Table:
    """Cells in rows. `str` gives plain text; rich draws the same in a terminal.

    Attributes:
        rows: As many cells each as there are heads, or columns.
        heads: Over the columns; none for a table without.
        left: The columns, from 0 on, whose cells begin at the left. Numbers end at the right.
    """

    rows: Sequence[Sequence[str]]
    heads: Sequence[str] = ()
    left: Sequence[int] = (0,)

    def __str__(self) -> str:
        text = io.StringIO()
        # So wide that nothing is broken into two lines.
        console(text, width=10_000).print(self._drawn(None))
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    def __rich__(self) -> Any:
        from rich import box

        return self._drawn(box.SIMPLE_HEAD)

    def _drawn(self, box: Any) -> Any:
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(
            box=box,
            show_header=bool(self.heads),
            show_edge=False,
            pad_edge=False,
            padding=(0, 2 if box is None else 0, 0, 0),
        )
        for i in range(len(self.heads or self.rows[0])):
            left = i in self.left
            # What is too wide for a terminal goes on below, but no short name is broken.
            table.add_column(
                Text(self.heads[i] if self.heads else ""),
                justify="left" if left else "right",
                overflow="fold",
                no_wrap=left and max((len(row[i]) for row in self.rows), default=0) <= SHORT,
            )
        for row in self.rows:
            # Not plain strings: in these, rich takes brackets for markup.
            table.add_row(*(Text(printable(cell)) for cell in row))
        return table


class Page:
    """Lines of text and tables, one below the other.

    Args:
        *blocks: The parts; an empty string is an empty line.
    """

    def __init__(self, *blocks: str | Table):
        self.blocks = blocks

    def __str__(self) -> str:
        return "\n".join(map(str, self.blocks))
