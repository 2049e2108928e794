"""How much memory converting a large checkpoint takes, and how long.

    .venv/bin/python benchmarks/converting.py --model ViT_L16

Writes a file of random numbers in the released layout with 21,843 classes, and converts it to
every format, each time in a new process. Prints the peak memory of that whole process, importing
TensorFlow included, as a multiple of the file's size. Exits with 1 if it is above 2.2.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import keras_vit
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
import re, sys, time, warnings
warnings.simplefilter("ignore")
def peak():  # not getrusage: its peak goes on from that of the parent process
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
from keras_vit.checkpoints.convert import convert
imported, start = peak(), time.perf_counter()
convert(sys.argv[1], sys.argv[2], format=sys.argv[3])
print(imported, peak(), time.perf_counter() - start)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT_L16", choices=sorted(keras_vit.VARIANTS))
    arguments = parser.parse_args()
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        random = np.random.default_rng(0)
        path = Path(folder, "source.npz")
        shapes = manifest(keras_vit.VARIANTS[arguments.model], classes=21843)
        np.savez(
            path,
            **{
                name: random.normal(0, 0.02, shape).astype("float32")
                for name, shape in shapes.items()
            },
        )
        size = path.stat().st_size
        print(f"{arguments.model}: {size / 2**20:.0f} MiB")
        for name, target in TARGETS.items():
            command = [sys.executable, "-c", SCRIPT, str(path), str(Path(folder, target)), name]
            result = subprocess.run(command, capture_output=True, text=True)
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
    sys.exit(main())
