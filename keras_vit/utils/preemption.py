"""A process that is asked to end (SIGTERM) first brings what it does to a good end."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

# The exit code of a process that was asked to end and has kept what it did: start it again
# (EX_TEMPFAIL of sysexits.h). A process that the signal kills has another code, 143 in a shell.
EXIT_PREEMPTED = 75


class PreemptedError(Exception):
    """The process was asked to end (SIGTERM) and has saved its state; exit with 75."""


class WorkerLostError(PreemptedError):
    """Another process of the same training is gone, so this one ends too; exit with 75."""


@contextlib.contextmanager
def sigterm_sets(asked: threading.Event) -> Iterator[None]:
    """While inside, SIGTERM does not end the process but sets an event.

    Only the main thread hears signals: in another one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
