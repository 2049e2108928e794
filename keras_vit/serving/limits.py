"""What one client may cost the others, and the errors that clients are told."""

from __future__ import annotations

import dataclasses

from keras_vit.utils.checks import check_counts, check_numbers

# An error repeats what was received; this much of it is enough to recognise it.
_MESSAGE = 1000


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one client may cost the others.

    Attributes:
        images: Most images in a request.
        pixels: Most pixels that the image files of a request may have together.
        body_bytes: Largest request.
        connections: Open connections at a time, of REST and of gRPC; more are refused.
        timeout: Seconds for the headers of a request to arrive, as many for its body, as many to
            wait until it runs, and as many that a connection is kept without a request.
        grace: Seconds that requests get to end when the server ends.
        running: Requests that run at a time, on both interfaces together.
        held: Requests that are in memory at a time, on each interface, those that arrive or wait
            included; more are refused.

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
        message: For the client.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message if len(message) <= _MESSAGE else f"{message[:_MESSAGE]}...")
        self.code = code
