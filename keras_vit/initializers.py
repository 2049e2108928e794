"""Random numbers, unless weights follow anyway: for the larger models they take seconds."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

_weights_follow: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "weights_follow", default=False
)


@contextlib.contextmanager
def weights_follow() -> Iterator[None]:
    """Inside the `with`, the variables of new layers that would be random start as zeros."""
    token = _weights_follow.set(True)
    try:
        yield
    finally:
        _weights_follow.reset(token)


def random_start(initializer: Any) -> Any:
    """The initializer to use for a variable that starts at random: that one, or zeros."""
    return "zeros" if _weights_follow.get() else initializer
