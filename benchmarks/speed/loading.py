"""How long loading a checkpoint takes beside plain reading of its arrays, and importing.

    .venv/bin/python -m benchmarks.speed.loading --model ViT_B16

Writes random weights in the released layout and in those of other libraries, then alternates, in
one process: reading all arrays of ours with `numpy.load`, each forgotten before the next, or all
kept; loading them into a model that is there; building the model alone; building it from
the file; and the same with keras-hub, timm and transformers (`make bench-peers`; what is not
there is left out). Prints medians, ratios and the peaks of memory, of new processes. Then it
imports `keras` and `keras_vit` by turns, in new processes. Exits with 1 if a goal is missed.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import keras_vit
from benchmarks import ROOT
from benchmarks.common.command import bars, options, start, write
from benchmarks.common.comparison import PLAIN
from benchmarks.common.turns import by_turns
from benchmarks.contestants import kerashub, pytorch, weights
from keras_vit.layers.base.initializers import weights_follow

SIZE = 224
OURS = "ours, build + load"


def peers(folder: Path, model: str) -> dict[str, Callable[[], Any]]:
    """Name -> building a model of another library, and loading its file; those that are here."""
    found: dict[str, Callable[[], Any]] = {}
    for name, job in {
        "keras-hub": lambda: kerashub.classifier(folder, "float32"),
        "timm": lambda: pytorch.classifier("timm", model, SIZE, folder),
        "transformers": lambda: pytorch.classifier("transformers", model, SIZE, folder),
    }.items():
        try:
            job()
            found[f"{name}, build + load"] = job
        except ImportError as reason:
            print(f"  {name}: not here ({reason})", file=sys.stderr)
    return found


def read_plainly(path: Path) -> None:
    with np.load(path, allow_pickle=False) as file:
        for name in file.files:
            file[name]


def read_and_keep(path: Path) -> None:
    with np.load(path, allow_pickle=False) as file:
        dict(file)


def build_alone(model: str) -> None:
    with weights_follow():
        getattr(keras_vit, model)(weights=None)


def peak_memory(code: str) -> int:
    """Bytes by which the peak of a new process grows while `code` runs after the imports."""
    script = (
        "import keras_vit\nfrom benchmarks.common.memory import peak\n"
        f"{code}\nprint(peak() - before)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(result.stdout.split()[-1])


def import_anew(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)


def main() -> int:
    parser = options(__doc__)
    parser.add_argument("--model", default="ViT_B16", choices=sorted(keras_vit.VARIANTS))
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = folder / weights.OURS
        model = getattr(keras_vit, arguments.model)(weights=None)
        if arguments.model in PLAIN:
            weights.write(folder, arguments.model, SIZE)
        else:
            keras_vit.save_weights(model, path)
        size = path.stat().st_size
        jobs = {
            "numpy.load, all arrays": lambda: read_plainly(path),
            "numpy.load, all arrays kept": lambda: read_and_keep(path),
            "ours, loading alone": lambda: keras_vit.load_weights(model, path),
            "ours, building alone": lambda: build_alone(arguments.model),
            OURS: lambda: keras_vit.from_checkpoint(path),
            **(peers(folder, arguments.model) if arguments.model in PLAIN else {}),
        }
        times = by_turns(jobs, arguments.repeats)
        medians = {name: statistics.median(t) for name, t in times.items()}
        plain = medians["numpy.load, all arrays"]
        print(f"{arguments.model}: {size / 2**20:.0f} MiB, median of {arguments.repeats}")
        for name, median in medians.items():
            low, high = min(times[name]), max(times[name])
            print(f"  {name:32} {median:6.2f} s  ({low:.2f}-{high:.2f})  {median / plain:.2f}x")
        build = f"model = keras_vit.{arguments.model}(weights=None)"
        load = f"keras_vit.load_weights(model, {str(path)!r})"
        both = f"keras_vit.from_checkpoint({str(path)!r})"
        # The first model of a process, however small, wakes up 50 MiB of the backend.
        wake = "keras_vit.ViT(16, 4, 12, 1, 3, 20); before = peak()"
        memory = {
            "loading, beside the model": peak_memory(f"{build}; before = peak(); {load}"),
            "building, random weights": peak_memory(f"{wake}; {build}"),
            OURS: peak_memory(f"{wake}; {both}"),
        }
        for name, growth in memory.items():
            print(f"  memory of {name:32} {growth / size:.2f}x the file")

    imports = by_turns(
        {name: partial(import_anew, name) for name in ("keras", "keras_vit")}, arguments.repeats
    )
    keras_time, our_time = (statistics.median(values) for values in imports.values())
    print(f"import keras {keras_time:.2f} s, import keras_vit {our_time / keras_time:.2f}x")

    goals = {
        "load_weights <= 3x plain reading": medians["ours, loading alone"] <= 3 * plain,
        "build + load <= 1.5x plain reading": medians[OURS] <= 1.5 * plain,
        # Twice would be 2; the rest is one array and what the backend keeps.
        "extra memory of load_weights <= 0.4x the file": memory["loading, beside the model"]
        <= 0.4 * size,
        "memory of building <= 1.2x the variables": memory["building, random weights"]
        <= 1.2 * size,
        "memory of build + load <= 1.3x the file": memory[OURS] <= 1.3 * size,
        "import keras_vit <= 1.1x import keras": our_time <= 1.1 * keras_time,
    }
    for goal, reached in goals.items():
        print(f"{'reached' if reached else 'MISSED'}: {goal}")
    found = {"seconds": times, "memory": memory, "import": imports, "goals": goals}
    panel = (f"{arguments.model}, from a file of {size / 2**20:.0f} MiB", "s", medians)
    write(arguments, found, lambda: bars([panel]))
    return 0 if all(goals.values()) else 1


if __name__ == "__main__":
    start(main)
