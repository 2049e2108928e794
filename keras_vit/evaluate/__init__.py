"""How good a model is, and what its features are worth.

    data = keras_vit.evaluate.open_data("imagenet/val", resize="crop")
    report = keras_vit.evaluate.accuracy(model, data)
    print(report)
    report.save("evaluation")

    train, labels = extract_labelled_features(model, batches)
    evaluate_few_shot(train, labels, test, test_labels).means

`accuracy` gives top-1 and top-5 with confidence intervals, ReaL accuracy, a row for each class and
the confusion matrix. The others learn from the features of a frozen model. `run` and
`few_shot_report` write the results into a folder.
"""

from keras_vit.evaluate import few_shot_report, run
from keras_vit.evaluate.accuracy import accuracy
from keras_vit.evaluate.evaluation_data import EvaluationData, open_data
from keras_vit.evaluate.features import extract_features, extract_labelled_features
from keras_vit.evaluate.few_shot import (
    FewShot,
    LeastSquares,
    draw_shots,
    evaluate_few_shot,
    fit_least_squares,
)
from keras_vit.evaluate.probes import LinearProbe, linear_probe, nearest_neighbours
from keras_vit.evaluate.proportions import Proportion, wilson_interval
from keras_vit.evaluate.real_labels import real_accuracy, real_labels
from keras_vit.evaluate.report import ClassRow, Report

__all__ = [
    "ClassRow",
    "EvaluationData",
    "FewShot",
    "LeastSquares",
    "LinearProbe",
    "Proportion",
    "Report",
    "accuracy",
    "draw_shots",
    "evaluate_few_shot",
    "extract_features",
    "extract_labelled_features",
    "few_shot_report",
    "fit_least_squares",
    "linear_probe",
    "nearest_neighbours",
    "open_data",
    "real_accuracy",
    "real_labels",
    "run",
    "wilson_interval",
]
