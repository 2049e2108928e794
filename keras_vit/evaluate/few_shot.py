"""Few-shot accuracy by least squares on frozen features: big_vision's `fewshot_lsr`.

A few images of each class, the features of a frozen model, and a linear regression onto targets of
-1 and 1 in closed form. Nothing is tuned, so it measures only the features. The ViT paper follows
its pre-trainings with it (section 4, "Metrics").

big_vision computes the eigenvalues of X'X (or XX'), so that one decomposition serves many `l2`, but
it uses one `l2` only, 2^10. Solving the equations gives the same weights. Its arithmetic is
float32, here it is float64.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_vit.evaluate.features import check_same_width, checked_examples
from keras_vit.utils.checks import check_numbers

# As in `big_vision/evaluators/fewshot_lsr.py` and `big_vision/configs/common_fewshot.py`.
SHOTS = (1, 5, 10, 25)
SEEDS = 3
L2 = 2.0**10
# The value of the last feature, whose weight is the bias; so large that it is hardly regularised.
CONSTANT = 100.0
EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class LeastSquares:
    """A linear classifier of features.

    Attributes:
        mean: `[D]`, subtracted from the features.
        std: `[D]`, the divisor of the features after that.
        weights: `[D + 1, classes]`, the last row for the constant.
    """

    mean: np.ndarray
    std: np.ndarray
    weights: np.ndarray

    def scores(self, features: Any) -> np.ndarray:
        """Features `[N, D]` to scores `[N, classes]`, float64; the largest is the prediction."""
        return self.inputs(features) @ self.weights

    def inputs(self, features: Any) -> np.ndarray:
        """`[N, D]` to `[N, D + 1]`: standardised, with the constant."""
        return _inputs(np.asarray(features, "float64"), self.mean, self.std)


def fit_least_squares(
    features: Any, labels: Any, num_classes: int | None = None, l2: float = L2
) -> LeastSquares:
    """Regularised least squares onto targets of 1 for the class of an image and -1 for others.

    Args:
        features: `[N, D]`.
        labels: `[N]`, integers.
        num_classes: Number of classes. Default: the largest label plus 1.
        l2: Factor of the squared weights, those of the constant included; above 0.

    Raises:
        ValueError: If an argument is not as described.
    """
    features, labels = checked_examples(features, labels, "train")
    num_classes = _number_of_classes(num_classes, labels)
    check_protocol(l2=l2)
    mean = features.mean(axis=0)
    std = features.std(axis=0) + EPSILON
    x = _inputs(features, mean, std)  # [N, D + 1]
    y = np.where(labels[:, None] == np.arange(num_classes), 1.0, -1.0)  # [N, classes]
    # (X'X + l2)^-1 X'Y = X' (XX' + l2)^-1 Y: solve the smaller of the two systems.
    if x.shape[0] >= x.shape[1]:
        weights = np.linalg.solve(x.T @ x + l2 * np.eye(x.shape[1]), x.T @ y)
    else:
        weights = x.T @ np.linalg.solve(x @ x.T + l2 * np.eye(x.shape[0]), y)
    return LeastSquares(mean, std, weights)


def _inputs(features: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    return np.pad((features - mean) / std, ((0, 0), (0, 1)), constant_values=CONSTANT)


def _number_of_classes(num_classes: int | None, *labels: np.ndarray) -> int:
    present = max(int(of_set.max()) for of_set in labels) + 1
    if num_classes is not None and num_classes < present:
        raise ValueError(
            f"`num_classes` must be at least {present}, as there are labels up to {present - 1}. "
            f"Received: num_classes={num_classes!r}"
        )
    return present if num_classes is None else int(num_classes)


def draw_shots(labels: Any, shots: int, seed: int, num_classes: int | None = None) -> np.ndarray:
    """Chooses images to learn from, the same number of each class.

    The choice depends on the seed and the order of the images, as in big_vision. With one seed, a
    larger number of shots contains the images of a smaller one.

    Args:
        labels: `[N]`, integers from 0 on.
        shots: Images of each class, at least 1.
        seed: Seed of `numpy.random.default_rng`.
        num_classes: Number of classes. Default: the largest label plus 1.

    Returns:
        `[classes * shots]` int64, indices into `labels`, class by class.

    Raises:
        ValueError: If a class has fewer images. (big_vision takes as many as there are.)
    """
    labels = np.asarray(labels)
    check_protocol((shots,), (seed,))
    num_classes = _number_of_classes(num_classes, labels)
    check_shots(labels, shots, num_classes)
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(np.flatnonzero(labels == label)) for label in range(num_classes)]
    return np.concatenate([order[:shots] for order in orders])


def check_protocol(
    shots: Sequence[int] = SHOTS, seeds: int | Sequence[int] = SEEDS, l2: float = L2
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The numbers of shots in rising order, and the seeds; a ValueError if one is out of range."""
    draws = range(seeds) if isinstance(seeds, int) else seeds
    for name, values, least in (("shots", shots, 1), ("seeds", draws, 0)):
        whole = all(isinstance(value, (int, np.integer)) and value >= least for value in values)
        if not len(values) or not whole:
            raise ValueError(
                f"`{name}` must be one or more integers of at least {least}. "
                f"Received: {name}={seeds if name == 'seeds' else shots!r}"
            )
    check_numbers("(0, inf)", l2=l2)
    return tuple(sorted({int(shot) for shot in shots})), tuple(int(seed) for seed in draws)


