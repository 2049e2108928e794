"""Explains data that become unreadable during a run: which file, why, and what to do."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from keras_vit.data.image_data import ImageData
from keras_vit.utils.text import printable

# As TensorFlow says it, and as Python does inside a `tf.py_function`.
_VANISHED = re.compile(
    r"((?:/|[A-Za-z]:\\)[^;\n]+); No such file|No such file or directory: '([^'\n]+)'"
)


@contextlib.contextmanager
def data_errors(
    data: ImageData, reached: Callable[[], tuple[str, str]] = lambda: ("", "")
) -> Iterator[None]:
    """Inside the `with`, an error of TensorFlow that a data file caused names the file.

    TensorFlow itself names a file that has vanished, but not one that cannot be decoded; then all
    files are checked again.

    Args:
        data: The data that are read inside.
        reached: Called before the error is raised; returns when it happened (`", after step 3"`)
            and what is kept.

    Raises:
        OSError: If a file caused the error. Other errors are raised unchanged.
    """
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        vanished = _VANISHED.search(str(error))
        found = None
        if vanished is not None:
            found = vanished[1] or vanished[2], "the file has vanished"
        elif not isinstance(error, tf.errors.ResourceExhaustedError) and data.find_damage:
            found = data.find_damage()
        if found is None:
            raise
        when, kept = reached()
        raise OSError(
            f"A data file cannot be read any more{when}: {printable(found[0])} ({found[1]}). Put "
            f"it back as it was and run the same command again.{kept}"
        ) from error


def first_failure(dataset: Any, read: Callable) -> tuple[int, str] | None:
    """Reads a data set to its end.

    Args:
        dataset: A `tf.data.Dataset` of tuples.
        read: Decodes one.

    Returns:
        The number of the first element that cannot be read, from 1 on, and what TensorFlow says
        of it; `None` if all can be read.
    """
    import tensorflow as tf

    number = 1
    try:
        for _ in dataset.map(read, tf.data.AUTOTUNE):
            number += 1
    except tf.errors.OpError as error:
        return number, _as_phrase(error)
    return None


def _as_phrase(error: Exception) -> str:
    """What TensorFlow says of an error, without the names of its nodes."""
    text = re.sub(r"\{\{.*?\}\}|\[\[.*?\]\]|\[Op:.*", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return re.sub(r".*Iterator::\S+: ", "", lines[-1]).rstrip(".")
