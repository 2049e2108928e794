"""The state of a run on disk: written whole or not at all, read back bit for bit.

A checkpoint is one file, `step-00000120.npz`, with the weights of the model, the states of its
random numbers, the variables of the optimiser (momentum, averages, counters) and, as JSON, the
facts: the step, the history so far, whatever the caller adds. It is written under another name,
brought to the disk (fsync) and renamed: a process that is killed, a full disk or a power cut
leaves the one before. Every array has a checksum, so a file that was damaged later is recognised
too, and the checkpoint before it is used. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import warnings
import zipfile
from collections.abc import Collection, Iterable
from numbers import Real
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np

from keras_vit.checkpoints.files.npz import NpzReader
from keras_vit.utils.checks import check_counts, check_kinds, differences
from keras_vit.utils.files import (
    MOST_BYTES,
    is_there,
    parsed_json,
    read_json,
    replacing,
    write_json,
)


def check_same_run(
    wanted: dict[str, Any], found: dict[str, Any], folder: Any, free: Collection[str] = ()
) -> None:
    """Refuses to resume from the checkpoints of another run.

    Args:
        wanted: Settings and data of this run.
        found: Those of the run that wrote the checkpoints.
        folder: Where the checkpoints are.
        free: Names of settings that may differ.

    Raises:
        ValueError: If others differ; it names them.
    """
    differing = differences(wanted, found, free)
    if differing:
        raise ValueError(
            f"{folder} holds an unfinished run with other settings or data "
            f"({differing}). Repeat its command with the same data to resume it, choose "
            "another name, or start again with --overwrite (overwrite=True)"
        )


_FACTS = "facts"
_FORMAT = 1
_PARTIAL = "writing.partial"
_DIVERGED = "diverged.json"
# The facts of every checkpoint; callers add more.
_KINDS = {
    "step": int,
    "bfloat16": [str],
    "run": dict,
    "note": dict,
    "rows": [{str: Real}],
    "sums": {str: Real},
    "seconds": float,
}
_NAME = re.compile(r"step-(\d{8,})\.npz")


class DivergedError(ValueError):
    """The loss or a weight became NaN or infinite."""


class Checkpoints:
    """The checkpoints of one run, in one folder; one process may write at a time.

    Args:
        folder: Made by the first `save`.
        keep: How many of the newest are kept, at least 1. With 2 there is one to fall back on.
    """

    def __init__(self, folder: str | Path, keep: int = 2):
        check_counts(1, keep=keep)
        self.folder = Path(folder)
        self.keep = keep

    def paths(self) -> list[Path]:
        """The checkpoints that there are, the newest first.

        Raises:
            ValueError: If the folder is none, or cannot be read.
        """
        try:
            found = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]
        except OSError as error:
            if not is_there(self.folder):
                return []
            raise ValueError(
                f"Cannot read the folder of checkpoints {str(self.folder)!r}: {error.strerror}. "
                "Remove it, or choose another name"
            ) from error
        return sorted(found, key=_step_of, reverse=True)

    def save(self, step: int, model: keras.Model, facts: dict[str, Any]) -> Path:
        """Writes a checkpoint, and then removes those that are too old.

        Args:
            step: Its number; a checkpoint of that step is replaced.
            model: Compiled, with an optimiser that has been built.
            facts: What JSON can hold.

        Raises:
            DivergedError: If a weight is NaN or infinite; nothing is written.
            OSError: If it cannot be written, the disk being full for example. Those written
                before are as they were.
        """
        path = self.folder / f"step-{step:08d}.npz"
        facts = {"format": _FORMAT, **facts, "step": step, "bfloat16": []}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(path, self.folder / _PARTIAL, sync=True) as partial:
                _write(partial, model, facts)
        except OSError as error:
            before = [_step_of(older) for older in self.paths()]
            kept = f"That of step {before[0]} is kept" if before else "There is none before it"
            raise OSError(
                error.errno,
                f"Cannot write the checkpoint of step {step} in {self.folder}: "
                f"{error.strerror or error}. {kept}. Solve this, and run the same command again",
            ) from error
        for older in self.paths()[self.keep :]:
            with contextlib.suppress(OSError):  # it stays; that is no reason to end a training
                older.unlink(missing_ok=True)
        return path

    def note_divergence(self, step: int, learning_rate: float) -> None:
        """Notes that the run diverged, so that it may resume at a lower learning rate."""
        if self.paths():
            noted = [*self.divergences(), {"step": step, "learning_rate": learning_rate}]
            write_json(self.folder / _DIVERGED, {"divergences": noted})

    def divergences(self) -> list[dict[str, Any]]:
        """Where the run diverged so far: the `step`, and its highest `learning_rate`.

        Raises:
            ValueError: If the note of them is damaged.
        """
        path = self.folder / _DIVERGED
        if not is_there(path):
            return []
        kinds = {"divergences": [{"step": int, "learning_rate": float}]}
        return read_json(path, kinds)["divergences"]

    def lower_rate(self, wanted: dict[str, Any], found: dict[str, Any]) -> float | None:
        """The new learning rate, if the run diverged at a higher one; else `None`."""
        rate: Any = wanted.get("learning_rate")
        before: Any = found.get("learning_rate")
        known = isinstance(rate, float | int) and isinstance(before, float | int)
        return rate if known and rate < before and self.divergences() else None

    def facts(self) -> dict[str, Any] | None:
        """The facts of the newest checkpoint whose facts can be read, `None` if there is none.

        Raises:
            ValueError: If there are checkpoints and none can be read.
        """
        return self._first_good(_read_facts)

    def restore(self, model: keras.Model) -> dict[str, Any] | None:
        """Puts the newest good checkpoint into a model and its optimiser.

        A damaged one is passed over with a warning.

        Args:
            model: As it was when the checkpoint was written: compiled, the optimiser built.

        Returns:
            The facts, with `step`; `None` if there is no checkpoint.

        Raises:
            ValueError: If there are checkpoints and none can be read, or they are of another
                model or optimiser.
        """

        def read(path: Path) -> dict[str, Any]:
            facts = _read_facts(path)
            _assign(path, model, facts)
            return facts

        return self._first_good(read)

    def _first_good(self, read: Any) -> Any:
        errors = []
        for path in self.paths():
            try:
                return read(path)
            except _OtherModelError as error:
                raise ValueError(str(error)) from error
            except (ValueError, OSError) as error:
                errors.append(str(error))
                warnings.warn(
                    f"The checkpoint {path} is damaged; the one before it is taken. ({error})",
                    stacklevel=4,
                )
        if errors:
            raise ValueError(
                f"None of the {len(errors)} checkpoints in {self.folder} can be read; start anew "
                f"with --overwrite (overwrite=True), or in another folder. The newest: {errors[0]}"
            )
        return None


class _OtherModelError(Exception):
    """A checkpoint is in order, but its arrays are not those of the model."""


def _step_of(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def state_variables(model: keras.Model) -> dict[str, Any]:
    """All variables that the next step depends on, by a name that is the same in every process.

    Keras numbers the names of layers and optimisers as they come in a process; so what counts
    here is the order, which follows from the code that builds the model.
    """
    named = {f"model/{i:04d}/{v.name}": v for i, v in enumerate(model.variables)}
    optimizer: Any = model.optimizer
    return named | {f"optimizer/{i:04d}": v for i, v in enumerate(optimizer.variables)}


def _write(partial: Path, model: keras.Model, facts: dict[str, Any]) -> None:
    """One array after the other: a large state is not in memory a second time."""
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name, variable in state_variables(model).items():
            array = np.asarray(keras.ops.convert_to_numpy(variable))
            if array.dtype == ml_dtypes.bfloat16:  # NumPy would write it as two bytes of void
                facts["bfloat16"].append(name)
                finite, array = np.isfinite(array.astype("float32")), array.view("uint16")
            else:
                finite = np.isfinite(array)
            if name.startswith("model/") and not np.all(finite):
                raise DivergedError(
                    f"The weight {variable.path} became NaN or infinite at step "
                    f"{facts['step']}: the training diverged. Try a lower learning rate"
                )
            _add(archive, name, array)
        # Last, as the list of bfloat16 arrays is complete only now.
        text = json.dumps(facts).encode()
        _add(archive, _FACTS, np.frombuffer(text, "uint8"))


def _add(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


def _read_facts(path: Path) -> dict[str, Any]:
    with NpzReader(path) as reader:
        if math.prod(reader.shapes.get(_FACTS, (MOST_BYTES,))) >= MOST_BYTES:
            raise ValueError(f"{str(path)!r} has no facts of a run")
        where = f"the facts in {str(path)!r}"
        facts = parsed_json(reader[_FACTS].tobytes(), {"format": int}, where)
    if facts["format"] != _FORMAT:
        raise ValueError(
            f"{path} has the format {facts['format']!r}, this version of keras_vit reads {_FORMAT}"
        )
    check_kinds(where, facts, _KINDS)
    kinds_of_rows = {tuple(row) for row in facts["rows"]}
    if facts["step"] != _step_of(path) or len(kinds_of_rows) > 1:
        raise ValueError(f"{where} contradict each other")
    return facts


def _assign(path: Path, model: keras.Model, facts: dict[str, Any]) -> None:
    variables = state_variables(model)
    with NpzReader(path) as reader:
        arrays = set(reader) - {_FACTS}
        if arrays != set(variables):
            raise _OtherModelError(
                f"The checkpoint {path} is of another model or optimizer: it has {len(arrays)} "
                f"variables, the model and its optimizer have {len(variables)}. "
                f"{_some('Only in the checkpoint', arrays - set(variables))}"
                f"{_some('Only in the model', set(variables) - arrays)}"
            )
        for name, variable in variables.items():
            if reader.shapes[name] != tuple(variable.shape):
                raise _OtherModelError(
                    f"The checkpoint {path} is of another model: {name} ({variable.path}) has "
                    f"the shape {reader.shapes[name]} there and {tuple(variable.shape)} here"
                )
        half = set(facts["bfloat16"])
        for name, variable in variables.items():
            wanted = "uint16" if name in half else keras.backend.standardize_dtype(variable.dtype)
            if str(reader.dtypes[name]) != wanted:
                raise _OtherModelError(
                    f"The checkpoint {path} is of another model: {name} ({variable.path}) is "
                    f"{reader.dtypes[name]} there and {wanted} here"
                )
        for name, variable in variables.items():
            array = reader[name]
            variable.assign(array.view(ml_dtypes.bfloat16) if name in half else array)


def _some(what: str, names: Iterable[str]) -> str:
    names = sorted(names)
    return f"{what}: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}. " if names else ""
