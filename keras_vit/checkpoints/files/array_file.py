"""What an open file of arrays is, of whatever kind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np


class ArrayFile(Mapping[str, np.ndarray]):
    """A mapping from names to arrays, and a context manager that closes the file.

    Names, shapes and dtypes are read when it is opened, an array when it is asked for.

    Attributes:
        path: The file.
        shapes: Name -> shape.
        dtypes: Name -> dtype, or its name where NumPy has none (`"bfloat16"`).
        metadata: What the file says about its model; may be empty, and is untrusted.
    """

    path: Path
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, Any]
    metadata: dict[str, Any]

    def read(self, name: str) -> np.ndarray:
        """The array of a name; any error means that the file is damaged."""
        raise NotImplementedError

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.shapes:
            raise KeyError(name)
        with damage_is_said(self.path, f"the array {name!r}"):
            return self.read(name)

    def verify(self, allow_nonfinite: bool = False) -> None:
        """Reads every array once: what follows loads all of them or none.

        Raises:
            ValueError: If one is damaged or, unless `allow_nonfinite`, has NaN or infinity.
        """
        for name in self:
            array = self[name]
            if not allow_nonfinite:
                check_finite(array, name, self.path)

    def close(self) -> None:
        """Closes the file; a kind of file that is never left open has nothing to do."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def damage_is_said(path: Path, what: str = "it") -> Iterator[None]:
    """Any error inside becomes a `ValueError` that names the file.

    The libraries that read files raise nearly everything on damaged ones: `tokenize.TokenError`,
    `NotImplementedError`, `OSError`, `struct.error`. Our own sentences come through as they are.

    Args:
        path: The file.
        what: The part of it that is read.

    Raises:
        ValueError: If there is an error inside.
        FileNotFoundError, ImportError: The same, as they are: the file is not damaged.
    """
    try:
        yield
    except (FileNotFoundError, ImportError):
        raise
    except Exception as error:
        if type(error) is ValueError and str(path) in str(error):
            raise
        reason = str(error).strip() or "no reason given"
        raise ValueError(
            f"Cannot read {str(path)!r}: {what} is damaged ({type(error).__name__}: "
            f"{reason[:300]}). Download or export the file again."
        ) from error


def check_finite(array: np.ndarray, name: str, path: Path) -> None:
    """Refuses NaN and infinity, from which a model computes nothing but NaN.

    Raises:
        ValueError: If there is one.
    """
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        return
    wrong = array.size - int(np.isfinite(array).sum())
    if wrong:
        raise ValueError(
            f"{str(path)!r} holds NaN or infinity: {wrong} of the {array.size} numbers of "
            f"{name!r}. The training that wrote it probably diverged: take an earlier checkpoint, "
            "or pass allow_nonfinite=True to load it as it is."
        )
