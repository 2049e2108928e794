"""What the outputs say about each image: prediction, rank of the true class, loss.

Pure functions of NumPy arrays. Rows do not depend on each other, so batches make no difference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

# Number of mistakes whose photos are kept.
MOST_PHOTOS = 25
# Least probability, as in Keras, so that a float32 softmax that underflows has no infinite loss.
SMALLEST = 1e-7


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """The scores of images, in a fixed order.

    Attributes:
        labels: int32 `[N]`, the true class, or -1 if unknown.
        predictions: int32 `[N]`, the class of the highest output.
        ranks: int32 `[N]`, how many classes come before the true one: 0 if the prediction is
            right. The number of classes if the true one is unknown.
        losses: float64 `[N]`, cross-entropy in nats; NaN if the true class is unknown.
        numbers: int32 `[N]`, the number of an image of ImageNet's validation set, else 0.
    """

    labels: np.ndarray
    predictions: np.ndarray
    ranks: np.ndarray
    losses: np.ndarray
    numbers: np.ndarray

    @classmethod
    def of(
        cls, outputs: np.ndarray, labels: np.ndarray, numbers: np.ndarray, probabilities: bool
    ) -> Scores:
        """The scores of a batch.

        Args:
            outputs: `[B, classes]`, logits or probabilities. Of equal outputs the first class
                counts as the higher one.
            labels: `[B]` in [-1, classes), the true classes.
            numbers: `[B]`, as in the attributes.
            probabilities: Whether the outputs are probabilities.

        Raises:
            ValueError: If an output is not a number.
        """
        outputs = np.asarray(outputs).astype("float64")
        if np.isnan(outputs).any():
            raise ValueError(
                "The outputs of the model must be numbers. Received: NaN for "
                f"{np.isnan(outputs).any(axis=1).sum()} of {len(outputs)} images. Look at its "
                "weights: a training that has diverged leaves such a model."
            )
        labels = np.asarray(labels, "int32")
        known = labels >= 0
        classes = outputs.shape[1]
        of_label = outputs[np.arange(len(labels)), np.where(known, labels, 0)][:, None]
        before = np.arange(classes) < labels[:, None]
        ranks = ((outputs > of_label) | (before & (outputs == of_label))).sum(axis=1)
        if probabilities:
            losses = -np.log(np.maximum(of_label[:, 0] / outputs.sum(axis=1), SMALLEST))
        else:
            highest = outputs.max(axis=1, keepdims=True)
            losses = np.log(np.exp(outputs - highest).sum(axis=1)) + (highest - of_label)[:, 0]
        return cls(
            labels,
            outputs.argmax(axis=1).astype("int32"),
            np.where(known, ranks, classes).astype("int32"),
            np.where(known, losses, np.nan),
            np.asarray(numbers, "int32"),
        )

    def in_head(self, outputs: np.ndarray) -> Scores:
        """The same scores with classes numbered as outputs of a wider head.

        Args:
            outputs: int `[classes + 1]`, the output of each class; the last entry is -1, for
                images of unknown class.
        """
        return dataclasses.replace(
            self,
            labels=outputs[self.labels].astype("int32"),
            predictions=outputs[self.predictions].astype("int32"),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Mistake:
    """An image whose prediction is wrong.

    Attributes:
        loss: Cross-entropy in nats.
        place: Place of the image among all, from 0 on.
        label: The true class.
        prediction: The class of the highest output.
        image: `[rows, columns, 3]` in [0, 255].
    """

    loss: float
    place: int
    label: int
    prediction: int
    image: np.ndarray


def worst_mistakes(
    before: Sequence[Mistake], scores: Scores, places: np.ndarray, images: np.ndarray
) -> list[Mistake]:
    """The mistakes of the highest loss, at most 25, highest first.

    Args:
        before: The worst mistakes of earlier batches.
        scores: Scores of a batch.
        places: int `[B]`, the places of its images among all.
        images: `[B, rows, columns, 3]` in [0, 255].
    """
    wrong = np.flatnonzero((scores.labels >= 0) & (scores.labels != scores.predictions))
    mistakes = [
        Mistake(
            float(scores.losses[i]), int(places[i]), int(scores.labels[i]),
            int(scores.predictions[i]), images[i],
        )
        for i in wrong
    ]  # fmt: skip
    return sorted([*before, *mistakes], key=lambda m: (-m.loss, m.place))[:MOST_PHOTOS]


def joined(parts: Sequence[Scores], positions: np.ndarray) -> Scores:
    """Several batches as one, each image at its position.

    Args:
        parts: The batches, at least one.
        positions: int `[N]`, the positions of the images of all parts: 0 ... N - 1 in any order.
    """
    order = np.argsort(positions)
    names = [field.name for field in dataclasses.fields(Scores)]
    return Scores(
        *(np.concatenate([getattr(part, name) for part in parts])[order] for name in names)
    )
