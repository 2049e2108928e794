"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextlib.contextmanager
def new_folder(
    path: str | Path, overwrite: bool = False, place: Path | None = None
) -> Iterator[Path]:
    """A folder that appears under its name only once it is complete.

    Args:
        path: Its name.
        overwrite: Whether there may be one already.
        place: Where it is written, on the same disk. What is there is removed first: what a
            process wrote that was killed.

    Yields:
        `place`, or a hidden folder beside `path`, to write into. At the end it is renamed to
        `path`, and what was there is kept as `path.old` (`.old-2`, ...). After an error what was
        written is kept as `path.unfinished`, or nothing if nothing was.

    Raises:
        ValueError: If `path` exists and `overwrite` is false, or it is no place for a folder.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise ValueError(
            f"{path} exists already. Choose another name, or pass overwrite=True (--overwrite): "
            f"it is then kept as {_free_name(path, 'old').name}"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if place is None:
            partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        else:
            partial = place
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
    except OSError as error:
        raise ValueError(f"Cannot write in {path.parent}: {error}") from error
    try:
        yield partial
    except BaseException:
        if place is None and any(partial.iterdir()):
            partial.rename(_free_name(path, "unfinished"))
        else:  # in a place of its own it is written again: a rest is of no use
            shutil.rmtree(partial, ignore_errors=True)
        raise
    # mkdtemp makes it private; a run is as readable as any other folder of the user.
    umask = os.umask(0)
    os.umask(umask)
    partial.chmod(0o777 & ~umask)
    if path.exists():
        set_aside(path)
    partial.rename(path)


def set_aside(path: Path) -> None:
    """Renames a folder to `path.old`, or with a number the first that is free."""
    path.rename(_free_name(path, "old"))


def check_writable(folder: Path) -> None:
    """Makes a folder, if it is not there, and a file in it that is gone again.

    Raises:
        ValueError: If that cannot be done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"Cannot write in {folder}: {error}") from error


def _free_name(path: Path, ending: str) -> Path:
    """`path.ending`, or with a number the first that is free."""
    candidate, number = path.with_name(f"{path.name}.{ending}"), 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}.{ending}-{number}")
    return candidate


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
