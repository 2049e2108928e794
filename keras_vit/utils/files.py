"""Files and folders that appear whole or not at all.

What is to be written is made at another place on the same disk and then renamed. An error, Ctrl-C
and a full disk leave what was there before, and nothing of what was begun.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_vit.utils.checks import check_kinds

MOST_BYTES = 2**24  # of a text that is read at once


@contextlib.contextmanager
def replacing(path: Path, place: Path | None = None, sync: bool = False) -> Iterator[Path]:
    """A path to write to, which becomes `path` at the end.

    Args:
        path: The file or folder. One that is there is replaced by one of its kind.
        place: Where to write. What is there is removed first: a process wrote it that was killed.
            Default: a hidden folder beside `path`, under the same name.
        sync: Whether a file is to be on the disk before it gets its name, so that it survives if
            the power fails.

    Yields:
        The path to make a file or a folder at. After an error it is gone.

    Raises:
        OSError: If it cannot be written; `path` is then as it was.
    """
    with _temporary(path, place) as temporary:
        yield temporary
        if sync:
            _sync(temporary)
        if temporary.is_dir() and path.is_dir():
            _remove(_exchange(temporary, path))
        else:
            temporary.replace(path)
        if sync:
            _sync(path.parent)


@contextlib.contextmanager
def new_folder(
    path: str | Path, overwrite: bool = False, place: Path | None = None
) -> Iterator[Path]:
    """A folder that appears under its name only once it is complete.

    Args:
        path: Its name.
        overwrite: Whether there may be one already.
        place: Where it is written, as in `replacing`.

    Yields:
        A folder to write into. At the end it is renamed to `path`, and what was there is kept as
        `path.old` (`.old-2`, ...). After an error what was written is kept as `path.unfinished`,
        unless there is nothing or it has a `place` of its own, where it is written again.

    Raises:
        ValueError: If `path` exists and `overwrite` is false, or it is no place for a folder.
    """
    path = Path(path)
    if is_there(path) and not overwrite:
        raise ValueError(
            f"{path} exists already. Choose another name, or pass overwrite=True (--overwrite): "
            f"it is then kept as {_free_name(path, 'old').name}"
        )
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(_temporary(path, place))
            folder.mkdir(parents=True)
        except OSError as error:
            raise ValueError(f"Cannot write in {path.parent}: {error}") from error
        try:
            yield folder
        except BaseException:
            if place is None and any(folder.iterdir()):
                folder.rename(_free_name(path, "unfinished"))
            raise
        if is_there(path):
            _exchange(folder, path)
        else:
            folder.rename(path)


@contextlib.contextmanager
def _temporary(path: Path, place: Path | None) -> Iterator[Path]:
    """A path where nothing is, neither before nor after; see `place` of `replacing`."""
    if place is None:
        rest = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        place = rest / path.name
    else:
        rest = place
        _remove(place)
    try:
        yield place
    finally:
        _remove(rest)


def _exchange(made: Path, path: Path) -> Path:
    """Gives what was made its name; returns the path of what had it before."""
    before = set_aside(path)
    try:
        made.rename(path)
    except BaseException:
        before.rename(path)
        raise
    return before


def _remove(path: Path) -> None:
    """Removes a file or folder. Where that fails it stays: no reason to end what was running."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Brings a file, or the names in a folder, to the disk. Windows cannot do so with folders."""
    if os.name == "posix" or path.is_file():
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def set_aside(path: Path) -> Path:
    """Renames a folder to `path.old`, or with a number the first that is free; returns it."""
    return path.rename(_free_name(path, "old"))


def _free_name(path: Path, ending: str) -> Path:
    """`path.ending`, or with a number the first that is free."""
    candidate, number = path.with_name(f"{path.name}.{ending}"), 1
    while is_there(candidate):
        number += 1
        candidate = path.with_name(f"{path.name}.{ending}-{number}")
    return candidate


def write_json(path: Path, content: Any) -> None:
    """Writes what JSON can hold, indented, in place of a file that is there."""
    with replacing(path) as temporary:
        _write_json(temporary, content)


def _write_json(path: Path, content: Any) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False)
    # A name that is no UTF-8 has surrogates; their codes are what JSON writes for them.
    path.write_text(text + "\n", "utf-8", "backslashreplace")


def write_new_json(path: Path, content: Any, place: Path | None = None) -> None:
    """As `write_json`, but a file that is there stays, also one that another process writes now.

    `place` is as in `replacing`.
    """
    with _temporary(path, place) as temporary:
        _write_json(temporary, content)
        _sync(temporary)
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:  # some file systems give a file one name only
            if not is_there(path):
                temporary.replace(path)


def write_csv(
    path: Path, rows: Iterable[Sequence[Any]], place: Path | None = None, sync: bool = False
) -> None:
    """Writes a table, its heads in the first row; `place` and `sync` as in `replacing`."""
    with (
        replacing(path, place, sync) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        csv.writer(file).writerows(rows)


def is_there(path: Path) -> bool:
    """Whether there is anything of that name, a link that leads nowhere too."""
    return os.path.lexists(path)


def read_text(path: Path) -> str:
    """The text of a small file that anybody may have written.

    Raises:
        ValueError: If it is no file, is larger than 16 MiB, is no UTF-8 or cannot be read.
    """
    try:
        if not path.is_file():
            raise ValueError("it is no file" if is_there(path) else "there is no such file")
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ValueError(f"it has {size:,} bytes, more than {MOST_BYTES:,}")
        return path.read_bytes().decode("utf-8")
    except UnicodeError:
        what = "it is no UTF-8"
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or error
    raise ValueError(f"Cannot read {str(path)!r}: {what}")


def read_json(path: Path, kinds: dict[str, Any]) -> dict[str, Any]:
    """The object in a JSON file that anybody may have written.

    Args:
        path: The file.
        kinds: What must be in it, as for `check_kinds`; there may be more.

    Raises:
        ValueError: As in `read_text`, or if it is no such object.
    """
    return parsed_json(read_text(path), kinds, repr(str(path)))


def parsed_json(text: str | bytes, kinds: dict[str, Any], where: str) -> dict[str, Any]:
    """As `read_json`, of a text that stands in `where`."""
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError(f"Cannot read {where}: its JSON is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"Cannot read {where}: it is no JSON ({error})") from None
    check_kinds(where, content, kinds)
    return content


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


def check_target(path: str | os.PathLike[str], suffix: str | None, overwrite: bool) -> Path:
    """The path of a file, or of a folder, to be written.

    Args:
        path: A folder that is there is never replaced.
        suffix: What it must end with; `None` for anything.
        overwrite: Whether a file that is there may be replaced.

    Raises:
        ValueError: If it does not end with `suffix`.
        FileNotFoundError: If there is no folder to write into.
        FileExistsError: If there is something that may not be replaced.
    """
    path = Path(path)
    if suffix is not None and path.suffix != suffix:
        raise ValueError(f"`path` must end with {suffix}. Received: path={str(path)!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {str(path.parent)!r} to write into.")
    if path.is_dir() or (path.exists() and not overwrite):
        raise FileExistsError(
            f"There is something at {str(path)!r} already. Choose another name"
            f"{'' if path.is_dir() else ', or pass overwrite=True (--overwrite)'}."
        )
    return path
