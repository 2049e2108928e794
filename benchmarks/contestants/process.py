"""The process of one contestant; see `side_by_side.py`, which starts it and tells it to run.

    python -m contestants.process PEER JSON

Builds what is asked for, says so in a line of JSON, then reads numbers of steps, one a line, and
answers each with the seconds of every step, the highest memory of the process so far and that of a
step: from what is resident before the first one, when the model is built, to the peak in any. That
counts activations, gradients, what compiling needs and, where the first step makes them, the
numbers of the optimizer; weights, inputs and libraries were there before. Linux only.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import re
import sys
import time
from pathlib import Path


def main() -> None:
    peer, task = sys.argv[1], json.loads(sys.argv[2])
    try:
        step, facts = importlib.import_module(f"contestants.{peer}").build(**task)
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), flush=True)
        return
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is resident
    before = resident("VmRSS")
    for _ in range(2):  # compiles, and fills caches
        step()
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        step()
        seconds = []
        for _ in range(int(line)):
            start = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - start)
        peak = resident("VmHWM")
        memory = {"peak_mib": peak, "step_mib": peak - before}
        print(json.dumps({"seconds": seconds, **memory}), flush=True)


def resident(field: str) -> float:
    """MiB: `VmRSS`, what is resident, or `VmHWM`, its peak."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) / 1024


if __name__ == "__main__":
    main()
