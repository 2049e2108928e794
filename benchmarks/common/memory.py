"""How much memory this process has and had. Linux only.

Not `getrusage`: its peak goes on from that of the parent process.
"""

from __future__ import annotations

import ctypes
import gc
import re
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident() -> int:
    """Bytes that are resident now."""
    return _field("VmRSS")


def peak() -> int:
    """The most bytes that were resident, since the start or since `new_peak`."""
    return _field("VmHWM")


def new_peak() -> int:
    """Gives free memory back and forgets the peak; returns what is resident then, in bytes."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    _CLEAR.write_text("5")
    return resident()


def _field(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())
    if found is None:
        raise OSError(f"{_STATUS} has no {name}")
    return int(found[1]) * 1024
