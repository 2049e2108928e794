"""From data to a folder with the trained model."""

from keras_vit.runs.settings import Settings, settings_for
from keras_vit.runs.training_run import run

__all__ = ["Settings", "run", "settings_for"]
