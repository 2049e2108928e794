"""Numbers as people write them."""

from __future__ import annotations

import math


def readable(number: float) -> str:
    """A number of at least two digits that matter: 1,070 and 12.3 and 0.85 and 0.0021.

    Args:
        number: Any finite number.
    """
    size = abs(number)
    if size >= 99.95:
        digits = 0
    elif size >= 9.995:
        digits = 1
    elif size >= 0.0995:
        digits = 2
    elif size == 0:
        digits = 0
    else:
        digits = 1 - math.floor(math.log10(size))
    return f"{number:,.{digits}f}"
