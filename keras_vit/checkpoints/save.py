"""Writes the weights of a model in the format of another library.

Files are written array by array under a temporary name and then renamed, so that a file is
either complete or not there, and needs hardly any memory.
"""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_vit.checkpoints.hugging_face import hugging_face_config, preprocessor_config
from keras_vit.checkpoints.model_arrays import Arrays, warn_of_lost_settings
from keras_vit.checkpoints.names.formats import FORMAT_NAMES
from keras_vit.utils.checks import check_choice
from keras_vit.utils.files import check_target, replacing

_KERAS_SUFFIXES = (".weights.h5", ".keras")


def save_weights(
    model: keras.Model, path: str | os.PathLike[str], format: str | None = None
) -> None:
    """Saves the weights of a model for this or another library. A file of that name is replaced.

    Args:
        model: A model that `ViT`, `BiT`, `Mixer` or a constructor built.
        path: Its ending decides the kind of file: `.npz`, `.safetensors`, `.weights.h5` or
            `.keras` (the model, without what it was compiled with). Without an ending, for
            `"huggingface"`, it is a new folder with `model.safetensors`, `config.json` and
            `preprocessor_config.json`, which `from_pretrained` takes.
        format: The library whose names and layouts to use: `"google"` (the released files),
            `"big_vision"`, `"timm"`, `"huggingface"`, `"open_clip"` or `"keras"`. Default:
            `"google"` for `.npz`, `"keras"` for Keras's files. A `.safetensors` needs it.

    Raises:
        ValueError: If the format has no place for a part of the model, or `path` and `format`
            do not fit each other. Then nothing is written.
        FileNotFoundError: If the folder of `path` does not exist.
        FileExistsError: If a folder is to be written and there is something at `path`.
    """
    path = Path(path)
    name = format_name(path, format)
    check_target(path, None, overwrite=path.suffix != "")
    if name == "keras":
        with replacing(path) as temporary:
            if path.suffix == ".keras":
                _write_keras(temporary, model)
            else:
                model.save_weights(temporary)
        return
    arrays = Arrays(model, name)
    if path.suffix:  # the folder of a Hugging Face model says them in its `config.json`
        warn_of_lost_settings(arrays.format, arrays.settings, model.name)
    with replacing(path) as temporary:
        _WRITERS[path.suffix](temporary, arrays)


def format_name(path: Path, wanted: str | None) -> str:
    if wanted is not None:
        check_choice("format", wanted, FORMAT_NAMES)
    is_keras = path.name.endswith(_KERAS_SUFFIXES)
    name = wanted
    if name is None and (is_keras or path.suffix == ".npz"):
        name = "keras" if is_keras else "google"
    if name is None:
        raise ValueError(
            '`format` must say whose names a .safetensors is to have, "timm" or '
            f'"huggingface" for example. Received: path={str(path)!r}, format=None'
        )
    folder = name == "huggingface" and path.suffix == ""
    if is_keras != (name == "keras") or not (
        is_keras or folder or path.suffix in (".npz", ".safetensors")
    ):
        raise ValueError(
            "`path` must end with .weights.h5 or .keras for format='keras', and with .npz or "
            ".safetensors for the others (for 'huggingface' it may be a folder to make). "
            f"Received: path={str(path)!r}, format={wanted!r}"
        )
    return name


def _write_keras(path: Path, model: keras.Model) -> None:
    # As `model.save` without the optimizer, which keeps a second copy of all weights in memory.
    weights = path.with_name("model.weights.h5")
    model.save_weights(weights)
    serialized: Any = keras.saving.serialize_keras_object(model)
    config = {key: value for key, value in serialized.items() if key != "compile_config"}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": keras.__version__}))
        archive.writestr("config.json", json.dumps(config))
        archive.write(weights, "model.weights.h5")


def _write_npz(path: Path, arrays: Arrays) -> None:
    # As `numpy.savez` does, but one array in memory at a time.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name in arrays:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, arrays[name], allow_pickle=False)


def _write_safetensors(path: Path, arrays: Arrays) -> None:
    # The library's own function wants all arrays at once, twice. The format: eight bytes for the
    # length of the header, the header in JSON, the numbers.
    settings = json.dumps(arrays.settings)
    header: dict[str, Any] = {"__metadata__": {"format": "pt", "keras_vit": settings}}
    end = 0
    for name in arrays:
        start, end = end, end + 4 * int(np.prod(arrays.shapes[name], dtype="int64"))
        header[name] = {
            "dtype": "F32", "shape": list(arrays.shapes[name]), "data_offsets": [start, end]
        }  # fmt: skip
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in arrays:
            file.write(arrays[name].astype("<f4", copy=False).data)


def _write_folder(path: Path, arrays: Arrays) -> None:
    """The folder of a Hugging Face model."""
    path.mkdir()
    _write_safetensors(path / "model.safetensors", arrays)
    for name, said in (
        ("config.json", hugging_face_config(arrays)),
        ("preprocessor_config.json", preprocessor_config(arrays)),
    ):
        (path / name).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


# By what the path ends with.
_WRITERS = {".npz": _write_npz, ".safetensors": _write_safetensors, "": _write_folder}
