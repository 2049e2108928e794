"""Says what is on photos, batch by batch: while the model computes one, the next is read."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_vit.data.image_files import photo_reader
from keras_vit.distribution import default_jit
from keras_vit.models import feature_model
from keras_vit.models.graph import functional
from keras_vit.models.input_and_head import ends_in_probabilities
from keras_vit.predict.classifier import Classifier, load_classifier
from keras_vit.predict.listing import batched
from keras_vit.predict.tables import Prediction, as_columns
from keras_vit.utils.checks import check_counts


class Predictor:
    """Says what is on photos.

    It is what `predict_folder` runs. Called with a batch of photos it returns their columns, so
    that Ray Data's `map_batches` takes the class.

    Args:
        model: A `Classifier`, or what `load_classifier` takes.
        weights: As in `load_classifier`.
        top: How many classes to name per photo, at least 1.
        features: Whether to give the features as well, the vector before the head; see
            `keras_vit.feature_model`.
        batch_size: Photos per step, at most.

    Attributes:
        classifier: The `Classifier`.
        top: How many classes are named: `top`, or all if there are fewer.
        width: Numbers in a vector of features; 0 without them.

    Raises:
        ValueError: As in `load_classifier`, if `top` or `batch_size` is below 1, or there are no
            features to give.
    """

    def __init__(
        self,
        model: Classifier | str | Path,
        weights: str | None = None,
        *,
        top: int = 5,
        features: bool = False,
        batch_size: int = 32,
    ):
        check_counts(1, top=top, batch_size=batch_size)
        found = model if isinstance(model, Classifier) else load_classifier(model, weights)
        self.classifier, self.batch_size, self.width = found, batch_size, 0
        self.top = min(top, len(found.class_names))
        self._read = photo_reader(found.image_size, found.resize, found.interpolation)
        self._logits = not ends_in_probabilities(found.model)
        # XLA compiles a batch of another size again, so all get the same.
        self._fills_up = default_jit(dtype=found.model.dtype_policy.name)
        self._size = 0
        if features:
            whole, self.width = _with_features(found.model)
            found = dataclasses.replace(found, model=whole)
        self._forward = found.compiled

    def predict(self, photos: Iterable[str | Path]) -> Generator[Prediction]:
        """A prediction for each photo, in the order given.

        Only two batches of photos are in memory at a time. A photo that cannot be read has an
        `error`, and holds up no other.

        Args:
            photos: Image files, however many.

        Raises:
            ValueError: If the model gives NaN or infinity.
        """
        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            before: list[Any] = []
            for batch in batched(map(Path, photos), self.batch_size):
                reading = [(path, pool.submit(self._read, path)) for path in batch]
                yield from self._of_batch(before)
                before = reading
            yield from self._of_batch(before)
        finally:
            pool.shutdown(cancel_futures=True)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The columns of a batch, for `map_batches` of Ray Data.

        Args:
            batch: With a column `photo`, `[B]`: the paths of image files, text or bytes.

        Returns:
            `photo` and `error`; `class_1` and `probability_1` for the likeliest class, and so on;
            with features, `features` `[B, D]`. The `error` is empty if the photo could be read;
            otherwise the classes are empty and the numbers NaN.
        """
        return as_columns([*self.predict(map(os.fsdecode, batch["photo"]))], self.top, self.width)

    def _of_batch(self, reading: Sequence[tuple[Path, Any]]) -> Iterator[Prediction]:
        """The predictions of photos that are being read."""
        found = [(path, future.result()) for path, future in reading]
        images = [image for _, image in found if not isinstance(image, str)]
        answers = iter(self._answers(images, len(found)) if images else ())
        for path, image in found:
            if isinstance(image, str):
                yield Prediction(path, error=image)
            else:
                yield Prediction(path, *next(answers))

    def _answers(self, images: Sequence[np.ndarray], size: int) -> Iterator[tuple[Any, ...]]:
        """The likeliest classes of each image, and its features."""
        self._size = max(self._size, size) if self._fills_up else len(images)
        batch = np.zeros((self._size, *images[0].shape), "float32")
        batch[: len(images)] = images
        outputs = [
            np.asarray(keras.ops.convert_to_numpy(output))[: len(images)]
            for output in keras.tree.flatten(self._forward(batch))
        ]
        scores, features = outputs[0], [None] * len(images)
        if self.width:
            features = outputs[1].astype("float32")
        if self._logits:
            scores = np.asarray(keras.ops.convert_to_numpy(keras.ops.softmax(scores)))
        if not np.isfinite(scores).all():
            raise ValueError(
                f"The model {self.classifier.model.name!r} gives NaN or infinity: its weights are "
                "damaged, or its training diverged. Take an earlier one"
            )
        names = self.classifier.class_names
        for row, vector in zip(scores, features, strict=True):
            best = np.argsort(-row, kind="stable")[: self.top]
            yield tuple((names[i], float(row[i])) for i in best), "", vector


def _with_features(model: Any) -> tuple[Any, int]:
    """The model with its features as a second output, and how many numbers these are."""
    graph: Any = functional(model)
    before_head = feature_model(model)
    # Of a model inside a larger one the part before the head is another model.
    inside = {*map(id, before_head.layers)} <= {*map(id, graph.layers)}
    vector = before_head.output if inside else before_head(graph.input)
    return keras.Model(graph.input, [graph.outputs[0], vector]), int(vector.shape[-1])


def classify(
    classifier: Classifier, photos: Sequence[str | Path], top: int = 5, batch_size: int = 32
) -> list[Prediction]:
    """Says what is on a few photos.

    Args:
        classifier: Of `load_classifier`.
        photos: Image files.
        top: How many classes to name per photo, at least 1.
        batch_size: Photos per step.

    Returns:
        A prediction for each photo, in the order given; one that cannot be read has an `error`.

    Raises:
        ValueError: If `top` is below 1, or the model gives NaN.
    """
    return [*Predictor(classifier, top=top, batch_size=batch_size).predict(photos)]
