"""The process of one contestant; see `common/side_by_side.py`, which starts it and tells it to run.

    python -m benchmarks.contestants.process PEER JSON

Builds what is asked for, says so in a line of JSON, then reads numbers of steps, one a line, and
answers each with the seconds of every step, the highest memory of the process so far and that of a
step: from what is resident before the first one, when the model is built, to the peak in any. That
counts activations, gradients, what compiling needs and, where the first step makes them, the
numbers of the optimizer; weights, inputs and libraries were there before.
"""

from __future__ import annotations

import importlib
import json
import sys

from benchmarks.common import memory, turns


def main() -> None:
    peer, task = sys.argv[1], json.loads(sys.argv[2])
    try:
        step, facts = importlib.import_module(f"benchmarks.contestants.{peer}").build(**task)
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), flush=True)
        return
    before = memory.new_peak()
    for _ in range(2):  # compiles, and fills caches
        step()
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        step()
        seconds = [turns.seconds(step) for _ in range(int(line))]
        peak = memory.peak()
        needs = {"peak_mib": peak / 2**20, "step_mib": (peak - before) / 2**20}
        print(json.dumps({"seconds": seconds, **needs}), flush=True)


if __name__ == "__main__":
    main()
