"""What a run writes besides its checkpoints: `log.csv`, and files for TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_vit.utils.files import write_csv


class EventFiles(keras.callbacks.TensorBoard):
    """Keras's TensorBoard callback, whose files are complete after each evaluation.

    Otherwise what was evaluated in the last two minutes before a kill would be missing: a run that
    goes on does not evaluate it again.
    """

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        for writer in self._writers.values():
            writer.flush()


def write_log(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """Writes a CSV file, a line per evaluation.

    It is written whole each time: so it is never torn, and a run that was taken up in the middle
    leaves no line twice.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ["step", *(name for name in rows[0] if name != "step")]
    write_csv(path, [names, *([row[name] for name in names] for row in rows)])
