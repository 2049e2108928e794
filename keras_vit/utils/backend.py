"""Keras's operations and layers, typed loosely.

Keras picks a backend when it is imported, so a type checker sees every function return the union
of what all backends return, `None` included, and no use of it passes. Their behaviour is what the
tests check, on two backends.
"""

from __future__ import annotations

from typing import Any

import keras

ops: Any = keras.ops