def check_shots(
    labels: np.ndarray, shots: int, num_classes: int, class_names: Sequence[str] | None = None
) -> None:
    """Raises a ValueError that names the classes which have fewer images than `shots`."""
    counts = np.bincount(labels, minlength=num_classes)
    few = np.flatnonzero(counts < shots)
    if len(few):
        shown = ", ".join(
            f"{i if class_names is None else class_names[i]} ({counts[i]})" for i in few[:5]
        )
        raise ValueError(
            f"Every class must have at least {shots} images to train on for {shots} shots. Take "
            f"fewer shots, {counts.min()} at most, or leave classes out. Received: {len(few)} "
            f"classes with fewer, {shown}{', ...' if len(few) > 5 else ''}"
        )


@dataclasses.dataclass(frozen=True)
class FewShot:
    """Few-shot accuracies.

    Attributes:
        shots: Images of each class to learn from.
        seeds: The seeds that chose them.
        accuracies: Share of the test images that are right, in [0, 1]: a tuple for each of
            `shots`, with a number for each of `seeds`.
        num_classes: Number of classes.
        num_test: Number of test images.
        l2: The regularisation.
    """

    shots: tuple[int, ...]
    seeds: tuple[int, ...]
    accuracies: tuple[tuple[float, ...], ...]
    num_classes: int
    num_test: int
    l2: float

    @property
    def means(self) -> tuple[float, ...]:
        """The mean over the seeds, for each of `shots`."""
        return tuple(float(np.mean(row)) for row in self.accuracies)

    @property
    def spreads(self) -> tuple[float, ...]:
        """The standard deviation over the seeds (of n - 1), for each of `shots`; 0 for one seed."""
        several = len(self.seeds) > 1
        return tuple(float(np.std(row, ddof=1)) if several else 0.0 for row in self.accuracies)


def evaluate_few_shot(
    train_features: Any,
    train_labels: Any,
    test_features: Any,
    test_labels: Any,
    shots: Sequence[int] = SHOTS,
    seeds: int | Sequence[int] = SEEDS,
    l2: float = L2,
    num_classes: int | None = None,
) -> FewShot:
    """Learns from a few images of each class, and counts how many test images are right.

    Args:
        train_features: `[N, D]`, to draw from. With the features and the order of big_vision, the
            draws are the same as there.
        train_labels: `[N]`, integers.
        test_features: `[M, D]`; all are classified for each draw.
        test_labels: `[M]`.
        shots: Images of each class; each number gives a row, in rising order.
        seeds: How many draws (of the seeds 0, 1, ...), or the seeds.
        l2: As in `fit_least_squares`.
        num_classes: Number of classes. Default: the largest label plus 1.

    Raises:
        ValueError: If a class has fewer images than `shots` asks for, or an argument is not as
            described.
    """
    train, train_labels = checked_examples(train_features, train_labels, "train")
    test, test_labels = checked_examples(test_features, test_labels, "test")
    check_same_width(train, test)
    num_classes = _number_of_classes(num_classes, train_labels, test_labels)
    shots, seeds = check_protocol(shots, seeds, l2)

    def accuracy(shot: int, seed: int) -> float:
        chosen = draw_shots(train_labels, shot, seed, num_classes)
        classifier = fit_least_squares(train[chosen], train_labels[chosen], num_classes, l2)
        return float(np.mean(classifier.scores(test).argmax(axis=1) == test_labels))

    return FewShot(
        shots=shots,
        seeds=seeds,
        accuracies=tuple(tuple(accuracy(shot, seed) for seed in seeds) for shot in shots),
        num_classes=num_classes,
        num_test=len(test),
        l2=float(l2),
    )
