"""TensorFlow Datasets by name: the splits, the names of the classes, and how to read."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_vit import sources
from keras_vit.data_errors import first_failure
from keras_vit.sources import Source

FILE_FORMATS = ("tfrecord", "array_record")
# Where ImageNet and its like keep what a file was called.
FILE_NAME_KEY = "file_name"


class TfdsSource(NamedTuple):
    """Two splits whose elements, not yet decoded, `read` turns into (image, label)."""

    train: Source
    validation: Source
    read: Callable[..., Any]
    class_names: tuple[str, ...]
    folder: str

    def find_damage(self) -> tuple[str, str] | None:
        """See `ImageData.find_damage`; which of its files an example is in TFDS does not say."""
        for split, source in (("train", self.train), ("validate", self.validation)):
            failure = first_failure(source.dataset, self.read)
            if failure is not None:
                number, reason = failure
                return self.folder, f"example {number} of those to {split} on: {reason}"
        return None


def load(
    name: str,
    train_split: str | None = None,
    validation_split: str | None = None,
    data_dir: str | Path | None = None,
    file_format: str | None = None,
) -> TfdsSource:
    """Loads a data set of images with one label each; see `keras_vit.data.from_tfds`."""
    found = _open(name, data_dir, file_format)
    splits = _splits(found.builder.info, train_split, validation_split)
    (train, validation), read = found.sources(splits)
    return TfdsSource(train, validation, read, found.class_names, found.folder)


class TfdsSplit(NamedTuple):
    """One split, whose elements `read` turns into (image, label), or (image, label, file name)
    where the data set says what the files were called."""

    source: Source
    read: Callable[..., Any]
    class_names: tuple[str, ...]
    folder: str

    def find_damage(self) -> tuple[str, str] | None:
        """See `ImageData.find_damage`."""
        failure = first_failure(self.source.dataset, self.read)
        return failure and (self.folder, f"example {failure[0]}: {failure[1]}")


def load_split(
    name: str, split: str | None = None, data_dir: str | Path | None = None
) -> TfdsSplit:
    """Loads a split to evaluate on.

    Args:
        name: As for `keras_vit.data.from_tfds`.
        split: Default: `"validation"`, else `"test"`, else the only one there is.
        data_dir: As for `keras_vit.data.from_tfds`.
    """
    found = _open(name, data_dir, None)
    present = sorted(found.builder.info.splits)
    if split is None:
        split = next((known for known in ("validation", "test") if known in present), None)
        split = present[0] if split is None and len(present) == 1 else split
    if split is None:
        raise ValueError(
            f"The data set has the splits {present}: say which to evaluate on. Received: split=None"
        )
    _check_split(found.builder.info, split)
    (source,), read = found.sources((split,), with_names=True)
    return TfdsSplit(source, read, found.class_names, found.folder)


class _Opened(NamedTuple):
    """A data set that is there, and where in its examples the image and the label are."""

    builder: Any
    tfds: Any
    image_key: str
    label_key: str
    class_names: tuple[str, ...]
    by_index: bool

    @property
    def folder(self) -> str:
        return str(self.builder.data_dir)

    def sources(
        self, splits: Sequence[str], with_names: bool = False
    ) -> tuple[list[Source], Callable[..., Any]]:
        """Splits, and what reads their elements; with the names of files where there are any."""
        keys = [self.image_key, self.label_key]
        if with_names and FILE_NAME_KEY in self.builder.info.features:
            keys.append(FILE_NAME_KEY)
        image_feature = self.builder.info.features[self.image_key]
        # Encoded images are small enough to shuffle; `read` decodes them, in parallel.
        decoders = {self.image_key: self.tfds.decode.SkipDecoding()}

        def decode(encoded: Any, label: Any, *file_name: Any) -> Any:
            import tensorflow as tf

            image = image_feature.decode_example(encoded)
            if image.shape[-1] == 1:
                image = tf.image.grayscale_to_rgb(image)
            return image[..., :3], tf.cast(label, tf.int32), *file_name

        if self.by_index:
            opened = [self.builder.as_data_source(split, decoders=decoders) for split in splits]
            # Which of the sources, and which of its elements.
            found = [
                sources.of_arrays((np.full(len(split), which), np.arange(len(split))))
                for which, split in enumerate(opened)
            ]

            def fetch(which: Any, index: Any) -> Any:
                example: Any = opened[int(which)][int(index)]
                return example[keys[0]], np.int64(example[keys[1]]), *(example[k] for k in keys[2:])

            def read(which: Any, index: Any) -> Any:
                import tensorflow as tf

                types = [tf.string, tf.int64, tf.string][: len(keys)]
                values = tf.numpy_function(fetch, [which, index], types)
                return decode(*(tf.ensure_shape(value, ()) for value in values))

            return found, read

        def open_split(split: str) -> Source:
            dataset = self.builder.as_dataset(split=split, decoders=decoders, shuffle_files=False)
            dataset = dataset.map(lambda example: tuple(example[key] for key in keys))
            return sources.of_stream(dataset, int(self.builder.info.splits[split].num_examples))

        return [open_split(split) for split in splits], decode


def _open(name: str, data_dir: str | Path | None, file_format: str | None) -> _Opened:
    if file_format not in (None, *FILE_FORMATS):
        raise ValueError(
            f"`file_format` must be one of {FILE_FORMATS}. Received: file_format={file_format!r}"
        )
    try:
        tfds: Any = importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise ImportError(
            "Data sets by name come with tensorflow-datasets: "
            "pip install keras-vit-applications[tfds]"
        ) from error

    try:
        options = {} if file_format is None else {"file_format": file_format}
        builder = tfds.builder(
            name, data_dir=None if data_dir is None else str(data_dir), **options
        )
    except tfds.core.registered.DatasetNotFoundError as error:
        raise ValueError(
            f"There is neither a folder nor a TensorFlow data set called {name!r}. The names "
            "are at https://www.tensorflow.org/datasets/catalog/overview"
        ) from error
    except ValueError as error:  # no name at all, or an unknown configuration
        raise ValueError(
            f"There is no folder {name!r}, and it does not work as the name of a TensorFlow data "
            f"set either: {str(error).splitlines()[0]}"
        ) from error
    image_key, label_key, class_names = _keys(name, builder.info, tfds)
    by_index = builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD
    if by_index:
        _require_array_record()
    builder.download_and_prepare()
    return _Opened(builder, tfds, image_key, label_key, class_names, by_index)


def _require_array_record() -> None:
    try:
        importlib.import_module("array_record.python.array_record_module")
    except ImportError as error:
        raise ImportError(
            "Data sets in array_record files need the package array_record: pip install "
            "array_record, or pass file_format='tfrecord'"
        ) from error


def _keys(name: str, info: Any, tfds: Any) -> tuple[str, str, tuple[str, ...]]:
    """Where the image and the label are, and what the labels are called."""
    keys: tuple[Any, ...] = info.supervised_keys or ()
    features: list[Any] = [info.features[key] if isinstance(key, str) else None for key in keys]
    if (
        len(features) != 2
        or not isinstance(features[0], tfds.features.Image)
        or not isinstance(features[1], tfds.features.ClassLabel)
    ):
        raise ValueError(
            "Expected a data set of images with one class label each. "
            f"Received: {name!r} with the features {sorted(info.features)}"
        )
    return keys[0], keys[1], tuple(features[1].names)


def _splits(info: Any, train: str | None, validation: str | None) -> tuple[str, str]:
    """What to train and to validate on, where the user does not say."""
    present = sorted(info.splits)
    others = [name for name in ("validation", "test") if name in present]
    if not others and train is None and validation is None and "train" in present:
        train, validation = "train[:90%]", "train[90%:]"
    if train is None and "train" in present:
        train = "train"
    if validation is None and others:
        validation = others[0]
    if train is None or validation is None:
        raise ValueError(
            f"The data set has the splits {present}: name both `train_split` and "
            "`validation_split`, as in 'train[:80%]' and 'train[80%:]'. "
            f"Received: train_split={train!r}, validation_split={validation!r}"
        )
    for split in (train, validation):
        _check_split(info, split)
    return train, validation


def _check_split(info: Any, split: str) -> None:
    present = sorted(info.splits)
    if split.split("[")[0].split("+")[0] not in present:
        raise ValueError(f"The data set has the splits {present}. Received: a split of {split!r}")
