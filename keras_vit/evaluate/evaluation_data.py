"""What a model is evaluated on: a folder, a TensorFlow data set, TFRecords, your own data.

Each becomes an `EvaluationData`: images one by one in a fixed order, prepared as for prediction,
with a label. Images of ImageNet's validation set also have their number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_vit.data import ImageData, image_ops
from keras_vit.data import by_name as data_by_name
from keras_vit.utils.checks import as_pair, check_choice, check_numbers

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class EvaluationData:
    """Images to evaluate on.

    Attributes:
        dataset: Elements, one by one: image float32 `[rows, columns, 3]` in [0, 255]; label int32,
            -1 if unknown; number int32 of an image of ImageNet's validation set, else 0.
        class_names: Names of the labels 0, 1, ...; `None` if labels are outputs of the model.
        count: Number of images; `None` if unknown.
        image_size: (rows, columns) in pixels.
        name: Where the images come from, for people to read.
        resize: How images got their size: `"squash"` or `"crop"`.
        interpolation: How images were resampled: `"bilinear"` or `"bicubic"`.
        unreadable: Files left out because they cannot be read.
        find_damage: As in `keras_vit.data.ImageData`.
    """

    dataset: tf.data.Dataset
    class_names: tuple[str, ...] | None
    count: int | None
    image_size: tuple[int, int]
    name: str
    resize: str = "squash"
    interpolation: str = "bilinear"
    unreadable: tuple[str, ...] = ()
    find_damage: Callable[[], tuple[str, str] | None] | None = None


def open_data(
    data: str | Path,
    image_size: int | tuple[int, int] = 224,
    *,
    resize: str = "squash",
    centre: float = image_ops.CENTRE_FRACTION,
    interpolation: str = "bilinear",
    split: str | None = None,
    truth: str | Path | None = None,
    on_error: str | None = None,
    data_dir: str | Path | None = None,
    progress: bool | None = None,
) -> EvaluationData:
    """Opens a folder or a data set to evaluate on.

    Args:
        data: A folder of class folders, or one that holds such a folder called `validation`,
            `val` or `test`; ImageNet's validation images in any of the layouts of
            `keras_vit.data.sources.imagenet`; a folder of `keras_vit.data.write_records`;
            `"digits"`; or the name of a TensorFlow data set.
        image_size: Pixels, one number or (rows, columns).
        resize: `"squash"` to the size, as the original evaluates, or `"crop"` the middle.
        centre: The share of the short side that `"crop"` keeps, in (0, 1]; 224 of 256 pixels.
        interpolation: `"bilinear"`, as Google evaluates, or `"bicubic"`, as timm does most models.
        split: Split of a TensorFlow data set, `"test[:1000]"` for example. Default:
            `"validation"`, else `"test"`.
        truth: For a flat folder, a file with the class of each image. Default: the file where
            ImageNet's archives put it.
        on_error: What to do with files of a folder that cannot be read: `"raise"` an error that
            names all of them (default), or `"skip"` them with such a warning.
        data_dir: Where TFDS keeps its files.
        progress: Whether to show a progress bar while looking at the files. Default: when the
            output is a terminal.

    Raises:
        ValueError: If there are no such data, files cannot be read, or an option is out of its
            range or does not fit the data.
        ImportError: If a package that reads the data is not installed.
    """
    size = as_pair(image_size, "image_size")
    check_choice("resize", resize, image_ops.RESIZES)
    check_choice("interpolation", interpolation, image_ops.INTERPOLATIONS)
    check_numbers("(0, 1]", centre=centre)
    found = data_by_name.open(
        data,
        to_evaluate=True,
        on_error=on_error,
        split=split,
        truth=truth,
        data_dir=data_dir,
        progress=progress,
    )

    def prepare(*element: Any) -> Any:
        image, label, number = found.read(*element)
        image = image_ops.fit_to_size(image, size, resize, centre, interpolation)
        return image, label, number

    import tensorflow as tf

    return EvaluationData(
        found.validation.dataset.map(prepare, tf.data.AUTOTUNE),
        found.class_names,
        found.validation.count,
        size,
        found.name,
        resize,
        interpolation,
        found.unreadable,
        found.find_damage,
    )


def of_image_data(data: ImageData) -> EvaluationData:
    """The validation images of training data."""
    return EvaluationData(
        _one_by_one(data.validation),
        data.class_names,
        data.num_validation,
        data.image_size,
        data.name,
        data.resize,
        data.interpolation,
        data.unreadable,
        data.find_damage,
    )


def of_batches(
    batches: Any, class_names: Sequence[str] | None = None, name: str = "data"
) -> EvaluationData:
    """From a `tf.data.Dataset` of batches (images `[B, rows, columns, 3]` in [0, 255], labels), or
    a pair of such arrays."""
    import tensorflow as tf

    if isinstance(batches, (tuple, list)) and len(batches) == 2:
        if len(batches[0]) != len(batches[1]):
            raise ValueError(
                "There must be as many labels as images. Received: "
                f"{len(batches[0])} images, {len(batches[1])} labels"
            )
        batches = tf.data.Dataset.from_tensors(tuple(np.asarray(part) for part in batches))
    spec = getattr(batches, "element_spec", None)
    if not isinstance(spec, tuple) or len(spec) != 2 or len(spec[0].shape) != 4:
        raise ValueError(
            "`data` must be a folder, the name of a TensorFlow data set, data of keras_vit, a "
            "tf.data.Dataset of batches (images [B, rows, columns, 3], labels [B]), or a pair of "
            f"such arrays. Received: {batches!r}"
        )
    rows, columns = spec[0].shape[1:3]
    found = class_names or getattr(batches, "class_names", None)
    return EvaluationData(
        _one_by_one(batches), None if found is None else tuple(found), None, (rows, columns), name
    )


def _one_by_one(batches: Any) -> Any:
    """Elements (image, label, 0) of batches (images, labels); shares become the largest class."""
    import tensorflow as tf

    def element(image: Any, label: Any) -> Any:
        if len(label.shape) > 0 and label.shape[-1] != 1:
            label = tf.argmax(label, axis=-1)
        label = tf.reshape(tf.cast(label, tf.int32), ())
        return tf.cast(image, tf.float32), label, tf.constant(0)

    return batches.unbatch().map(element)
