"""Trains a model, and goes on after a crash."""

from keras_vit.training.fine_tuning import TrainingResult, fine_tune
from keras_vit.training.loop import Checkpointing
from keras_vit.training.run_checkpoints import DivergedError
from keras_vit.utils.preemption import PreemptedError

__all__ = ["Checkpointing", "DivergedError", "PreemptedError", "TrainingResult", "fine_tune"]
