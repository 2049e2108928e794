"""One process at a time: another is told at once which the first is."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import filelock

from keras_vit.utils.files import read_text
from keras_vit.utils.text import printable


@contextlib.contextmanager
def one_process(path: Path) -> Iterator[None]:
    """While inside, no other process is, with the same path.

    The lock is on a file beside it, `PATH.lock`, which says who holds it. The operating system
    drops the lock of a process that ends, however it ends: a file that is left hinders nobody.
    Where the file system has no locks, or the file cannot be written, nobody is refused.

    Args:
        path: What is to be written; it need not exist.

    Raises:
        ValueError: If another process is inside. It names that process.
    """
    place = path.with_name(f"{path.name}.lock")
    lock = filelock.FileLock(place)
    with contextlib.suppress(OSError, NotImplementedError):  # some file systems have no locks
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise ValueError(
                f"Another process is writing {str(path)!r}: {_holder(place)}. Wait for its end, "
                "or choose another name"
            ) from None
    try:
        if lock.is_locked:
            with contextlib.suppress(OSError):
                since = time.strftime("%Y-%m-%d %H:%M:%S")
                place.write_text(f"{os.getpid()} on {platform.node()}, since {since}\n", "utf-8")
        yield
    finally:
        if lock.is_locked:
            # First, as the file may be another's the moment that the lock is free.
            with contextlib.suppress(OSError):
                place.unlink(missing_ok=True)
            lock.release()


def _holder(place: Path) -> str:
    try:
        return f"process {printable(read_text(place).strip()[:200])}"
    except ValueError:
        return "which one is not known"
