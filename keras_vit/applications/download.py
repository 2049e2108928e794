"""Downloads one large file: resumes after an interruption, verifies, leaves no half file.

The bytes go to `NAME.partial` beside the target; `NAME.partial.json` notes from which version of
the file on the server they are. The file gets its name after all checks have passed. A lock on
`NAME.lock` lets one process at a time do this; the operating system drops the lock of a process
that dies, however it dies. The empty lock file stays.

`NAME.partial` stays after an interrupted call, and the next call continues from there.
`utils.files` would delete it, so it is not used here.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import json
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import filelock

SCHEMES = ("https", "http", "file")
WAITS = (0.5, 1.0, 2.0)  # seconds before another try
CHUNK = 2**20
MIB = 2**20


class DownloadError(OSError):
    """A file could not be downloaded; the message says why and what to do."""


def download(
    url: str,
    target: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    check: Callable[[Path], object] | None = None,
    timeout: float = 60,
    progress: bool = True,
) -> Path:
    """Downloads a file, unless it is there already.

    Args:
        url: `https://`, `http://` or `file://`.
        target: Path of the file; folders are made as needed.
        sha256: SHA-256 of the file, 64 hexadecimal digits. A target that is there already is
            checked too, but never deleted.
        check: Called with the path of the complete download before it becomes the target. It
            raises an error to reject the file.
        timeout: Seconds without a byte from the server after which to try again.
        progress: Whether to report progress on the standard error stream.

    Returns:
        `target` as a `Path`.

    Raises:
        DownloadError: If the server has no such file or cannot be reached, the body ends too early
            at every try, or the file cannot be written. The bytes that arrived are kept for the
            next call.
        ValueError: If an argument is out of its range or the hash differs. `check` may raise other
            errors. The rejected download is deleted, so the next call starts again.
    """
    if urllib.parse.urlsplit(url).scheme.lower() not in SCHEMES:
        raise ValueError(f"`url` must start with one of {SCHEMES} and '://'. Received: url={url!r}")
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ValueError(f"`sha256` must be 64 hexadecimal digits. Received: sha256={sha256!r}")
    target = Path(target)
    if not target.exists():
        with _writing(target.parent):
            target.parent.mkdir(parents=True, exist_ok=True)
        with _one_process(target, progress) as partial:
            if not target.exists():  # else another process has just downloaded it
                _receive(url, partial, timeout, progress)
                _verify(url, partial, sha256, check)
                with _writing(target.parent):
                    os.replace(partial, target)
                return target
    try:
        _check_sha256(target, sha256)
    except ValueError as error:
        raise ValueError(f"{error} To download it again, delete it first.") from None
    return target


def _verify(
    url: str, partial: Path, sha256: str | None, check: Callable[[Path], object] | None
) -> None:
    try:
        _check_sha256(partial, sha256)
        if check is not None:
            check(partial)
    except Exception as error:
        partial.unlink()
        error.add_note(f"Downloaded from {url}, and deleted.")
        raise


def _check_sha256(path: Path, sha256: str | None) -> None:
    if sha256 is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise ValueError(
            f"The file {str(path)!r} has the SHA-256 {found}. Expected: sha256={sha256.lower()!r}."
        )


# Receiving.


class _NetworkError(Exception):
    """An error of the network, kept apart from the `OSError`s of the disk."""

    def __init__(self, error: Exception):
        super().__init__(error)
        self.error = error


@contextlib.contextmanager
def _network() -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise _NetworkError(error) from error


def _receive(url: str, partial: Path, timeout: float, progress: bool) -> None:
    """Completes `partial`; tries again where that may help."""
    waits = iter(() if url.lower().startswith("file:") else WAITS)
    while True:
        try:
            return _request(url, partial, timeout, progress)
        except _NetworkError as interruption:
            wait = next(waits, None)
            if wait is None or not _passing(interruption.error):
                raise DownloadError(_explain(url, partial, interruption.error)) from None
            time.sleep(wait)


def _passing(error: Exception) -> bool:
    """Whether the same request may succeed in a moment."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in (408, 416, 425, 429) or error.code >= 500
    return True


