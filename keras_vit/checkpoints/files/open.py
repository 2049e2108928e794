"""Opens a file of arrays by what is in it, whatever its name ends with."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from keras_vit.checkpoints.files.array_file import ArrayFile
from keras_vit.checkpoints.files.hdf5 import H5Reader, KerasReader
from keras_vit.checkpoints.files.npz import NpzReader
from keras_vit.checkpoints.files.safetensors_reader import SafetensorsReader


def open_arrays(path: str | os.PathLike[str]) -> ArrayFile:
    """Opens a file by what is in it, whatever its name ends with.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is none of these kinds of files, or damaged.
        ImportError: If it is `.safetensors` and that package is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    with open(path, "rb") as file:
        start = file.read(16)
    if start.startswith(b"\x89HDF"):
        return H5Reader(path)
    if start.startswith(b"PK"):
        members = _members(path)
        if "model.weights.h5" in members:
            return KerasReader(path)
        if any(name.endswith("data.pkl") for name in members):
            raise _pickled(path)
        return NpzReader(path)
    if start[8:9] == b"{":
        return SafetensorsReader(path)
    if start.startswith(b"\x80"):
        raise _pickled(path)
    if path.suffix == ".npz":
        return NpzReader(path)  # which says what is wrong with it
    raise ValueError(
        f"{str(path)!r} is no checkpoint: expected an .npz, a .safetensors, a .weights.h5 or a "
        ".keras file, and it is none of them, or it was cut off."
    )


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except zipfile.BadZipFile:
        return []


def _pickled(path: Path) -> ValueError:
    return ValueError(
        f"{str(path)!r} is a pickle of PyTorch, which can run any code when it is opened, so it "
        "is never loaded here. Save the weights as .safetensors where you trust the file: "
        "`safetensors.torch.save_file(model.state_dict(), 'model.safetensors')`."
    )
