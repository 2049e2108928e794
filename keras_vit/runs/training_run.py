"""Runs a training from data to a folder with all that you want to keep of it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import keras

from keras_vit import plots, training
from keras_vit.distribution.hardware import Hardware
from keras_vit.runs import resume
from keras_vit.runs.from_settings import data_for, hardware_for, model_for, recipe_for, recorded
from keras_vit.runs.run_folder import summarise, write
from keras_vit.runs.settings import Settings
from keras_vit.training.logs import EventFiles
from keras_vit.training.loop import LOG_FILE
from keras_vit.training.run_checkpoints import Checkpoints
from keras_vit.utils.files import check_writable, new_folder
from keras_vit.utils.locks import one_process

TENSORBOARD = "tensorboard"


def run(
    settings: Settings, out: str | Path, *, overwrite: bool = False, verbose: str | int = "auto"
) -> dict[str, Any]:
    """Trains as `settings` say and writes a run folder.

    In the folder: `model.keras` (takes pixels in [0, 255], gives probabilities; read it with
    `keras.models.load_model` after `import keras_vit`), `labels.txt` (a class name per line),
    `curves.png`, `predictions.png`, `log.csv`, `summary.json` and `README.txt`. It appears when
    all of this is in it. Until then checkpoints are beside it, in `OUT.training`: when the process
    ends before its time, at whatever moment, the same call goes on from the newest of them, and
    the result is that of a run that was not interrupted. After a divergence the same call with a
    lower learning rate goes on too; the summary then says so. If the run is complete already,
    nothing is done.

    Args:
        settings: What to do.
        out: The folder to write.
        overwrite: Whether there may be another run already, complete or not; it is kept under
            another name.
        verbose: As in `keras_vit.training.fine_tune`.

    Returns:
        What `summary.json` holds.

    Raises:
        ValueError: If `out` holds a run with other settings and `overwrite` is not given, another
            process is writing there, the data of a run that is taken up have changed, or as the
            parts say.
        ImportError: If something is not installed that `settings` ask for.
        OSError: If the disk is full, or a data file vanishes or is damaged; the checkpoints are
            kept.
        keras_vit.training.PreemptedError: After a SIGTERM; the checkpoints are kept.
    """
    out = Path(out)
    machine = hardware_for(settings)
    with one_process(out) if machine.is_chief else contextlib.nullcontext():
        settings = dataclasses.replace(settings, dtype=machine.dtype)
        return _run(settings, out, machine, overwrite, verbose)


def _run(
    settings: Settings, out: Path, machine: Hardware, overwrite: bool, verbose: str | int
) -> dict[str, Any]:
    facts = recorded(settings, machine)
    given = out, facts, overwrite, settings.devices is not None
    # The first process looks first, as it may set something aside.
    begun = resume.look(*given) if machine.is_chief else None
    machine.wait()
    begun = begun or resume.look(*given)
    if begun.summary is not None:
        return begun.summary
    plots.require_matplotlib()  # now, not after the training
    check_writable(out.parent)
    keras.utils.set_random_seed(settings.seed)
    data = data_for(settings, progress=False if verbose == 0 else None)
    recipe = recipe_for(settings, data)
    with machine.scope():
        model = model_for(settings, len(data.class_names), recipe)
    result = training.fine_tune(
        model,
        data,
        recipe,
        accumulate=settings.accumulate,
        hardware=machine,
        checkpoints=training.Checkpointing(
            begun.folder,
            settings.save_every,
            facts={"settings": begun.compared},
            note={"run": begun.run, "replaces": begun.replaces},
            contents=settings.compare_contents,
        ),
        callbacks=_tensorboard(settings, begun.folder) if machine.is_chief else (),
        verbose=verbose,
    )
    facts |= {"run": begun.run}
    if divergences := Checkpoints(begun.folder).divergences():
        facts |= {"divergences": divergences}
    if not machine.is_chief:
        return summarise(model, data, result, facts)
    with new_folder(out, begun.replaces, begun.folder / "results") as folder:
        for name in (LOG_FILE, TENSORBOARD):
            resume.copy(begun.folder / name, folder / name)
        summary = write(folder, model, data, result, facts)
    resume.remove(begun.folder)
    return summary


def _tensorboard(settings: Settings, folder: Path) -> list[keras.callbacks.Callback]:
    if not settings.tensorboard:
        return []
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError(
            "TensorBoard is not installed: pip install keras-vit-applications[tensorboard]"
        )
    return [EventFiles(str(folder / TENSORBOARD), write_graph=False)]