def _explain(url: str, partial: Path, error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        reason = f"the server answered {error.code} ({error.reason})"
    else:
        cause = getattr(error, "reason", error)
        reason = str(cause) or type(cause).__name__
        if isinstance(error, urllib.error.URLError) and not url.lower().startswith("file:"):
            reason = f"the server cannot be reached, perhaps there is no network ({reason})"
    message = f"Cannot download {url}: {reason}."
    if _read_note(partial, url) is not None:
        message += (
            f" The {partial.stat().st_size} bytes that arrived are kept in {str(partial)!r}; "
            "call again to go on from there."
        )
    return message


def _request(url: str, partial: Path, timeout: float, progress: bool) -> None:
    """One request: the rest of the file if `partial` holds its beginning, else all of it."""
    known = _read_note(partial, url)
    start = partial.stat().st_size if known else 0
    headers = {"User-Agent": "keras_vit", "Accept-Encoding": "identity"}
    if known and start:
        headers |= {"Range": f"bytes={start}-", "If-Range": known["etag"] or known["modified"]}
    with _network():
        request = urllib.request.Request(url, headers=headers)
        try:
            response = urllib.request.urlopen(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the file on the server is now shorter than ours
                partial.unlink(missing_ok=True)
            raise
    with response:
        version = _version(url, response)
        size = version["size"]
        if response.status != 206:
            start = 0
        elif version != known or _first_byte(response) != start:
            partial.unlink(missing_ok=True)
            raise _NetworkError(ConnectionError("the file changed on the server meanwhile"))
        _check_space(partial.parent, size, start)
        # The file is emptied before the note is written, so that a note never describes old bytes.
        with _writing(partial.parent), partial.open("ab" if start else "wb") as file:
            if not start:
                _note_of(partial).write_text(json.dumps(version))
            received = _copy(response, file, start, size, progress)
            file.flush()
            os.fsync(file.fileno())
    if size is not None and received != size:
        raise _NetworkError(
            ConnectionError(f"the connection ended after {received} of {size} bytes")
        )
    _note_of(partial).unlink()


def _copy(response: Any, file: IO[bytes], start: int, size: int | None, progress: bool) -> int:
    """Appends the body to the file; returns how long the file is now."""
    name = Path(file.name).name.removesuffix(".partial")
    bar = _Received(name, start, size) if progress else None
    received = start
    try:
        while True:
            with _network():
                chunk = response.read(CHUNK)
            if not chunk:
                return received
            file.write(chunk)
            received += len(chunk)
            if bar is not None:
                bar.update(received)
    finally:
        if bar is not None:
            bar.close(received)


def _version(url: str, response: Any) -> dict[str, Any]:
    """The facts that identify a version of the file on the server."""
    headers = response.headers
    size = headers.get("Content-Length")
    if response.status == 206:
        size = headers.get("Content-Range", "").rpartition("/")[2]
    return {
        "url": url,
        "etag": headers.get("ETag"),
        "modified": headers.get("Last-Modified"),
        "size": int(size) if size and size.isdecimal() else None,
    }


def _first_byte(response: Any) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _note_of(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def _read_note(partial: Path, url: str) -> dict[str, Any] | None:
    """The version of a partial file; `None` if the note is not enough to continue it."""
    try:
        version = json.loads(_note_of(partial).read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(version, dict) or version.get("url") != url or not version.get("size"):
        return None
    known = partial.exists() and (version.get("etag") or version.get("modified"))
    return version if known else None


# The disk.


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Explains errors of the disk in words."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "there is no space left"
        else:
            reason = error.strerror or str(error)
        raise DownloadError(
            f"Cannot write to the folder {str(folder)!r}: {reason}. Make room or choose a folder "
            "that you may write to."
        ) from error


def _check_space(folder: Path, size: int | None, start: int) -> None:
    free = shutil.disk_usage(folder).free
    if size is not None and size - start > free:
        raise DownloadError(
            f"Cannot write to the folder {str(folder)!r}: {(size - start) / MIB:.0f} MiB are "
            f"still to come and {free / MIB:.0f} MiB are free. Make room or choose another folder."
        )


@contextlib.contextmanager
def _one_process(target: Path, progress: bool) -> Iterator[Path]:
    """Waits until no other process downloads this file; yields the partial file to write to."""
    lock = filelock.FileLock(target.with_name(f"{target.name}.lock"))
    name = f"{target.name}.partial"
    try:
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            if progress:
                print(f"Waiting for another process to download {target.name!r}", file=sys.stderr)
            lock.acquire(poll_interval=0.1)
    except (OSError, NotImplementedError):
        # Some network file systems have no locks. Then every process downloads for itself, and the
        # last one replaces the target with the same file.
        name = f"{target.name}.{os.getpid()}.partial"
    try:
        yield target.with_name(name)
    finally:
        lock.release()


class _Received:
    """Reports on the standard error stream how much has arrived: a line at the start and one at the
    end, and in a terminal a line between that is updated."""

    def __init__(self, name: str, start: int, size: int | None):
        self.start, self.size, self.began = start, size, time.monotonic()
        total = "" if size is None else f" ({size / MIB:.1f} MiB)"
        rest = f", going on at {start / MIB:.1f} MiB" if start else ""
        # `repr`, because a name may hold control characters of a terminal.
        print(f"Downloading {repr(name)[1:-1]}{total}{rest}", file=sys.stderr)
        self.progress: Any = None
        if sys.stderr is not None and sys.stderr.isatty():
            # Imported here, so that the rest of the module needs nothing else of keras_vit.
            from keras_vit.utils.progress import Progress

            count = None if size is None else -(-size // MIB)
            self.progress = Progress(count, 1, 1, unit="MiB", speed="MiB/s", file=sys.stderr)

    def update(self, received: int) -> None:
        if self.progress is not None:
            self.progress.show(received // MIB)

    def close(self, received: int) -> None:
        if self.progress is not None:
            self.progress.end()
        percent = "" if not self.size else f"{100 * received // self.size} %  "
        speed = (received - self.start) / MIB / max(time.monotonic() - self.began, 1e-3)
        text = f"{percent}{received / MIB:.1f} MiB  {speed:,.1f} MiB/s"
        print(text, file=sys.stderr, flush=True)
