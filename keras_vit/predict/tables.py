"""What is on photos, as a table: a row for each photo, in CSV or Parquet.

The columns are `photo`, `error`, then `class_1`, `probability_1` for the likeliest class,
`class_2`, `probability_2`, ... and the features, if there are any. The error says why a photo
cannot be read; it is empty if it can.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_vit.utils import files
from keras_vit.utils.checks import check_choice


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What is on a photo.

    Attributes:
        path: The photo.
        top: (name, probability in [0, 1]) of the likeliest classes, the likeliest first.
        error: Why the photo cannot be read; empty if it can.
        features: The vector before the head, `[D]` float32, if it was asked for.
    """

    path: Path
    top: tuple[tuple[str, float], ...] = ()
    error: str = ""
    features: np.ndarray | None = None


def as_columns(
    predictions: Sequence[Prediction], top: int, width: int = 0
) -> dict[str, np.ndarray]:
    """The columns of the table; see `Predictor.__call__`.

    Args:
        predictions: The rows.
        top: Classes in a row.
        width: Numbers in a vector of features; 0 without them.
    """
    columns = {
        "photo": _texts(row.path.as_posix() for row in predictions),
        "error": _texts(row.error for row in predictions),
    }
    nothing = (("", np.nan),) * top
    best = [row.top or nothing for row in predictions]
    for i in range(top):
        columns[f"class_{i + 1}"] = _texts(row[i][0] for row in best)
        columns[f"probability_{i + 1}"] = np.array([row[i][1] for row in best], "float32")
    if width:
        columns["features"] = np.full((len(predictions), width), np.nan, "float32")
        for place, row in zip(columns["features"], predictions, strict=True):
            if row.features is not None:
                place[:] = row.features
    return columns


def _texts(texts: Any) -> np.ndarray:
    r"""Objects, UTF-8 all: a byte of a file's name that is none becomes `\udcff`."""
    return np.array([t.encode("utf-8", "backslashreplace").decode() for t in texts], object)


def write_table(
    path: Path,
    predictions: Sequence[Prediction],
    top: int,
    width: int = 0,
    place: Path | None = None,
    sync: bool = False,
) -> None:
    """Writes a table, in place of a file that is there once it is complete.

    Args:
        path: Ends in `.csv` or `.parquet`.
        predictions: The rows.
        top: Classes in a row.
        width: Numbers in a vector of features; 0 without them.
        place: Where to write before; see `keras_vit.utils.files.replacing`.
        sync: Whether it is to be on the disk before it gets its name.

    Raises:
        ValueError: If the name ends otherwise, or the file cannot be written.
        ImportError: If pyarrow is missing, which writes Parquet.
    """
    write = writer(path.suffix.removeprefix("."))
    try:
        write(path, as_columns(predictions, top, width), place, sync)
    except OSError as error:
        raise ValueError(f"Cannot write {str(path)!r}: {error}") from error


def writer(format: str) -> Callable[..., None]:
    """The function that writes a format.

    Raises:
        ValueError: If it is none of `FORMATS`.
        ImportError: If what it needs is missing.
    """
    write = FORMATS[check_choice("format", format, FORMATS)]
    if write is _write_parquet:
        _pyarrow()
    return write


def _write_csv(path: Path, columns: dict[str, np.ndarray], *how: Any) -> None:
    vectors = columns.pop("features", np.zeros((len(columns["photo"]), 0), "float32"))
    heads = [*columns, *(f"feature_{i + 1}" for i in range(vectors.shape[1]))]
    rows = zip(*columns.values(), vectors, strict=True)
    files.write_csv(path, (heads, *([*map(_cell, (*row, *vector))] for *row, vector in rows)), *how)


def _cell(value: Any) -> str:
    """A number with as many digits as give it back; nothing where there is none."""
    return value if isinstance(value, str) else "" if np.isnan(value) else str(value)


def _write_parquet(path: Path, columns: dict[str, np.ndarray], *how: Any) -> None:
    pyarrow, parquet = _pyarrow()
    made = {name: pyarrow.array(column) for name, column in columns.items() if column.ndim == 1}
    if "features" in columns:
        numbers = pyarrow.array(columns["features"].reshape(-1))
        width = columns["features"].shape[1]
        made["features"] = pyarrow.FixedSizeListArray.from_arrays(numbers, width)
    with files.replacing(path, *how) as temporary:
        parquet.write_table(pyarrow.table(made), temporary)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            "Parquet needs pyarrow: pip install keras-vit-applications[parquet]. CSV needs nothing"
        ) from error
    return pyarrow, pyarrow.parquet


FORMATS = {"csv": _write_csv, "parquet": _write_parquet}
