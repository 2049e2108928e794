"""Names what is on photos, with any classifier.

`load_classifier` loads a model, `classify` says what is on a few photos, `predict_folder` writes
what is on millions, and a `Predictor` does so batch by batch, for Ray Data for example.
"""

from keras_vit.predict.classifier import (
    LABELS_FILE,
    MODEL_FILE,
    SUMMARY_FILE,
    Classifier,
    load_classifier,
    load_model,
)
from keras_vit.predict.folder import FolderSummary, predict_folder
from keras_vit.predict.photos import Prediction, Predictor, classify
from keras_vit.predict.tables import write_table

__all__ = [
    "Classifier",
    "FolderSummary",
    "LABELS_FILE",
    "MODEL_FILE",
    "Prediction",
    "Predictor",
    "SUMMARY_FILE",
    "classify",
    "load_classifier",
    "load_model",
    "predict_folder",
    "write_table",
]
