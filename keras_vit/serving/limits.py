"""Limits to what one client may cost the others, and the errors that clients get."""

from __future__ import annotations

import dataclasses

from keras_vit.utils.checks import check_counts, check_numbers

# Most characters of an error, which repeats what was received: enough to recognise it.
_MESSAGE = 1000


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits to what one client may cost the others.

    Attributes:
        images: Most images in a request.
        pixels: Most pixels in all image files of a request together.
        body_bytes: Bytes of the largest request.
        connections: Most open connections, of REST and of gRPC; more are refused.
        timeout: Most seconds, each by itself: until the headers of a request arrive, until its body
            arrives, until it runs, and for a connection without a request.
        grace: Seconds that open requests get to finish when the server ends.
        running: Most requests that run at a time, on both interfaces together.
        held: Most requests in memory at a time, on each interface, also those that arrive or wait;
            more are refused.

    Raises:
        ValueError: If one is not positive.
    """

    images: int = 64
    pixels: int = 400_000_000
    body_bytes: int = 32 * 2**20
    connections: int = 128
    timeout: float = 30.0
    grace: float = 10.0
    running: int = 4
    held: int = 64

    def __post_init__(self) -> None:
        seconds = {"timeout": self.timeout, "grace": self.grace}
        check_numbers("(0, inf)", **seconds)
        check_counts(1, **{k: v for k, v in vars(self).items() if k not in seconds})


class RequestError(Exception):
    """A request that cannot be answered.

    Args:
        code: Name of a gRPC status: `"INVALID_ARGUMENT"`, `"NOT_FOUND"`,
            `"RESOURCE_EXHAUSTED"`, `"UNAVAILABLE"`, `"CANCELLED"` or `"INTERNAL"`.
        message: Text for the client.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message if len(message) <= _MESSAGE else f"{message[:_MESSAGE]}...")
        self.code = code
