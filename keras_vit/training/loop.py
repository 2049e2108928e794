"""The training loop: steps, evaluations between them, and checkpoints to go on from.

It does not use `model.fit`, because a run must resume in the middle of an epoch. `fit` always
begins a new epoch, and puts averaged weights into the model whenever it returns.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_vit.data import ImageData
from keras_vit.data.damage import data_errors
from keras_vit.training.engine import OneDevice
from keras_vit.training.logs import write_log
from keras_vit.training.run_checkpoints import (
    Checkpoints,
    DivergedError,
    check_same_run,
)
from keras_vit.utils.preemption import PreemptedError, sigterm_sets
from keras_vit.utils.progress import Progress

LOG_FILE = "log.csv"


@dataclasses.dataclass(frozen=True)
class Checkpointing:
    """Where and how often a run saves its state, and what else it stores there.

    Attributes:
        folder: For checkpoints and `log.csv`; made if it is not there.
        every: Batches between checkpoints. Default: before each evaluation only.
        facts: More settings to store, for JSON. A run with other facts does not resume from these
            checkpoints.
        note: Stored like `facts`, but not compared.
        contents: Whether a run that resumes compares every byte of the data. By default it
            compares names and sizes.
    """

    folder: str | Path
    every: int | None = None
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    note: dict[str, Any] = dataclasses.field(default_factory=dict)
    contents: bool = False


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long to train, and when to do what; all in batches of the data.

    Attributes:
        batches: In all.
        evaluate_every: Batches between evaluations; the last evaluation comes at the end.
        accumulate: Batches per update of the weights.
        checkpoints: `None` for none.
    """

    batches: int
    evaluate_every: int
    accumulate: int = 1
    checkpoints: Checkpointing | None = None


def train(
    engine: OneDevice,
    data: ImageData,
    plan: Plan,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
) -> tuple[list[dict[str, float]], float]:
    """Trains a model, from the newest checkpoint on if there is one.

    Args:
        engine: Makes the steps and evaluates; its model is compiled, the optimiser built.
        data: What to train on.
        plan: How long to train, and when to evaluate and save.
        callbacks: As for `model.fit`; an epoch ends with each evaluation.
        verbose: 0 for silence, 1 for one line that is updated, 2 for a line per evaluation.

    Returns:
        A row per evaluation, and the seconds that the training took, all starts together.

    Raises:
        DivergedError: If the loss or a weight becomes NaN or infinite.
        PreemptedError: After a SIGTERM, if there is a folder.
        OSError: If a checkpoint cannot be written, or a data file cannot be read.
        ValueError: If the checkpoints are those of another run, or all of them are damaged.
    """
    return _Run(engine, data, plan, callbacks, verbose).train()


