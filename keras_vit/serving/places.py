"""Places for running requests: first come, first served; a client that has gone gets none."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from keras_vit.serving.limits import RequestError

# Seconds after which a waiting request checks again whether its client is still there.
_LOOK_SECONDS = 0.1


class Places:
    """A number of places; many threads may call its methods.

    Args:
        count: How many.
    """

    def __init__(self, count: int):
        self._lock = threading.Lock()
        self._free = count
        self._waiting: collections.deque[threading.Event] = collections.deque()

    @contextlib.contextmanager
    def take(self, timeout: float, is_wanted: Callable[[], bool]) -> Iterator[None]:
        """Holds a place: `with places.take(30, context.is_active):`.

        Args:
            timeout: Seconds to wait for a place.
            is_wanted: Returns whether the client still waits for the answer.

        Raises:
            RequestError: If no place was free in time, or the client has gone.
        """
        self._wait(time.monotonic() + timeout, is_wanted)
        try:
            yield
        finally:
            self._give_back()

    def _wait(self, deadline: float, is_wanted: Callable[[], bool]) -> None:
        mine = threading.Event()
        with self._lock:
            if self._free:
                self._free -= 1
                return
            self._waiting.append(mine)
        while not mine.wait(min(_LOOK_SECONDS, max(deadline - time.monotonic(), 0))):
            if not is_wanted():
                error = RequestError("CANCELLED", "The client has gone.")
            elif time.monotonic() >= deadline:
                error = RequestError("UNAVAILABLE", "The server is busy. Try again later.")
            else:
                continue
            with self._lock:
                given = mine.is_set()
                if not given:
                    self._waiting.remove(mine)
            if given:
                self._give_back()
            raise error

    def _give_back(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1
