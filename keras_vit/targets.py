"""Where an export goes: refused, or complete, or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def check_target(path: str | os.PathLike[str], suffix: str, overwrite: bool) -> Path:
    """The path of a file to be written.

    Raises:
        ValueError: If it does not end with `suffix`.
        FileNotFoundError: If there is no folder to write into.
        FileExistsError: If there is something that may not be replaced.
    """
    path = Path(path)
    if path.suffix != suffix:
        raise ValueError(f"`path` must end with {suffix}. Received: path={str(path)!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {str(path.parent)!r} to write into.")
    if path.is_dir() or (path.exists() and not overwrite):
        raise FileExistsError(
            f"There is something at {str(path)!r} already. Choose another name"
            f"{'' if path.is_dir() else ', or pass overwrite=True (--overwrite)'}."
        )
    return path


def check_class_names(names: Sequence[str], classes: int) -> list[str]:
    """The names as a list.

    Raises:
        ValueError: If there is not one for each class.
    """
    if isinstance(names, str) or len(names) != classes:
        raise ValueError(
            f"`class_names` must be a list of a name for each of the {classes} outputs of the "
            f"model. Received: {len(names)} names"
        )
    return [str(name) for name in names]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with the same name, that becomes `path` at the end."""
    folder = tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(folder, path.name)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
