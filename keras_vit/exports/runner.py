"""Runs exported files, whatever their format: pixels in, outputs by name out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from keras_vit.models.input_range import InputRange


@dataclasses.dataclass(frozen=True)
class Runner:
    """A file that is ready to run.

    Attributes:
        run: uint8 pixels `[B, rows, columns, channels]`, any B, to the outputs by their names.
        taken: What the file itself takes as black and white; `run` scales pixels to it.
        dtype: Of its input.
    """

    run: Callable[[np.ndarray], dict[str, np.ndarray]]
    taken: InputRange
    dtype: str = "float32"

    def __call__(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        return self.run(pixels)
