"""Identifies data, to notice when they changed: by names and sizes, or by every byte."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

Fingerprint = Callable[[bool], str]


def of_files(folder: Path, paths: Iterable[Path]) -> Fingerprint:
    """The fingerprint of files: a function that takes whether to read their contents.

    Without the contents it looks at names and sizes.

    Args:
        folder: Names are relative to it, so that data may be moved.
        paths: The files.
    """

    def fingerprint(contents: bool) -> str:
        files = sorted(paths)
        sizes = [path.stat().st_size for path in files]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            digests = pool.map(_digest, files) if contents else [b""] * len(files)
            parts = zip(files, sizes, digests, strict=True)
            every = [
                b"%b %d %b" % (os.fsencode(os.path.relpath(path, folder)), size, digest)
                for path, size, digest in parts
            ]
        return f"{len(files):,} files of {sum(sizes):,} bytes, {_short(every)}"

    return fingerprint


def of_arrays(*arrays: np.ndarray) -> Fingerprint:
    """As `of_files`, of arrays: shapes, or every number."""

    def fingerprint(contents: bool) -> str:
        parts = [str(array.shape).encode() for array in arrays]
        if contents:
            parts += [hashlib.sha256(np.ascontiguousarray(array).data).digest() for array in arrays]
        return f"arrays of {sum(array.nbytes for array in arrays):,} bytes, {_short(parts)}"

    return fingerprint


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _short(parts: Sequence[bytes]) -> str:
    """Sixteen digits: enough to tell data that changed by mistake."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "little") + part)
    return whole.hexdigest()[:16]
