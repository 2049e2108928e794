"""Runs on two logical devices: a process of its own for `test_strategies.py`.

    python strategy_run.py '[{"out": "runs/one", "kill_after": 3, "settings": {"data": "photos"}}]'

Logical devices must be made before TensorFlow starts. A run is ended after `kill_after` steps, as
a kill would; `copy` is another run, which then stands where the ended one does.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

from keras_vit import runs
from keras_vit.distribution import TrainStep
from keras_vit.runs import from_settings

# In place of `runs.settings.SMALL_MODEL`: what matters here is traced faster.
SMALL = {"patch_size": 8, "width": 16, "depth": 1, "num_heads": 2, "mlp_dim": 32}


class Killed(BaseException):
    """Stands for the end of the process; nothing catches it."""


def run(out, settings, kill_after=None, copy=None):
    step, calls = TrainStep.__call__, 0

    def counted(self, batch):
        nonlocal calls
        calls += 1
        if calls == kill_after:
            raise Killed
        return step(self, batch)

    TrainStep.__call__ = counted
    try:
        runs.run(runs.settings_for(**settings), out, verbose=0)
    except Killed:
        pass
    finally:
        TrainStep.__call__ = step
    if copy:
        shutil.copytree(f"{out}.training", f"{copy}.training")


def main():
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
    from_settings.SMALL_MODEL = SMALL
    for job in json.loads(sys.argv[1]):
        run(**job)


if __name__ == "__main__":
    main()
