"""Runs VTAB-1k task by task, and saves each result at once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_vit import plots, recipes, runs, training
from keras_vit.data.damage import data_errors
from keras_vit.distribution.hardware import XLA, under
from keras_vit.experiments.vtab import data as vtab_data
from keras_vit.experiments.vtab.report import picture, scores
from keras_vit.experiments.vtab.tasks import TASKS, Task
from keras_vit.models import VARIANTS
from keras_vit.recipes import Recipe
from keras_vit.runs import resume
from keras_vit.runs.from_settings import model_for
from keras_vit.runs.settings import SMALL
from keras_vit.training.engine import OneDevice
from keras_vit.training.run_checkpoints import check_same_run
from keras_vit.utils.checks import check_choice, check_counts
from keras_vit.utils.files import check_writable, set_aside, write_json

SETTINGS_FILE, SUMMARY_FILE, PICTURE_FILE = "settings.json", "summary.json", "vtab.png"

_WHY_SKIPPED = {
    "download": "data not there: pass download=True (--download), or another data_dir",
    "manual": "data not there, to be downloaded by hand (see --list)",
    "unknown": "data not there: {}",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to train; the defaults are those of the ViT paper (appendix B.1.1 and Table 4).

    All tasks have the same settings, as in the paper. Its authors chose them once, among two
    learning rates and two schedules, by the mean of all tasks on the 200 images. So by default
    nothing is tuned here.

    Attributes:
        model: A constructor of `keras_vit`, or `"small"`, as in `keras_vit.runs.Settings`.
        weights: The constructor's argument `weights`.
        image_size: Pixels of a side.
        steps: Number of updates. Default: 2,500 of 512 images, or as many as train on the same
            number of images.
        batch_size: Images of an update.
        accumulate: Parts into which a batch is split, to save memory.
        learning_rate: The highest learning rate. Default: .01, in proportion to the batch size.
        sweep: Learning rates to choose from for each task, as VTAB allows: the best on its 200
            images after training on its 800 (of equal ones the first). A single value only records
            its accuracy there. Default: none, which leaves that phase out.
        seed: Seed of everything random.
        dtype: Dtype policy; `"auto"` as in `keras_vit.runs.Settings`.
        xla: As in `keras_vit.runs.Settings`.
        save_every: Batches between checkpoints.
    """

    model: str = "ViT_B16"
    weights: str | None = "imagenet21k"
    image_size: int = 384
    steps: int | None = None
    batch_size: int = 512
    accumulate: int = 1
    learning_rate: float | None = None
    sweep: tuple[float, ...] = ()
    seed: int = 0
    dtype: str = "auto"
    xla: str = "auto"
    save_every: int = 500

    def recipe(self) -> Recipe:
        """The ViT paper's recipe for VTAB, with the batch size, learning rate and steps set here.

        Raises:
            ValueError: If a field is out of its range.
        """
        for name in ("batch_size", "accumulate", "steps", "save_every"):
            value = getattr(self, name)
            if value is not None:
                check_counts(1, **{name: value})
        if self.batch_size % self.accumulate:
            raise ValueError(
                "The batches of a step must be of one size: `accumulate` must divide "
                f"`batch_size`. Received: accumulate={self.accumulate}, "
                f"batch_size={self.batch_size}"
            )
        if any(not rate > 0 for rate in self.sweep):
            raise ValueError(f"`sweep` must hold positive rates. Received: sweep={self.sweep!r}")
        recipe = recipes.get("vit-finetune", "vtab", image_size=self.image_size)
        return recipe.scaled_to(self.batch_size).adapted(self.steps, self.learning_rate)


