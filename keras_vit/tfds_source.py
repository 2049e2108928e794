"""TensorFlow Datasets by name: the splits, the names of the classes, and how to read."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_vit import sources
from keras_vit.data_errors import first_failure
from keras_vit.sources import Source

FILE_FORMATS = ("tfrecord", "array_record")


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

    train_split, validation_split = _splits(builder.info, train_split, validation_split)
    image_feature = builder.info.features[image_key]
    # Encoded images are small enough to shuffle; `read` decodes them, in parallel.
    decoders = {image_key: tfds.decode.SkipDecoding()}

    def decode(encoded: Any, label: Any) -> Any:
        import tensorflow as tf

        image = image_feature.decode_example(encoded)
        if image.shape[-1] == 1:
            image = tf.image.grayscale_to_rgb(image)
        return image[..., :3], tf.cast(label, tf.int32)

    if by_index:
        splits = [
            builder.as_data_source(split, decoders=decoders)
            for split in (train_split, validation_split)
        ]
        # Which of the two sources, and which of its elements.
        train, validation = (
            sources.of_arrays((np.full(len(split), which), np.arange(len(split))))
            for which, split in enumerate(splits)
        )

        def fetch(which: Any, index: Any) -> Any:
            example: Any = splits[int(which)][int(index)]
            return example[image_key], np.int64(example[label_key])

        def read(which: Any, index: Any) -> Any:
            import tensorflow as tf

            encoded, label = tf.numpy_function(fetch, [which, index], [tf.string, tf.int64])
            return decode(tf.ensure_shape(encoded, ()), tf.ensure_shape(label, ()))

        return TfdsSource(train, validation, read, class_names, str(builder.data_dir))

    def open_split(split: str) -> Source:
        dataset = builder.as_dataset(split=split, decoders=decoders, shuffle_files=False)
        dataset = dataset.map(lambda example: (example[image_key], example[label_key]))
        return sources.of_stream(dataset, int(builder.info.splits[split].num_examples))

    train, validation = open_split(train_split), open_split(validation_split)
    return TfdsSource(train, validation, decode, class_names, str(builder.data_dir))


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
        if split.split("[")[0].split("+")[0] not in present:
            raise ValueError(
                f"The data set has the splits {present}. Received: a split of {split!r}"
            )
    return train, validation
