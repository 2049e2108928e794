"""How much memory converting a large checkpoint takes, and how long.

    .venv/bin/python -m benchmarks.size.converting --model ViT_L16

Writes a file of random numbers in the released layout with 21,843 classes, and converts it to
every format, each time in a new process. Prints the peak memory of that whole process, importing
TensorFlow included, as a multiple of the file's size. Exits with 1 if it is above 2.2.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import keras_vit
from benchmarks import ROOT
from benchmarks.common.command import options, start
from keras_vit.applications.manifest import manifest

GOAL = 2.2
TARGETS = {
    "google": "a.npz",
    "big_vision": "b.npz",
    "timm": "c.safetensors",
    "huggingface": "d",
    "keras": "e.keras",
}
SCRIPT = """
import sys, warnings
warnings.simplefilter("ignore")
from benchmarks.common.memory import peak
from benchmarks.common.turns import seconds
from keras_vit.checkpoints.convert import convert
imported = peak()
took = seconds(lambda: convert(sys.argv[1], sys.argv[2], format=sys.argv[3]))
print(imported, peak(), took)
"""


def main() -> int:
    parser = options(__doc__, results=False)
    parser.add_argument("--model", default="ViT_L16", choices=sorted(keras_vit.VARIANTS))
    arguments = parser.parse_args()
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        random = np.random.default_rng(0)
        path = Path(folder, "source.npz")
        shapes = manifest(keras_vit.VARIANTS[arguments.model], classes=21843)
        arrays: dict[str, Any] = {
            name: random.normal(0, 0.02, shape).astype("float32") for name, shape in shapes.items()
        }
        np.savez(path, **arrays)
        size = path.stat().st_size
        print(f"{arguments.model}: {size / 2**20:.0f} MiB")
        for name, target in TARGETS.items():
            command = [sys.executable, "-c", SCRIPT, str(path), str(Path(folder, target)), name]
            result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            if result.returncode:
                print(f"  {name:12} {result.stderr.splitlines()[-1]}")
                continue
            imported, peak, seconds = map(float, result.stdout.split()[-3:])
            worst = max(worst, peak / size)
            print(
                f"  {name:12} peak {peak / 2**20:5.0f} MiB = {peak / size:.2f} x the file "
                f"({imported / 2**20:.0f} MiB of it imports), {seconds:.0f} s",
                flush=True,
            )
    print(f"goal: at most {GOAL} x: {'reached' if worst <= GOAL else 'missed'}")
    return int(worst > GOAL)


if __name__ == "__main__":
    start(main)