def run(
    settings: Settings,
    out: str | Path,
    *,
    tasks: Iterable[str | Task] | None = None,
    data_dir: str | Path | None = None,
    download: bool = False,
    overwrite: bool = False,
    verbose: str | int = "auto",
) -> dict[str, Any]:
    """Runs the protocol on all tasks whose data are there.

    With a `sweep`, each task first trains on 800 images with every learning rate, and takes the one
    that is best on 200 others. Then it trains on those 1,000, and measures the accuracy on all test
    images. Its result is a file `TASK.json` in the folder, which appears whole. `summary.json`
    holds all results, `vtab.png` shows them. If the process ends early, at any moment, the same
    call continues: with the tasks that have no file yet, and inside a task from its newest
    checkpoint (`TASK.training`). The result is that of an uninterrupted run. You may ask for more
    tasks later, in the same folder.

    Args:
        settings: How to train.
        out: The folder.
        tasks: Names of `keras_vit.experiments.vtab.TASKS`, or rows like those. Default: all 19.
        data_dir: Where TFDS keeps its files. Default: its own choice.
        download: Whether TFDS may download missing data.
        overwrite: Whether to start again; the old folder is kept as `OUT.old`.
        verbose: As in `keras_vit.training.fine_tune`; 0 prints nothing about the tasks either.

    Returns:
        `results` by task, those of earlier calls included; `skipped`: task -> reason; `scores` as
        `keras_vit.experiments.vtab.scores` returns them; `settings`.

    Raises:
        ValueError: If the folder holds something else, or a run with other settings; if there is
            no such task; if settings are out of their range, or the training diverges.
        OSError: If the disk is full, or a data file is damaged; checkpoints are kept.
        ImportError: If tensorflow-datasets or matplotlib is not installed.
        keras_vit.training.PreemptedError: After a SIGTERM; checkpoints are kept.
    """
    out, chosen = Path(out), vtab_data.as_tasks(tasks)
    settings = _resolved(settings)
    recipe = settings.recipe()
    recorded = _recorded(settings, recipe)
    _open_folder(out, recorded, overwrite)
    plots.require_matplotlib()  # now, not after the trainings
    states = vtab_data.available(data_dir, chosen)
    skipped: dict[str, str] = {}
    say = print if verbose != 0 else lambda *_, **__: None
    for task in chosen:
        path = out / f"{task.name}.json"
        one = _Task(task, settings, recipe, out, data_dir, verbose)
        if path.exists():
            resume.remove(one.checkpoints)  # left if the process was killed between the two
            continue
        state = states[task.name]
        if state.state != "prepared":
            reason = _prepare(task, state, data_dir) if download else _why(state)
            if reason is not None:
                say(f"{task.name}: skipped, {reason}", flush=True)
                skipped[task.name] = reason
                continue
        say(f"{task.name}:", flush=True)
        _write(path, one.result())
        resume.remove(one.checkpoints)
    results = _results(out)
    summary = {
        "results": results,
        "skipped": skipped,
        "scores": scores(results),
        "settings": recorded,
    }
    if results:
        plots.save(picture(summary), out / PICTURE_FILE)
    _write(out / SUMMARY_FILE, summary)
    return summary


@dataclasses.dataclass(frozen=True)
class _Task:
    """One task, from its data to its result."""

    task: Task
    settings: Settings
    recipe: Recipe
    out: Path
    data_dir: str | Path | None
    verbose: str | int

    @property
    def checkpoints(self) -> Path:
        return self.out / f"{self.task.name}.training"

    def result(self) -> dict[str, Any]:
        rates = self.settings.sweep
        tuned = {rate: self._tune(rate) for rate in rates}
        best = max(rates, key=lambda rate: tuned[rate]) if rates else self.recipe.learning_rate
        data, model, result = self._train("final", best)
        # The test images are used once, after all choices are made.
        with data_errors(data):
            test = OneDevice(model).evaluate(data.validation, data.batch_size)
        return {
            "title": self.task.title,
            "group": self.task.group,
            "stand_in": self.task.stand_in,
            "tfds": self.task.tfds,
            "test_accuracy": test["accuracy"],
            "test_loss": test["loss"],
            "test_images": data.num_validation,
            "train_images": data.num_train,
            "train_accuracy": result.train_accuracy,
            "learning_rate": best,
            "tuned": [[rate, accuracy] for rate, accuracy in tuned.items()],
            "steps": result.steps,
            "seconds": result.seconds,
        }

    def _tune(self, rate: float) -> float:
        """Accuracy on the 200 images; kept in a file, because a later training may be killed."""
        path = self.checkpoints / f"tune-{rate:g}.json"
        if not path.exists():
            _, _, result = self._train("tune", rate)
            _write(path, result.validation_accuracy)
        return json.loads(path.read_text("utf-8"))

    def _train(self, phase: str, rate: float) -> tuple[Any, keras.Model, training.TrainingResult]:
        settings = self.settings
        # Each training starts like the first of a process, because it may resume in a new one.
        keras.utils.clear_session()
        keras.utils.set_random_seed(settings.seed)
        data = vtab_data.load(
            self.task,
            phase,
            settings.image_size,
            settings.batch_size // settings.accumulate,
            data_dir=self.data_dir,
            seed=settings.seed,
        )
        built = runs.Settings(
            self.task.name,
            settings.model,
            settings.weights,
            image_size=settings.image_size,
            dtype=settings.dtype,
        )
        model = model_for(built, len(data.class_names), self.recipe)
        # Evaluations during the training use a sample of the training images, not the test images.
        watched = data
        if phase == "final":
            watched = dataclasses.replace(
                data,
                validation=data.train_as_validation.take(1),
                num_validation=min(data.batch_size, data.num_train),
            )
        result = training.fine_tune(
            model,
            watched,
            self.recipe.replace(learning_rate=rate),
            accumulate=settings.accumulate,
            hardware=under(None, settings.dtype, settings.xla),
            checkpoints=training.Checkpointing(
                self.checkpoints / f"{phase}-{rate:g}",
                settings.save_every,
                facts={"phase": phase, "rate": rate},
            ),
            verbose=self.verbose,
        )
        return data, model, result


