"""`accuracy`: how often a model is right, on any data and any strategy."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_vit.data import ImageData, image_ops
from keras_vit.data.damage import data_errors
from keras_vit.evaluate.class_matching import Head
from keras_vit.evaluate.evaluation_data import EvaluationData, of_batches, of_image_data, open_data
from keras_vit.evaluate.outputs import outputs
from keras_vit.evaluate.report import Report, report_of
from keras_vit.evaluate.scores import Mistake, Scores, joined, worst_mistakes
from keras_vit.models.input_and_head import (
    check_channels,
    check_takes_pixels,
    ends_in_probabilities,
)
from keras_vit.models.variants import DEFAULT_IMAGE_SIZE
from keras_vit.predict import Classifier
from keras_vit.utils.checks import check_counts
from keras_vit.utils.progress import Progress

# With more images no photos are kept, because each must be copied between devices.
MOST_IMAGES_WITH_PHOTOS = 10_000


def accuracy(
    model: Any,
    data: Any,
    *,
    class_names: Sequence[str] | None = None,
    batch_size: int = 32,
    resize: str | None = None,
    interpolation: str | None = None,
    restrict: bool = False,
    strategy: Any = None,
    jit_compile: bool = False,
    progress: bool | None = None,
) -> Report:
    """Evaluates a classifier: top-1, top-5 and ReaL accuracy, class by class.

    Every image counts once, for any batch size and number of devices. These change the outputs only
    in their last digits. So the counts are the same, unless the two best classes of an image differ
    only in those digits. The mean loss then agrees within 1e-6.

    Args:
        model: Takes pixels in [0, 255] `[B, rows, columns, 3]`, and returns logits or
            probabilities `[B, classes]`. Or the result of `keras_vit.predict.load_classifier`.
        data: The result of `open_data`, or what that takes (then at the model's size); a
            `keras_vit.data.ImageData`, whose validation images are used; a `tf.data.Dataset` of
            batches (images, labels); or a pair of such arrays.
        class_names: Names of the model's outputs, to find the classes of the data. Default: those
            of a `Classifier`, or ImageNet's for 1,000 and 21,843 outputs. Without names, the
            outputs are the classes of the data in their order.
        batch_size: Images of a batch, on all devices together.
        resize: `"squash"` or `"crop"`, where `data` is a folder or a name. Default: as the
            `Classifier` was evaluated in its training, else `"squash"`.
        interpolation: `"bilinear"` or `"bicubic"`, likewise. Default: the `Classifier`'s, else
            `"bilinear"`.
        restrict: Whether only the outputs that are classes of the data count, as for ImageNet-A
            and ImageNet-R with a head of 1,000. Otherwise the model may name any of its classes.
        strategy: The strategy of `keras_vit.distribution.strategy` in whose scope the model was
            made.
        jit_compile: Whether XLA compiles the forward pass.
        progress: Whether to show images per second and the time left. Default: when the output
            is a terminal.

    Returns:
        The numbers, ready to print and to save.

    Raises:
        ValueError: If the model and the data do not fit, or an argument is out of its range.
        OSError: If a file of the data is lost or damaged meanwhile.
    """
    if isinstance(model, Classifier):
        class_names, resize = class_names or model.class_names, resize or model.resize
        interpolation = interpolation or model.interpolation
        model = model.model
    _check(model, batch_size)
    head = Head.of(class_names, int(model.output_shape[-1]))
    if isinstance(data, (str, Path)):
        check_channels(model)
    data = _as_data(data, image_size_of(model), resize, interpolation, progress)
    _check_size(model, data)
    mapping = (
        np.arange(len(head.names)) if data.class_names is None else head.find(data.class_names)
    )
    if restrict and not len(mapping):
        raise ValueError(
            "`restrict` needs data with class names. Received: restrict=True, and "
            f"{data.name}, whose images have numbers only"
        )

    start = time.perf_counter()
    with data_errors(data):  # pyright: ignore[reportArgumentType]
        scores, mistakes = _scores(
            model, data, mapping, batch_size, restrict, strategy, jit_compile, progress
        )
    if (scores.labels < 0).all() and (head.wordnet_ids is None or not scores.numbers.any()):
        raise ValueError(
            "There is nothing to compare the predictions with. The images have no classes, only "
            "numbers of ImageNet's validation set, and the classes of the model are not "
            f"ImageNet's. Received: {data.name}, and a model of {head.names[0]!r}, ..."
        )
    return report_of(
        scores,
        mistakes,
        head,
        mapping,
        model=model.name,
        data=data,
        chosen_among=len(mapping) if restrict else len(head.names),
        seconds=time.perf_counter() - start,
    )


def image_size_of(model: Any) -> tuple[int, int]:
    """(rows, columns) that a model takes; 224 pixels where it takes any size."""
    rows, columns = (side or DEFAULT_IMAGE_SIZE for side in model.input_shape[1:3])
    return rows, columns


def _check(model: Any, batch_size: Any) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a keras.Model or a Classifier of `keras_vit.predict.load_classifier`. "
            f"Received: model={model!r}"
        )
    check_takes_pixels(model)
    input_shape, output_shape = model.input_shape, model.output_shape
    if len(input_shape) != 4 or len(output_shape) != 2:
        raise ValueError(
            "`model` must take images [B, rows, columns, 3] and give a score for each class, "
            f"[B, classes]; build it with its head (include_top=True). Received: a model from "
            f"{input_shape} to {output_shape}"
        )
    check_counts(1, batch_size=batch_size)


def _as_data(
    data: Any,
    image_size: tuple[int, int],
    resize: str | None,
    interpolation: str | None,
    progress: bool | None,
) -> EvaluationData:
    if isinstance(data, (str, Path)):
        return open_data(
            data,
            image_size,
            resize=resize or image_ops.RESIZES[0],
            interpolation=interpolation or image_ops.INTERPOLATIONS[0],
            progress=progress,
        )
    if isinstance(data, EvaluationData):
        return data
    return of_image_data(data) if isinstance(data, ImageData) else of_batches(data)


def _check_size(model: Any, data: EvaluationData) -> None:
    size = tuple(model.input_shape[1:3])
    if any(
        a is not None and b is not None and a != b
        for a, b in zip(size, data.image_size, strict=True)
    ):
        raise ValueError(
            "The model and the data must have the same image size. Received: a model for "
            f"{size}, data of {data.image_size}"
        )


def _scores(
    model: Any,
    data: EvaluationData,
    mapping: np.ndarray,
    batch_size: int,
    restrict: bool,
    strategy: Any,
    jit_compile: bool,
    progress: bool | None,
) -> tuple[Scores, list[Mistake]]:
    """The scores of all images in the order of the data; their labels are outputs of the model.

    Also the worst mistakes, unless there are too many images.
    """
    probabilities = ends_in_probabilities(model)
    # The label -1, of an unknown class, picks the last entry.
    outputs_of_labels = np.append(mapping, -1)
    batches = None if data.count is None else -(-data.count // batch_size)
    show = sys.stdout.isatty() if progress is None else progress
    parts: list[Scores] = []
    places: list[np.ndarray] = []
    keep = data.count is None or data.count <= MOST_IMAGES_WITH_PHOTOS
    # Everything but the image comes back with its output; the image too if `keep`.
    numbered = data.dataset.enumerate().map(
        lambda place, element: (*element, place, element[0]) if keep else (*element, place)
    )
    mistakes: list[Mistake] = []
    made = outputs(model, numbered, batch_size, strategy, jit_compile)
    right = known = 0
    with Progress(batches, batch_size, int(show), unit="batch") as bar:
        for step, (result, labels, numbers, place, *images) in enumerate(made, start=1):
            bad = labels[(labels < -1) | (labels >= len(mapping))]
            if len(bad):
                raise ValueError(
                    f"Labels must be in [0, {len(mapping)}), the classes of the data, or of the "
                    f"model where the data do not name theirs. Received: a label of {bad[0]}"
                )
            if restrict:
                part = Scores.of(result[:, mapping], labels, numbers, probabilities)
                part = part.in_head(outputs_of_labels)
            else:
                part = Scores.of(result, outputs_of_labels[labels], numbers, probabilities)
            parts.append(part)
            places.append(place)
            if images:
                mistakes = worst_mistakes(mistakes, part, place, *images)
            right += int((part.ranks == 0).sum())
            known += int((part.labels >= 0).sum())
            bar.show(step, {"top-1": right / known} if known else {})
    order = np.concatenate(places) if places else np.zeros(0, int)
    if len(order) == 0:
        raise ValueError(f"There must be images to evaluate on. Received: none in {data.name}")
    if not np.array_equal(np.sort(order), np.arange(len(order))):
        raise RuntimeError(
            f"Some images were left out or counted twice: {len(order)} came, of which "
            f"{len(np.unique(order))} are different. The strategy did not give all of them back."
        )
    return joined(parts, order), mistakes
