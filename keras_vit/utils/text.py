"""Text that others wrote, names of files and classes above all: printed, and kept in a file.

A name may hold anything: line breaks, bytes that are no UTF-8 (Python keeps them as surrogates),
and the control characters by which a file name takes hold of a terminal.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from keras_vit.utils.files import read_text

# Control characters, line separators, what turns the direction of writing, and surrogates.
_HIDDEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_CODE = re.compile(r"\\u([0-9a-f]{4})")
_BACKSLASH = r"\\u005cu\1"


def printable(text: Any, keep: str = "") -> str:
    r"""The text in one line, what cannot be seen as `\u001b`.

    Args:
        text: Anything that `str` makes a text of.
        keep: Characters that stay as they are: `"\n\t"` in a text of several lines.
    """
    return _HIDDEN.sub(lambda x: x[0] if x[0] in keep else f"\\u{ord(x[0]):04x}", str(text))


def say(text: Any, file: IO[str] | None = None) -> None:
    """Prints a text of one line or several, with nothing in it that a terminal obeys.

    Args:
        text: Anything that `str` makes a text of.
        file: What is written to. Default: the standard output.
    """
    file = file or sys.stdout
    code = getattr(file, "encoding", None) or "utf-8"
    shown = printable(text, keep="\n\t").encode(code, "backslashreplace").decode(code)
    print(shown, file=file, flush=True)


def labels_text(names: Iterable[str]) -> str:
    r"""The text of `labels.txt`, a name a line; `read_labels` gives any names back.

    A line break within a name becomes `\u000a`, and so does all that `printable` shows like this.
    """
    return "".join(f"{printable(_CODE.sub(_BACKSLASH, str(name)))}\n" for name in names)


def read_labels(path: Path, classes: int | None = None) -> tuple[str, ...]:
    """The names in a file of `labels_text`, or one that was written by hand.

    Args:
        path: The file.
        classes: How many there must be. Default: any number.

    Raises:
        ValueError: If it cannot be read, or holds another number of names.
    """
    text = read_text(path).removeprefix("\ufeff").replace("\r\n", "\n")
    lines = text.removesuffix("\n").split("\n") if text else []
    if classes is not None and len(lines) != classes:
        raise ValueError(
            f"{str(path)!r} must have a line for each class of the model, {classes}. Received: "
            f"{len(lines)} lines"
        )
    return tuple(_CODE.sub(lambda code: chr(int(code[1], 16)), line) for line in lines)