def _resolved(settings: Settings) -> Settings:
    """The settings with `"auto"` replaced by the choice for one device; no more are used."""
    check_choice("model", settings.model, (SMALL, *VARIANTS))
    check_choice("xla", settings.xla, XLA)
    machine = under(None, settings.dtype, settings.xla)
    return dataclasses.replace(settings, dtype=machine.dtype, xla=machine.facts["xla"])


def _recorded(settings: Settings, recipe: Recipe) -> dict[str, Any]:
    """The settings that the results depend on, for JSON."""
    fields = dataclasses.asdict(settings) | {
        "weights": settings.weights and Path(settings.weights).name,
        "steps": recipe.total_steps,
        "warmup_steps": recipe.warmup_steps,
        "learning_rate": recipe.learning_rate,
    }
    del fields["save_every"]  # it does not change the results
    return json.loads(json.dumps(fields))


def _open_folder(out: Path, recorded: dict[str, Any], overwrite: bool) -> None:
    """Makes the folder of a run, or checks that it belongs to this run."""
    if out.exists() and overwrite:
        set_aside(out)
    there = {"a file"} if out.is_file() else set()
    if out.is_dir():  # without files that a killed process was writing
        there = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    if there and SETTINGS_FILE not in there:
        raise ValueError(
            f"{out} exists already, and is no run of VTAB. Choose another name, or pass "
            "overwrite=True (--overwrite): it is then kept under another name"
        )
    # Settings without any result or checkpoint may be replaced.
    if any(name.endswith((".json", ".training")) for name in there - {SETTINGS_FILE, SUMMARY_FILE}):
        check_same_run(recorded, json.loads((out / SETTINGS_FILE).read_text("utf-8")), out)
        return
    check_writable(out)
    _write(out / SETTINGS_FILE, recorded)


def _why(state: vtab_data.Availability) -> str:
    return _WHY_SKIPPED[state.state].format(state.detail)


def _prepare(task: Task, state: vtab_data.Availability, data_dir: Any) -> str | None:
    """Downloads and prepares the data. Returns why that failed, so that other tasks go on."""
    from keras_vit.data.sources.tfds import open_builder

    if state.state == "unknown":
        return _why(state)
    try:
        open_builder(task.tfds, data_dir).download_and_prepare()
    except Exception as error:  # of the network, of the archive, of TFDS's own assertions
        line = next(iter(str(error).strip().splitlines()), "")
        return f"TFDS could not prepare it: {type(error).__name__}: {line}"
    return None


def _results(out: Path) -> dict[str, Any]:
    """The results so far, in the order of the tasks; stand-ins come last."""
    known = [f"{name}.json" for name in TASKS]
    others = (SETTINGS_FILE, SUMMARY_FILE, *known)
    rest = sorted(path.name for path in out.glob("*.json") if path.name not in others)
    names: Sequence[str] = [name for name in (*known, *rest) if (out / name).exists()]
    return {
        name.removesuffix(".json"): json.loads((out / name).read_text("utf-8")) for name in names
    }


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)
