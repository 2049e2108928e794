"""What both interfaces share: the model in a session, its version, and the places to run it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vit.exports.saved_model.session import SessionModel
from keras_vit.serving.inputs import check_pixels
from keras_vit.serving.limits import Limits, RequestError
from keras_vit.serving.places import Places


class ServedModel:
    """One version of a model.

    Args:
        folder: A SavedModel, or a folder with a SavedModel for each version, named by its number.
            The highest version is served.
        name: The name that clients use. Default: the name of the folder without the version.
        limits: Limits of a request.

    Attributes:
        name: The name that clients use.
        version: A positive integer; 1 where the folder has no version.
        signatures: Name -> `SignatureDef`.
        limits: Limits of a request.
        places: Places for running requests. A request holds one from its reading to its answer,
            because both take memory.

    Raises:
        ValueError: If there is no SavedModel in the folder.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        name: str | None = None,
        limits: Limits | None = None,
    ):
        base, path, self.version = find_version(Path(folder))
        self.name = name or base.name
        self._session = SessionModel(path)
        self.signatures = self._session.signatures
        self.limits = limits or Limits()
        self.places = Places(self.limits.running)

    def check(self, name: str, version: int | None = None) -> None:
        """Raises a `RequestError` if another model or version is asked for."""
        if name != self.name or version not in (None, self.version):
            asked = name if version is None else f"{name}, version {version}"
            raise RequestError(
                "NOT_FOUND",
                f"There is no model {asked!r}; there is {self.name!r}, version {self.version}.",
            )

    def signature(self, name: str) -> Any:
        """The `SignatureDef` of that name, or a `RequestError`."""
        if name not in self.signatures:
            raise RequestError(
                "INVALID_ARGUMENT",
                f"The model has no signature {name!r}; it has {sorted(self.signatures)}.",
            )
        return self.signatures[name]

    def predict(
        self, signature: str, inputs: Mapping[str, np.ndarray], outputs: tuple[str, ...] = ()
    ) -> dict[str, np.ndarray]:
        """Runs a signature like `SessionModel.run`, but raises every error as a `RequestError`."""
        for array in inputs.values():
            if array.dtype == object:
                check_pixels(array.flat, self.limits)
        try:
            return self._session.run(inputs, signature, outputs)
        except (ValueError, TypeError) as error:
            raise RequestError("INVALID_ARGUMENT", str(error)) from error
        except tf.errors.CancelledError as error:
            raise RequestError("UNAVAILABLE", "The server has ended.") from error
        except (tf.errors.OpError, MemoryError, RuntimeError) as error:
            raise RequestError("INTERNAL", f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Frees the memory, and cancels running requests."""
        self._session.close()


def find_version(folder: Path) -> tuple[Path, Path, int]:
    """The folder of a model, the folder of its highest version, and the version.

    Raises:
        ValueError: If there is no SavedModel.
    """
    folder = folder.resolve()
    if (folder / "saved_model.pb").is_file():
        if _is_version(folder):
            return folder.parent, folder, int(folder.name)
        return folder, folder, 1
    versions = [
        path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if _is_version(path) and (path / "saved_model.pb").is_file()
    ]
    if not versions:
        raise ValueError(
            "Expected a SavedModel (a folder with saved_model.pb), or a folder with SavedModels "
            f"named 1, 2, ... in it. Received: {str(folder)!r}"
        )
    newest = max(versions, key=lambda path: int(path.name))
    return folder, newest, int(newest.name)


def _is_version(path: Path) -> bool:
    return path.name.isascii() and path.name.isdigit() and int(path.name) > 0
