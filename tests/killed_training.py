"""A training that is killed, for `test_survives.py`: run as a program, it forks and kills.

    python killed_training.py FOLDER KILLS SEED

TensorFlow takes seconds to import, so this process imports it once, without using it, and forks
a child for each start of the training. The first child is left alone. The second run, in another
folder, is killed KILLS times and then left alone: every other time at a random moment within .15 s
after its first step, from outside; and else, by itself, at a random point of the writing of one of
its first checkpoints.
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

from keras_vit import training_state
from keras_vit.pipeline import Pipeline
from keras_vit.sources import of_arrays
from keras_vit.train import fine_tune, from_scratch_recipe

STEPS = 200


def make_data():
    rng = np.random.default_rng(0)
    labels = np.arange(40, dtype="int32") % 3
    pixels = (rng.uniform(0, 100, (40, 6, 6, 3)) + 50 * labels[:, None, None, None]).astype("uint8")
    pipeline = Pipeline.checked(6, 8, (0.8, 1.0), True, "squash", 1)
    train, validation = of_arrays((pixels, labels)), of_arrays((pixels[:8], labels[:8]))
    return pipeline.data(train, validation, lambda *pair: pair, ("a", "b", "c"), name="noise")


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
    """Says that the training is under way; and makes steps long enough to be killed in."""

    def __init__(self, descriptor: int, seconds: float):
        super().__init__()
        self.descriptor: int | None = descriptor
        self.seconds = seconds

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(self.seconds)
        if self.descriptor is not None:
            os.write(self.descriptor, b"x")
            self.descriptor = None


def train(folder: Path, result: Path, begins: Begins) -> None:
    model = make_model()

    def recipe(*args, **options):
        compile_args = from_scratch_recipe(*args, **options)
        compile_args["optimizer"].use_ema = True
        return compile_args

    fine_tune(
        model, make_data(), steps=STEPS, learning_rate=0.01, recipe=recipe, verbose=0,
        checkpoints=folder, save_every=1, callbacks=[begins],
    )  # fmt: skip
    partial = result.with_name("partial.npz")
    np.savez(partial, *model.get_weights())
    os.replace(partial, result)


def kill_in_a_write(rng: random.Random) -> str:
    """Prepares this process to kill itself in a checkpoint that it is about to write.

    The points are before and after each call that touches the file: an array, the fsync, the
    rename, and the fsync of the folder; some 40 per checkpoint.
    """
    left = rng.randint(1, 150)

    def guarded(function):
        def call(*args, **options):
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            value = function(*args, **options)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return value

        return call

    training_state._add = guarded(training_state._add)
    training_state._sync = guarded(training_state._sync)
    training_state.os.fsync = guarded(os.fsync)
    training_state.os.replace = guarded(os.replace)
    return f"call {left} of the writing"


def start(folder: Path, result: Path, kill: str | None, rng: random.Random) -> str:
    """A start of the training in a child; returns how it ended."""
    readable, writable = os.pipe()
    child_rng = random.Random(rng.random())
    pid = os.fork()
    if pid == 0:
        try:
            os.close(readable)
            tf.config.threading.set_intra_op_parallelism_threads(1)
            if kill == "write":
                kill_in_a_write(child_rng)
            train(folder, result, Begins(writable, 0.01 if kill == "moment" else 0.0))
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    os.close(writable)
    os.read(readable, 1)  # the first step, or the end of the child
    os.close(readable)
    if kill == "moment":
        time.sleep(rng.uniform(0, 0.15))
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else (
        f"exit {os.WEXITSTATUS(status)}"
    )  # fmt: skip


def main() -> None:
    folder, kills, rng = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    plan = [("calm", None)]
    plan += [("killed", "write" if i % 2 else "moment") for i in range(kills)]
    for name, kill in [*plan, ("killed", None)]:
        before = time.time()
        end = start(folder / name, folder / f"{name}.npz", kill, rng)
        steps = sorted(path.name for path in (folder / name).iterdir() if "step" in path.name)
        torn = (folder / name / "writing.partial").exists()
        seconds = round(time.time() - before, 1)
        line = {"run": name, "kill": kill, "end": end, "steps": steps, "torn": torn}
        print(json.dumps({**line, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
