"""What a model and its features are worth.

train, labels = extract_labelled_features(model, batches)
evaluate_few_shot(train, labels, test, test_labels).means
"""

from keras_vit.evaluate.features import (
    extract_features,
    extract_labelled_features,
    feature_model,
)
from keras_vit.evaluate.few_shot import (
    FewShot,
    LeastSquares,
    draw_shots,
    evaluate_few_shot,
    fit_least_squares,
)
from keras_vit.evaluate.probes import LinearProbe, linear_probe, nearest_neighbours

__all__ = [
    "FewShot",
    "LeastSquares",
    "LinearProbe",
    "draw_shots",
    "evaluate_few_shot",
    "extract_features",
    "extract_labelled_features",
    "feature_model",
    "fit_least_squares",
    "linear_probe",
    "nearest_neighbours",
]
