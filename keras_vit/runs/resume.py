"""What is there already under the name of a run: nothing, a part, or all."""

from __future__ import annotations

import dataclasses
import json
import shutil
import uuid
import warnings
from pathlib import Path
from typing import Any

from keras_vit.predict import SUMMARY_FILE
from keras_vit.training.run_checkpoints import Checkpoints, check_same_run
from keras_vit.utils.checks import check_kinds
from keras_vit.utils.files import is_there, read_json, set_aside

# What is used of a summary, and of what a checkpoint says of its run.
_SUMMARY = {
    "train_accuracy": float,
    "validation_accuracy": float,
    "steps": int,
    "seconds": float,
    "data": {"train_images": int, "validation_images": int},
    "settings": dict,
}
_KINDS = {"run": {"settings": dict}, "note": {"run": str, "replaces": bool}}
# What may be another when a run is taken up: it changes nothing in the result.
_FREE = ("save_every", "tensorboard")
_DEVICES = ("strategy", "devices")


@dataclasses.dataclass(frozen=True)
class Begun:
    """Where a run stands.

    Attributes:
        folder: Of its checkpoints, `OUT.training`; it need not exist.
        compared: The settings that all of its starts must have in common.
        run: A name that no other run has.
        replaces: Whether a complete run of that name is to be kept under another one.
        summary: Of the run, if it is complete.
    """

    folder: Path
    compared: dict[str, Any]
    run: str
    replaces: bool
    summary: dict[str, Any] | None = None


def look(out: Path, settings: dict[str, Any], overwrite: bool, moves: bool = False) -> Begun:
    """What is there of a run.

    Args:
        out: The folder that it is to have.
        settings: Its settings, for JSON.
        overwrite: Whether to begin anew, whatever there is; checkpoints are set aside.
        moves: Whether it may go on with other devices than those that it began with.

    Raises:
        ValueError: If there is another run of that name, complete or not, or what is there is
            damaged.
    """
    folder = out.with_name(f"{out.name}.training")
    compared = json.loads(json.dumps({k: v for k, v in settings.items() if k not in _FREE}))
    if overwrite:
        if is_there(folder):
            set_aside(folder)
        return Begun(folder, compared, uuid.uuid4().hex, True)
    summary = _summary_of(out)
    found = summary["settings"] if summary else {}
    checkpoints = Checkpoints(folder)
    facts = checkpoints.facts()
    if facts is not None:
        check_kinds(f"the newest checkpoint in {str(folder)!r}", facts, _KINDS)
        note = facts["note"]
        if summary is not None and found.get("run") == note["run"]:
            # It was killed after the last of all steps but one: the checkpoints are to go.
            remove(folder)
        else:
            free = ("learning_rate",) if checkpoints.divergences() else ()
            if moves:
                compared |= _moved(compared, facts["run"]["settings"])
            check_same_run(compared, facts["run"]["settings"], folder, free)
            if is_there(out) and not note["replaces"]:
                _refuse(out)
            return Begun(folder, compared, note["run"], note["replaces"])
    if is_there(out):
        if summary is None or any(
            found.get(key, value) != value for key, value in compared.items()
        ):
            _refuse(out)
        return Begun(folder, compared, found.get("run", ""), False, summary)
    return Begun(folder, compared, uuid.uuid4().hex, False)


def _moved(here: dict[str, Any], there: dict[str, Any]) -> dict[str, Any]:
    """The devices that a run began with, and a warning if it goes on with others."""
    began = {name: there.get(name) for name in _DEVICES}
    ours = {name: here.get(name) for name in _DEVICES}
    if began != ours:
        said = [", ".join(f"{key} {value}" for key, value in x.items()) for x in (ours, began)]
        warnings.warn(
            f"the run goes on with {said[0]}; it began with {said[1]}. The results agree within "
            "rounding, but for the random numbers that each device draws",
            stacklevel=2,
        )
    return began


def _summary_of(out: Path) -> dict[str, Any] | None:
    try:
        return read_json(out / SUMMARY_FILE, _SUMMARY)
    except ValueError:
        return None


def _refuse(out: Path) -> None:
    raise ValueError(
        f"{out} exists already, and is not what these settings would give. Choose another name, "
        "or pass overwrite=True (--overwrite): it is then kept under another name"
    )


def copy(source: Path, target: Path) -> None:
    """Copies a file or a folder, if it is there."""
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.exists():
        shutil.copyfile(source, target)


def remove(folder: Path) -> None:
    """Removes the checkpoints of a run that is complete."""
    shutil.rmtree(folder, ignore_errors=True)
