"""From data to a folder with the trained model.

`dry_run` says what a run would do.
"""

from keras_vit.runs import dry_run
from keras_vit.runs.settings import Settings, settings_for
from keras_vit.runs.training_run import run

__all__ = ["Settings", "dry_run", "run", "settings_for"]
