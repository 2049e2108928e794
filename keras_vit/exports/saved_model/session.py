"""Runs a SavedModel as TF Serving does: as a graph in a session.

`tf.saved_model.load` rebuilds Python objects and forgives what the session loader does not, a
variable that only an object refers to for example.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

_INIT_SIGNATURE = "__saved_model_init_op"


class SessionModel:
    """A SavedModel in a session. Its methods may be called from many threads.

    Args:
        path: The folder with `saved_model.pb`.
        threads: Of one operation and between operations; 0 lets TensorFlow choose.

    Attributes:
        signatures: Name -> `SignatureDef`.

    Raises:
        ValueError: If there is no SavedModel, or the session loader cannot read it.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int = 0):
        if not Path(path, "saved_model.pb").is_file():
            raise ValueError(f"There is no SavedModel (saved_model.pb) in {str(path)!r}.")
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads
        )
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        try:
            with self._session.graph.as_default(), _without_deprecations():
                loaded: Any = tf.compat.v1.saved_model.load(
                    self._session, [tf.saved_model.SERVING], os.fspath(path)
                )
        except (tf.errors.OpError, RuntimeError, OSError) as error:
            self._session.close()
            raise ValueError(f"Cannot load the SavedModel {str(path)!r}: {error}") from error
        self.signatures: dict[str, Any] = {
            name: signature
            for name, signature in loaded.signature_def.items()
            if name != _INIT_SIGNATURE
        }

    def run(
        self,
        inputs: Mapping[str, Any],
        signature: str = "serving_default",
        outputs: tuple[str, ...] = (),
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            inputs: Name -> array.
            signature: Key of `signatures`.
            outputs: Names of those to return; none means all.

        Returns:
            Name -> array.

        Raises:
            ValueError: If a name is wrong, or the model refuses the inputs.
        """
        if signature not in self.signatures:
            raise ValueError(
                f"The model has no signature {signature!r}; it has {sorted(self.signatures)}."
            )
        definition = self.signatures[signature]
        if set(inputs) != set(definition.inputs):
            raise ValueError(
                f"The signature {signature!r} takes {sorted(definition.inputs)}. Received: "
                f"{sorted(inputs)}"
            )
        unknown = sorted(set(outputs) - set(definition.outputs))
        if unknown:
            raise ValueError(
                f"The signature {signature!r} gives {sorted(definition.outputs)}. Asked for: "
                f"{unknown}"
            )
        feeds = {
            definition.inputs[name].name: _feed(name, value, definition.inputs[name].dtype)
            for name, value in inputs.items()
        }
        fetches = {name: definition.outputs[name].name for name in outputs or definition.outputs}
        try:
            return self._session.run(fetches, feeds)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(error.message) from error

    def close(self) -> None:
        """Frees the memory of the model."""
        self._session.close()

    def __enter__(self) -> SessionModel:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _feed(name: str, value: Any, dtype: int) -> np.ndarray:
    """The array of an input; TensorFlow would call a wrong type an internal error."""
    wanted = tf.dtypes.as_dtype(dtype)
    if wanted == tf.string:
        array = np.asarray(value, object)  # NumPy's own strings lose zeros at the end
        fits = all(isinstance(item, (bytes, str)) for item in array.flat)
    else:
        array = np.asarray(value)
        fits = array.dtype == wanted.as_numpy_dtype
    if not fits:
        raise ValueError(f"The input {name!r} must be {wanted.name}. Received: {array.dtype}")
    return array


@contextlib.contextmanager
def _without_deprecations() -> Iterator[None]:
    """TensorFlow advises against the very loader that is wanted here."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
