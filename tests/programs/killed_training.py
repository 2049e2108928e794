"""A training that is killed, for `test_survives.py`: run as a program, it forks and kills.

    python killed_training.py FOLDER KILLS SEED

TensorFlow takes seconds to import, so this process imports it once, without using it, and forks
a child for each start of the training; apart from that a start is a process like any other. The
first run is left alone. The second, in another folder, is killed KILLS times from outside with
SIGKILL and started again, and then left alone. Moments are random: half of them in the whole life
of a process, building the model, reading the checkpoint and training; half after its first step,
as a start has few steps beside all the rest. It saves after every step, so that about half of its
time it writes a checkpoint. A start that is to be killed makes no more than its share of the steps
and then waits for the signal, so that on a machine of any speed none ends by itself.

Prints a line per start as JSON; the final weights are in FOLDER/calm.npz and FOLDER/killed.npz.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_vit.data import from_arrays
from keras_vit.recipes import from_scratch_recipe
from keras_vit.training import Checkpointing, fine_tune

STEPS_PER_KILL = 20


def make_data():
    rng = np.random.default_rng(0)
    labels = np.arange(40, dtype="int32") % 3
    pixels = (rng.uniform(0, 100, (40, 6, 6, 3)) + 50 * labels[:, None, None, None]).astype("uint8")
    names = ("a", "b", "c")
    return from_arrays(
        (pixels, labels), (pixels[:8], labels[:8]), names, 6, 8, crop_area=(0.8, 1.0), seed=1,
        name="noise",
    )  # fmt: skip


def make_model(dropout_rate: float = 0.2, dtype: str = "float32") -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([
        keras.Input((6, 6, 3)),
        keras.layers.Rescaling(1 / 255, dtype=dtype),
        keras.layers.Flatten(dtype=dtype),
        keras.layers.Dense(16, "gelu", dtype=dtype),
        keras.layers.Dropout(dropout_rate, dtype=dtype),
        keras.layers.Dense(3, "softmax", dtype=dtype, name="head"),
    ])  # fmt: skip


class Begins(keras.callbacks.Callback):
    """Says that the first step has been made."""

    def __init__(self, descriptor: int):
        super().__init__()
        self.descriptor: int | None = descriptor

    def on_train_batch_end(self, batch, logs=None):
        if self.descriptor is not None:
            os.write(self.descriptor, b"x")
            self.descriptor = None


def train(folder: Path, result: Path, steps: int, callbacks: list) -> None:
    model = make_model()

    fine_tune(
        model,
        make_data(),
        from_scratch_recipe(steps, 0.01).replace(ema=0.99),
        checkpoints=Checkpointing(folder, every=1),
        callbacks=callbacks,
        verbose=0,
    )
    partial = result.with_name("partial.npz")
    np.savez(partial, *model.get_weights())
    os.replace(partial, result)


class WaitsAt(keras.callbacks.Callback):
    """Does not go on after the step with this number, of the whole training."""

    def __init__(self, step: int):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) >= self.step:
            signal.pause()


class Start:
    """A start of the training in a child process; with `waits_at`, one that is to be killed."""

    def __init__(self, folder: Path, result: Path, steps: int, waits_at: int | None = None):
        self.folder = folder
        self.before = self._partial()
        self.time = time.perf_counter()
        readable, writable = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(readable)
            try:
                tf.config.threading.set_intra_op_parallelism_threads(1)
                callbacks = [Begins(writable), *([WaitsAt(waits_at)] if waits_at else [])]
                train(folder, result, steps, callbacks)
                os._exit(0)
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
        os.close(writable)
        self.readable = readable

    def first_step(self) -> float:
        """Seconds until the first step was made, or the child has ended."""
        os.read(self.readable, 1)
        return time.perf_counter() - self.time

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> dict:
        """How it ended, which checkpoints there are, and whether it was writing one."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self.readable)
        code = os.waitstatus_to_exitcode(status)
        steps = sorted(path.name for path in self.folder.glob("step-*"))
        writing = self._partial()
        return {
            "end": f"signal {-code}" if code < 0 else f"exit {code}",
            "steps": steps,
            # Not one that an earlier start has left.
            "torn": writing is not None and writing != self.before,
            "seconds": round(time.perf_counter() - self.time, 2),
        }

    def _partial(self) -> tuple[int, int] | None:
        try:
            found = (self.folder / "writing.partial").stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size


def main() -> None:
    folder, kills, rng = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    steps = STEPS_PER_KILL * kills

    calm = Start(folder / "calm", folder / "calm.npz", steps)
    until_first = calm.first_step()
    facts = calm.end()
    print(json.dumps({"kill": None, **facts}), flush=True)
    # A little longer than a share of the steps takes, so that some starts are killed as they wait.
    window = 1.3 / kills * (facts["seconds"] - until_first)
    for number in range(kills):
        share = STEPS_PER_KILL * (number + 1) - 1
        start = Start(folder / "killed", folder / "killed.npz", steps, waits_at=share)
        since = "first step" if number % 2 else "fork"
        if number % 2:
            start.first_step()
            moment = rng.uniform(0, window)
        else:
            moment = rng.uniform(0, until_first + window)
        time.sleep(moment)
        start.kill()
        line = {"kill": f"{moment:.3f} s after the {since}", **start.end()}
        print(json.dumps(line), flush=True)
    last = Start(folder / "killed", folder / "killed.npz", steps)
    print(json.dumps({"kill": None, **last.end()}), flush=True)


if __name__ == "__main__":
    main()
