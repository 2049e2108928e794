"""The process of one contestant; see `common/side_by_side.py`, which starts it and tells it to run.

    python -m benchmarks.contestants.process PEER JSON

Builds what is asked for, says so in a line of JSON, then reads numbers of steps, one a line, and
answers each with the seconds of every step, the highest memory of the process so far and that of a
step: from what is resident before the first one, when the model is built, to the peak in any. That
counts activations, gradients, what compiling needs and, where the first step makes them, the
numbers of the optimizer; weights, inputs and libraries were there before. In a process that uses a
graphics card, all this is the memory of the card.

Two entries of a task are for the process: `launches`, how many steps go to a card before one waits
for it (the seconds are those of one), and `limit`, the seconds after which it ends itself.
"""

from __future__ import annotations

import importlib
import json
import signal
import sys
from typing import Any

from benchmarks.common import memory, turns


def main() -> None:
    peer, task = sys.argv[1], json.loads(sys.argv[2])
    launches = task.pop("launches", 1)
    signal.alarm(task.pop("limit", 0))
    try:
        step, facts = importlib.import_module(f"benchmarks.contestants.{peer}").build(**task)
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), flush=True)
        return

    def steps() -> None:
        for _ in range(launches - 1):
            step()
        _wait(step())

    memory.new_peak()
    before, _ = memory.used()
    for _ in range(2):  # compiles, and fills caches
        steps()
    print(json.dumps({**facts, "on_card": memory.on_card() is not None}), flush=True)
    for line in sys.stdin:
        steps()
        seconds = [turns.seconds(steps) / launches for _ in range(int(line))]
        _, peak = memory.used()
        needs = {"peak_mib": peak / 2**20, "step_mib": (peak - before) / 2**20}
        print(json.dumps({"seconds": seconds, **needs}), flush=True)


def _wait(result: Any) -> None:
    """Until a card, which computes step after step, has this result."""
    if hasattr(result, "block_until_ready"):  # of JAX
        result.block_until_ready()
    elif getattr(result, "is_cuda", False):  # of PyTorch
        sys.modules["torch"].cuda.synchronize()


if __name__ == "__main__":
    main()
