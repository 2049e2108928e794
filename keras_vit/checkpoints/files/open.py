"""Opens a file of arrays by what is in it, whatever its name ends with."""

from __future__ import annotations

import contextlib
import os
import zipfile
from pathlib import Path

from keras_vit.checkpoints.files.array_file import ArrayFile, damage_is_said
from keras_vit.checkpoints.files.hdf5 import H5Reader, KerasReader
from keras_vit.checkpoints.files.npz import NpzReader
from keras_vit.checkpoints.files.safetensors_reader import SafetensorsReader
from keras_vit.checkpoints.files.shards import INDEX, ShardsReader

_ENDINGS = (".npz", ".safetensors", ".weights.h5", ".keras")


def open_arrays(path: str | os.PathLike[str]) -> ArrayFile:
    """Opens a file by what is in it, whatever its name ends with.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is none of these kinds of files, or damaged.
        ImportError: If it is `.safetensors` and that package is not installed.
    """
    path = Path(path)
    if path.is_dir():
        path = _in_folder(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    with damage_is_said(path):
        return _opened(path)


def _opened(path: Path) -> ArrayFile:
    with open(path, "rb") as file:
        start = file.read(16)
    if path.name.endswith(".safetensors.index.json"):
        return ShardsReader(path)
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


def _in_folder(folder: Path) -> Path:
    """The file that a folder of Hugging Face is about.

    Raises:
        ValueError: If it is another folder; the error says what to give instead.
    """
    for name in (INDEX, "model.safetensors", "open_clip_model.safetensors"):
        if (folder / name).is_file():
            return folder / name
    if (folder / "saved_model.pb").is_file():
        raise ValueError(
            f"{str(folder)!r} is a SavedModel, which has no weights by name: give the file that "
            "it was exported from. `tf.saved_model.load` runs it as it is."
        )
    found = sorted(path.name for path in folder.iterdir() if path.name.endswith(_ENDINGS))
    raise ValueError(
        f"{str(folder)!r} is a folder; give the file in it. "
        f"{f'It has {found[:8]}' if found else 'It has no checkpoint'}; expected: a file that "
        f"ends with one of {list(_ENDINGS)}, or a folder with {INDEX!r} or 'model.safetensors'."
    )


def _members(path: Path) -> list[str]:
    with contextlib.suppress(Exception), zipfile.ZipFile(path) as archive:
        return archive.namelist()
    return []  # the reader says what is wrong


def _pickled(path: Path) -> ValueError:
    return ValueError(
        f"{str(path)!r} is a pickle of PyTorch, which can run any code when it is opened, so it "
        "is never loaded here. Save the weights as .safetensors where you trust the file: "
        "`safetensors.torch.save_file(model.state_dict(), 'model.safetensors')`. Where "
        "`torch.load(path, weights_only=True)` gives a dictionary that holds another one "
        "('model', 'state_dict', 'teacher', ...), save the inner one, the one with the arrays."
    )
