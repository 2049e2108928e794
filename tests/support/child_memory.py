"""The memory that a piece of work takes, measured in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from support.paths import ROOT

_HEADER = "from benchmarks.common.memory import new_peak, peak, resident\n"


def printed_bytes(script: str, folder: Path) -> list[int]:
    """The numbers that `script` prints, one a line.

    Args:
        script: Python, indented as it stands in the test; may call `peak`, `new_peak` and
            `resident` of `benchmarks.common.memory`.
        folder: Where it runs.
    """
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _HEADER + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 0, result.stderr
    return [int(line) for line in result.stdout.splitlines()]
