"""How much memory this process has and had, on the host (Linux only) and on a graphics card.

Not `getrusage`: its peak goes on from that of the parent process.
"""

from __future__ import annotations

import ctypes
import gc
import re
import sys
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


def on_card() -> tuple[int, int] | None:
    """Bytes that JAX or PyTorch has on a graphics card now and had at most; `None` without one."""
    jax, torch = sys.modules.get("jax"), sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
    numbers = jax.local_devices()[0].memory_stats() if jax is not None else None
    return (numbers["bytes_in_use"], numbers["peak_bytes_in_use"]) if numbers else None


def used() -> tuple[int, int]:
    """Bytes now and at most so far: on the card of this process if it has one, else here."""
    return on_card() or (resident(), peak())


def _field(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())
    if found is None:
        raise OSError(f"{_STATUS} has no {name}")
    return int(found[1]) * 1024
