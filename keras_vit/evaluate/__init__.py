"""How good a model is, by the measures of the papers.

    data = keras_vit.evaluate.open_data("imagenet/val", resize="crop")
    report = keras_vit.evaluate.accuracy(model, data)
    print(report)
    report.save("evaluation")

`accuracy` gives top-1 and top-5 with confidence intervals, ReaL accuracy, a row for each class and
the confusion matrix.
"""

from keras_vit.evaluate.accuracy import accuracy
from keras_vit.evaluate.confusion import confusion_figure
from keras_vit.evaluate.data import EvaluationData, open_data
from keras_vit.evaluate.proportions import Proportion, wilson_interval
from keras_vit.evaluate.real import real_accuracy, real_labels
from keras_vit.evaluate.report import ClassRow, Report

__all__ = [
    "ClassRow",
    "EvaluationData",
    "Proportion",
    "Report",
    "accuracy",
    "confusion_figure",
    "open_data",
    "real_accuracy",
    "real_labels",
    "wilson_interval",
]
