"""What an open file of arrays is, of whatever kind."""

from __future__ import annotations

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