class _Run:
    """The state of a run in memory."""

    def __init__(
        self,
        engine: OneDevice,
        data: ImageData,
        plan: Plan,
        callbacks: Sequence[keras.callbacks.Callback],
        verbose: str | int,
    ):
        self.engine, self.model, self.data, self.plan = engine, engine.model, data, plan
        self.keep = plan.checkpoints
        self.checkpoints = None if self.keep is None else Checkpoints(self.keep.folder)
        self.step = 0
        self.saved = -1
        self.rows: list[dict[str, float]] = []
        self.sums: dict[str, float] = {}  # since the evaluation before
        self.batches: Any = None
        self.earlier_seconds = 0.0
        self.start = time.perf_counter()
        self.asked_to_end = threading.Event()
        self.progress = Progress(
            plan.batches,
            data.batch_size * engine.batches_per_call,
            verbose if engine.writes else 0,
        )
        self.callbacks = keras.callbacks.CallbackList(
            list(callbacks),
            model=self.model,
            verbose=0,
            epochs=-(-plan.batches // plan.evaluate_every),
            steps=plan.evaluate_every,
        )

    def train(self) -> tuple[list[dict[str, float]], float]:
        plan, model = self.plan, self.model
        self._resume()
        model.stop_training = False
        to_hear = self.checkpoints is not None  # without them SIGTERM ends the process
        hearing = sigterm_sets(self.asked_to_end) if to_hear else contextlib.nullcontext()
        with hearing, self.progress, self._divergence_is_noted():
            self.callbacks.on_train_begin()
            while self.step < plan.batches and not model.stop_training:
                if self._evaluation_is_due():
                    self._evaluate()
                else:
                    self._train_until_due()
            with self.engine.hardware.scope():
                model.optimizer.finalize_variable_values(model.trainable_weights)
            # The last evaluation uses the final weights: averages, if the optimiser keeps them.
            if self.sums:
                self._evaluate()
            self.callbacks.on_train_end()
        return self.rows, self._seconds()

    def _resume(self) -> None:
        with self.engine.hardware.scope():
            facts = None if self.checkpoints is None else self.checkpoints.restore(self.model)
        if facts is None or self.keep is None or self.checkpoints is None:
            return
        rate = self.checkpoints.lower_rate(self.keep.facts, facts["run"])
        free = () if rate is None else ("learning_rate",)
        check_same_run(self.keep.facts, facts["run"], self.keep.folder, free)
        if not 0 <= facts["step"] <= self.plan.batches:
            raise ValueError(
                f"The checkpoint of step {facts['step']} in {self.keep.folder} does not belong to "
                f"a run of {self.plan.batches} steps. Start anew in another folder"
            )
        self.step = self.saved = facts["step"]
        self.rows, self.sums = facts["rows"], facts["sums"]
        self.earlier_seconds = facts["seconds"]
        self.progress.resumed(self.step, "" if rate is None else f" at the learning rate {rate:g}")

    def _evaluation_is_due(self) -> bool:
        return bool(self.sums) and self.step % self.plan.evaluate_every == 0

    def _train_until_due(self) -> None:
        """Batches until the next evaluation."""
        every = self.plan.evaluate_every
        if self.step % every == 0:
            self.callbacks.on_epoch_begin(self.step // every)
        end = min((self.step // every + 1) * every, self.plan.batches)
        with self._data_errors():
            for batch in self._batches(end - self.step):
                self.callbacks.on_train_batch_begin(self.step % every)
                logs = self.engine.train(batch)
                self._check_finite(logs)
                for name, value in logs.items():
                    self.sums[name] = self.sums.get(name, 0.0) + float(value)
                self.callbacks.on_train_batch_end(self.step % every, logs)
                self.step += 1
                self.progress.show(self.step, logs)
                stop = self.model.stop_training
                due = self.keep and self.keep.every and self.step % self.keep.every == 0
                if due or stop or self.step == end or self._asked():
                    self._save()
                if stop:
                    break

    def _batches(self, count: int) -> Any:
        if self.batches is None:
            by_hand = self.data.make_training is None and self.checkpoints is None
            start = self.step * self.engine.batches_per_call
            data = self.data.train.repeat() if by_hand else self.data.training(start)
            self.batches = iter(self.engine.distribute(data))
        return (next(self.batches) for _ in range(count))  # pyright: ignore

    def _check_finite(self, logs: dict[str, Any]) -> None:
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            rate = learning_rate_at(self.model.optimizer, self.step)
            raise DivergedError(
                f"The loss became {loss} at step {self.step + 1}: the training diverged. Try a "
                f"lower learning rate.{self._kept(' A lower one goes on from there.')} Received: "
                f"learning_rate={rate:.3g} at that step"
            )

    def _kept(self, more: str = "") -> str:
        if self.checkpoints is None or self.saved < 0:
            return ""
        return f" The checkpoint of step {self.saved} is in {self.checkpoints.folder}.{more}"

    def _save(self) -> None:
        """Writes a checkpoint, if there is a folder; ends the run if it was asked to."""
        if self.checkpoints is None or self.keep is None:
            return
        if self.saved != self.step:
            facts = {
                "run": self.keep.facts,
                "note": self.keep.note,
                "rows": self.rows,
                "sums": self.sums,
                "seconds": self._seconds(),
            }
            if self.engine.writes:
                self.checkpoints.save(self.step, self.model, facts)
            self.saved = self.step
        self._end_if_asked()

    def _asked(self) -> bool:
        """Whether this process or another of the same training was asked to end."""
        return self.engine.any_process(self.asked_to_end.is_set())

    def _end_if_asked(self, _: Any = None) -> None:
        if self.checkpoints is not None and self._asked():
            raise PreemptedError(
                f"asked to end (SIGTERM).{self._kept()} The same command goes on from there"
            )

    def _evaluate(self) -> None:
        """Adds a row. The checkpoint of this step is written already, so this can be repeated."""
        plan, count = self.plan, (self.step - 1) % self.plan.evaluate_every + 1
        row = {name: total / count for name, total in self.sums.items()}
        with self._data_errors():
            values = self.engine.evaluate(
                self.data.validation, self.data.batch_size, self._end_if_asked
            )
        row |= {f"val_{name}": value for name, value in values.items()}
        self.rows.append({**row, "step": self.step / plan.accumulate})
        self.sums = {}
        rate = learning_rate_at(self.model.optimizer, self.step - 1)
        if self.checkpoints is not None and self.engine.writes:
            write_log(self.checkpoints.folder / LOG_FILE, self.rows)
        self.progress.evaluated(self.step, row, rate)
        self.callbacks.on_epoch_end((self.step - 1) // plan.evaluate_every, row)

    def _seconds(self) -> float:
        return self.earlier_seconds + time.perf_counter() - self.start

    @contextlib.contextmanager
    def _divergence_is_noted(self) -> Iterator[None]:
        try:
            yield
        except DivergedError:
            if self.checkpoints is not None and self.keep is not None and self.engine.writes:
                self.checkpoints.note_divergence(self.step, self.keep.facts["learning_rate"])
            raise

    def _data_errors(self) -> contextlib.AbstractContextManager[None]:
        """If a data file cannot be read, saves what was reached and names the file."""

        def reached() -> tuple[str, str]:
            if self.step > 0:
                self._save()
            return f", after step {self.step}", self._kept()

        return data_errors(self.data, reached)


def learning_rate_at(optimizer: Any, batch: int) -> float:
    """The learning rate that an optimiser has for its batch 0, 1, ..."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    rate = optimizer._learning_rate
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        rate = rate(batch)
    return np.asarray(keras.ops.convert_to_numpy(rate)).item()
