"""The process of one contestant; see `side_by_side.py`, which starts it and tells it to run.

    python -m contestants.process PEER JSON

Builds what is asked for, says so in a line of JSON, then reads numbers of steps, one a line, and
answers each with the seconds of every step and the highest memory of the process so far.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time


def main() -> None:
    peer, task = sys.argv[1], json.loads(sys.argv[2])
    try:
        step, facts = importlib.import_module(f"contestants.{peer}").build(**task)
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), flush=True)
        return
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
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
        print(json.dumps({"seconds": seconds, "peak_mib": peak}), flush=True)


if __name__ == "__main__":
    main()
