"""A prediction that is killed, for `test_folder.py`: run as a program, it forks and kills.

    python killed_prediction.py PHOTOS OUT KILLS SEED

TensorFlow takes seconds to import, so this process imports it once, without using it, and forks a
child for each start. A start is killed with SIGKILL from outside at a random moment: half of them
in the whole life of a process, half once it has written a part more. The last one is left alone.
Prints for each start the number of parts that were there at its end.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from keras_vit.predict import Classifier, predict_folder

# Takes the mean of each colour for the logit of its class.
NAMES, SIZE = ("red", "green", "blue"), (4, 4)
SECONDS = 3  # about the life of a process


def make_classifier() -> Classifier:
    model = keras.Sequential([
        keras.Input((*SIZE, 3)),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(3, name="head"),
        keras.layers.Softmax(),
    ])  # fmt: skip
    model.get_layer("head").set_weights([np.eye(3) / 10, np.zeros(3)])
    return Classifier(model, NAMES, SIZE)


def parts(out: Path) -> int:
    return len([*out.glob("part-*")])


def main(photos: Path, out: Path, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    for start in range(kills + 1):
        before = parts(out)
        child = os.fork()
        if child == 0:
            predict_folder(make_classifier(), photos, out, part_size=3, batch_size=2, verbose=0)
            os._exit(0)
        if start < kills:
            if start % 2:
                end = time.monotonic() + rng.uniform(0, SECONDS)
                while time.monotonic() < end and os.waitpid(child, os.WNOHANG) == (0, 0):
                    time.sleep(0.01)
            else:
                while parts(out) == before and os.waitpid(child, os.WNOHANG) == (0, 0):
                    time.sleep(0.0005)
                time.sleep(rng.uniform(0, 0.01))
            try:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            except (ProcessLookupError, ChildProcessError):
                pass  # it was faster
        else:
            assert os.waitpid(child, 0)[1] == 0
        print(parts(out), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
