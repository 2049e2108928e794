"""Reads `.npz` files that nobody has vouched for.

A checkpoint is untrusted input: nothing here unpickles, extracts to disk, or allocates what a
header merely claims. Names, shapes and dtypes come from the headers alone; values are read one
array at a time, with their checksum.
"""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from keras_vit.checkpoints.files.array_file import ArrayFile

# Twice the largest model that any of the papers trained; only a bomb declares more.
MAX_TOTAL_BYTES = 16 * 2**30


class NpzReader(ArrayFile):
    """Arrays of an `.npz` file.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not an `.npz` of plain numeric arrays: truncated, not a zip,
            pickled objects, repeated or suspicious names, sizes that do not fit the headers.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.shapes, self.dtypes = {}, {}
        self.metadata = {}  # an `.npz` says nothing else
        self._members: dict[str, tuple[zipfile.ZipInfo, int, bool]] = {}
        if not self.path.is_file():
            raise FileNotFoundError(f"There is no file {str(path)!r}.")
        try:
            self._archive = zipfile.ZipFile(self.path)
        except Exception as error:
            raise self._error("it is not an .npz archive, or it was cut off") from error
        try:
            self._read_headers()
        except BaseException:
            self._archive.close()
            raise

    def _error(self, what: str) -> ValueError:
        return ValueError(
            f"Cannot read {str(self.path)!r}: {what}. Expected an .npz of numeric arrays as "
            "`numpy.savez` writes it; download or export the file again."
        )

    def _read_headers(self) -> None:
        infos = self._archive.infolist()
        if sum(info.file_size for info in infos) > MAX_TOTAL_BYTES:
            raise self._error(f"it declares more than {MAX_TOTAL_BYTES // 2**30} GiB of arrays")
        for info in infos:
            name = info.filename.removesuffix(".npy")
            parts = name.replace("\\", "/").split("/")
            if name == info.filename or "" in parts or ".." in parts or ":" in name:
                raise self._error(f"member {info.filename!r} is not the name of an array")
            if name in self.shapes:
                raise self._error(f"array {name!r} is there twice")
            try:
                with self._archive.open(info) as file:
                    shape, fortran_order, dtype = _read_npy_header(file)
                    offset = file.tell()
            except Exception as error:  # a header is Python, and NumPy's parser raises anything
                raise self._error(f"array {name!r} has no valid header ({error})") from error
            if dtype.hasobject:
                raise self._error(f"array {name!r} holds pickled objects, which are never loaded")
            if math.prod(shape) * dtype.itemsize != info.file_size - offset:
                raise self._error(
                    f"array {name!r} declares shape {shape} of {dtype}, which is not the "
                    f"{info.file_size - offset} bytes that it has"
                )
            self.shapes[name] = shape
            self.dtypes[name] = dtype
            self._members[name] = (info, offset, fortran_order)

    def read(self, name: str) -> np.ndarray:
        info, offset, fortran_order = self._members[name]
        shape, dtype = self.shapes[name], self.dtypes[name]
        buffer = np.empty(math.prod(shape) * dtype.itemsize, "uint8")
        if info.compress_type == zipfile.ZIP_STORED:
            self._read_stored(info, offset, buffer)
        else:
            with self._archive.open(info) as file:  # checks the checksum itself
                file.read(offset)
                _read_exactly(file, buffer)
                file.read(1)
        return buffer.view(dtype).reshape(shape, order="F" if fortran_order else "C")

    def _read_stored(self, info: zipfile.ZipInfo, offset: int, buffer: np.ndarray) -> None:
        """Straight from the file into the array: no copy in between, which is most of the time."""
        with open(self.path, "rb", buffering=0) as file:
            file.seek(info.header_offset)
            local_header = file.read(30)
            name_length = int.from_bytes(local_header[26:28], "little")
            extra_length = int.from_bytes(local_header[28:30], "little")
            file.seek(name_length + extra_length, os.SEEK_CUR)
            header = file.read(offset)
            _read_exactly(file, buffer)
        if zlib.crc32(buffer.data, zlib.crc32(header)) != info.CRC:
            raise zipfile.BadZipFile("its checksum does not match")

    def close(self) -> None:
        self._archive.close()


def _read_npy_header(file) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"unknown .npy version {version}")
    if any(n < 0 for n in shape):
        raise ValueError(f"negative size in shape {shape}")
    return shape, fortran_order, dtype


def _read_exactly(file: Any, buffer: np.ndarray) -> None:
    view = buffer.data
    while len(view):
        count = file.readinto(view)
        if not count:
            raise EOFError("it ends too early")
        view = view[count:]
