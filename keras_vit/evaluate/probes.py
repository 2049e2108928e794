"""What frozen features are worth with all training images: linear probe and k-NN."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_vit.data.sources.folders import hold_out
from keras_vit.evaluate.features import check_same_width, checked_examples
from keras_vit.utils.checks import check_numbers

# Relative to the mean loss of an image, so that the best for a part is the best for the whole.
L2_GRID = tuple(10.0**exponent for exponent in range(-6, 2))
# Enough for the whole grid; otherwise scikit-learn warns.
_ITERATIONS = 2000
_ROWS_AT_ONCE = 1024


@dataclasses.dataclass(frozen=True)
class LinearProbe:
    """The result of a linear probe.

    Attributes:
        accuracy: Share of the test images that are right, in [0, 1].
        l2: The regularisation that was chosen.
        validation: (l2, accuracy, cross-entropy) on the held-out training images, for each `l2`
            that was tried.
    """

    accuracy: float
    l2: float
    validation: tuple[tuple[float, float, float], ...]


def require_scikit_learn() -> None:
    """Raises an ImportError that says what to install, before any work is done."""
    try:
        import sklearn.linear_model  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "The linear probe is scikit-learn's logistic regression: "
            "pip install keras-vit-applications[probes]"
        ) from error


def linear_probe(
    train_features: Any,
    train_labels: Any,
    test_features: Any,
    test_labels: Any,
    l2_grid: Sequence[float] = L2_GRID,
    validation_share: float = 0.2,
    seed: int = 0,
) -> LinearProbe:
    """Multinomial logistic regression on standardised features, by L-BFGS.

    It chooses the regularisation on a held-out part of the training images of each class: the most
    accurate, and of equally accurate ones that of the least cross-entropy. Then it fits all
    training images. The test images are used once.

    Args:
        train_features: `[N, D]`.
        train_labels: `[N]`, integers.
        test_features: `[M, D]`.
        test_labels: `[M]`.
        l2_grid: Values of `l2` to try. The fit minimises the mean cross-entropy of an image plus
            `l2 / 2` times the sum of the squared weights; the bias is free.
        validation_share: Share of every class to hold out, in (0, 1).
        seed: Seed of the choice of held-out images.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If an argument is not as described, there are fewer than two classes, or
            no class has a second image to hold out.
    """
    require_scikit_learn()
    train, train_labels = checked_examples(train_features, train_labels, "train")
    test, test_labels = checked_examples(test_features, test_labels, "test")
    check_same_width(train, test)
    grid = sorted((float(l2) for l2 in l2_grid), reverse=True)
    if not grid or not grid[-1] > 0:
        raise ValueError(f"`l2_grid` must hold numbers above 0. Received: l2_grid={l2_grid!r}")
    check_numbers("(0, 1)", validation_share=validation_share)
    if len(np.unique(train_labels)) < 2:
        raise ValueError("A linear probe needs images of at least two classes. Received: one class")
    pairs = [(i, int(label)) for i, label in enumerate(train_labels)]
    kept, held = ([i for i, _ in part] for part in hold_out(pairs, validation_share, seed))
    if not held:
        raise ValueError(
            "Some class must have two training images at least, so that one can be held out to "
            "choose the regularisation. Received: one image of each class"
        )
    tried = []
    for l2 in grid:
        fitted = _logistic_regression(train[kept], train_labels[kept], l2)
        tried.append((l2, *_accuracy_and_loss(fitted, train[held], train_labels[held])))
    best = max(tried, key=lambda row: (row[1], -row[2]))[0]
    fitted = _logistic_regression(train, train_labels, best)
    return LinearProbe(float(fitted.score(test, test_labels)), best, tuple(tried))


def _logistic_regression(features: np.ndarray, labels: np.ndarray, l2: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # scikit-learn minimises the sum over the images times C plus half the squared weights.
    regression = LogisticRegression(C=1 / (l2 * len(features)), max_iter=_ITERATIONS)
    return make_pipeline(StandardScaler(), regression).fit(features, labels)


def _accuracy_and_loss(
    fitted: Any, features: np.ndarray, labels: np.ndarray
) -> tuple[float, float]:
    from sklearn.metrics import log_loss

    probabilities = fitted.predict_proba(features)
    loss = log_loss(labels, probabilities, labels=fitted.classes_)
    return float(fitted.score(features, labels)), float(loss)


def nearest_neighbours(
    train_features: Any,
    train_labels: Any,
    test_features: Any,
    k: int = 5,
    temperature: float | None = None,
) -> np.ndarray:
    """Classifies images by their nearest training images, those of the largest cosine.

    Args:
        train_features: `[N, D]`.
        train_labels: `[N]`, integers.
        test_features: `[M, D]`.
        k: How many neighbours vote.
        temperature: `None` gives each neighbour one vote. With a number each has
            `exp(cosine / temperature)` votes, as in DINO (arXiv 2104.14294; k=20 and .07 there).

    Returns:
        `[M]` int64, labels. If classes have equal votes, the one of the nearest neighbour among
        them wins; of two equally near neighbours, the first in the order given.

    Raises:
        ValueError: If an argument is not as described.
    """
    train, train_labels = checked_examples(train_features, train_labels, "train")
    test, _ = checked_examples(test_features, np.zeros(len(test_features), int), "test")
    check_same_width(train, test)
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= len(train):
        raise ValueError(
            f"`k` must be an integer between 1 and the number of training images, {len(train)}. "
            f"Received: k={k!r}"
        )
    if temperature is not None:
        check_numbers("(0, inf)", temperature=temperature)
    train, test = _unit_length(train), _unit_length(test)
    num_classes = int(train_labels.max()) + 1
    votes = []
    for start in range(0, len(test), _ROWS_AT_ONCE):
        cosines = test[start : start + _ROWS_AT_ONCE] @ train.T
        votes.append(_vote(cosines, train_labels, num_classes, k, temperature))
    return np.concatenate(votes)


def _vote(
    cosines: np.ndarray, labels: np.ndarray, num_classes: int, k: int, temperature: float | None
) -> np.ndarray:
    """Cosines `[M, N]` to labels `[M]`."""
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :k]  # [M, k], the nearest first
    neighbours = labels[nearest]
    weights = np.ones(nearest.shape)
    if temperature is not None:
        # Minus 1, the largest cosine, so that small temperatures do not overflow.
        weights = np.exp((np.take_along_axis(cosines, nearest, 1) - 1) / temperature)
    rows = np.arange(len(cosines))[:, None]
    votes = np.zeros((len(cosines), num_classes))
    np.add.at(votes, (rows, neighbours), weights)
    best = votes[rows, neighbours] == votes.max(axis=1, keepdims=True)  # [M, k]
    return neighbours[rows[:, 0], best.argmax(axis=1)]


def _unit_length(features: np.ndarray) -> np.ndarray:
    """The features at length 1; a feature of zeros stays zero."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, 1)
