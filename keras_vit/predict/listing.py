"""The photos of a folder in the order of their names, however many: the list is on the disk."""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

IN_MEMORY = 50_000  # names that are sorted at once


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` items; the last may be shorter."""
    items = iter(items)
    return iter(lambda: [*itertools.islice(items, size)], [])


class Listing:
    """Photos in the order of their names, cut into parts of one size.

    It is sorted on the disk, so a million photos take no more memory than a thousand. Close it to
    give the disk back.

    Args:
        photos: (name, bytes) of each photo, in any order. The names need not be UTF-8.
        part_size: Photos of a part; the last may have fewer.

    Attributes:
        count: Photos in all.
        parts: Parts in all.
        fingerprint: Another one for other names or sizes.
    """

    def __init__(self, photos: Iterable[tuple[str, int]], part_size: int):
        self.count, self._starts, self._part_size = 0, [], part_size
        digest = hashlib.sha256()
        # No name has a zero byte, so the records are in the order of the names.
        records = (b"%b\0%d" % (os.fsencode(name), size) for name, size in photos)
        with contextlib.ExitStack() as stack:
            runs = []
            for some in batched(records, IN_MEMORY):
                runs.append(stack.enter_context(tempfile.TemporaryFile()))
                for record in sorted(some):
                    _write(runs[-1], record)
                runs[-1].seek(0)
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
            for record in heapq.merge(*map(_read, runs)):
                if self.count % part_size == 0:
                    self._starts.append(self._file.tell())
                self.count += 1
                _write(self._file, record)
                digest.update(b"%d %b" % (len(record), record))
        self.parts = len(self._starts)
        self.fingerprint = f"{self.count:,} photos, {digest.hexdigest()[:16]}"

    def part(self, number: int) -> Iterator[str]:
        """The names in a part, the first of which has the number 0."""
        self._file.seek(self._starts[number])
        for record in itertools.islice(_read(self._file), self._part_size):
            yield os.fsdecode(record.partition(b"\0")[0])

    def length(self, number: int) -> int:
        """How many photos are in a part."""
        return min(self._part_size, self.count - number * self._part_size)

    def close(self) -> None:
        self._file.close()


def _write(file: IO[bytes], record: bytes) -> None:
    file.write(len(record).to_bytes(4) + record)


def _read(file: IO[bytes]) -> Iterator[bytes]:
    while length := file.read(4):
        yield file.read(int.from_bytes(length))
