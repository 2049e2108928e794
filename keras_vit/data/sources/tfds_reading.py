"""How the elements of a data set of TensorFlow Datasets are read.

What is shuffled are encoded images, which are small; they are decoded afterwards, in parallel.
Where the files can be read at any place, only places are shuffled.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_vit.data import shuffling
from keras_vit.data.random_crop import RandomCrop, decode_upright
from keras_vit.data.shuffling import Source
from keras_vit.data.sources.imagenet import NUMBERED

# Where ImageNet and its like keep what a file was called.
FILE_NAME_KEY = "file_name"


def require_tfds() -> Any:
    """The package.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        return importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise ImportError(
            "Data sets by name come with tensorflow-datasets: "
            "pip install keras-vit-applications[tfds]"
        ) from error


def is_by_index(builder: Any) -> bool:
    """Whether its files can be read at any place."""
    return builder.info.file_format == require_tfds().core.FileFormat.ARRAY_RECORD


class Reading(NamedTuple):
    """What of an example is the label, where that is not what the data set says.

    Attributes:
        image: Name of the feature that is the image.
        label: A function of the example, the image not decoded; gives an integer scalar.
        class_names: Names of the labels 0, 1, ...
        fields: What else of the example `label` reads, as `tfds.decode.PartialDecoding` takes
            it; `None` for everything.
        scale: Factor that brings pixels to [0, 255].
    """

    image: str
    label: Callable[[dict[str, Any]], Any]
    class_names: tuple[str, ...]
    fields: dict[str, Any] | None = None
    scale: int = 1


def open_splits(
    builder: Any, reading: Reading, splits: Sequence[str]
) -> tuple[list[Source], Callable[..., Any]]:
    """Splits, and what reads their elements; see `LabelledImages.read`."""
    tfds = require_tfds()
    # A reading of fields of its own decodes nothing but these.
    has_names = FILE_NAME_KEY in builder.info.features and reading.fields is None
    names = [FILE_NAME_KEY] if has_names else []
    image_key = reading.image
    image_feature = builder.info.features[image_key]
    # Others are of numbers with more bits, which TFDS alone can put together.
    ordinary = isinstance(image_feature, tfds.features.Image) and image_feature.dtype == np.uint8
    decoders: Any = {image_key: tfds.decode.SkipDecoding()}
    if reading.fields is not None:
        decoders = tfds.decode.PartialDecoding({image_key: True, **reading.fields}, decoders)

    def parts(example: Any) -> tuple[Any, ...]:
        return example[image_key], reading.label(example), *(example[name] for name in names)

    def decode(encoded: Any, label: Any, *strings: Any, crop: RandomCrop | None = None) -> Any:
        import tensorflow as tf

        if ordinary:
            image = decode_upright(encoded, crop=crop)
        else:
            image = image_feature.decode_example(encoded)
            if image.shape[-1] == 1:
                image = tf.image.grayscale_to_rgb(image)
            image = image[..., :3] if crop is None else crop.cut(image[..., :3])
        if reading.scale != 1:
            image = image * reading.scale
        number = _number_of(*strings) if strings else 0
        return image, tf.cast(label, tf.int32), number

    if is_by_index(builder):
        opened = [builder.as_data_source(split, decoders=decoders) for split in splits]
        # Which of the sources, and which of its elements.
        found = [
            shuffling.of_arrays((np.full(len(split), which), np.arange(len(split))))
            for which, split in enumerate(opened)
        ]

        def fetch(which: Any, index: Any) -> Any:
            encoded, label, *strings = parts(opened[int(which)][int(index)])
            return encoded, np.int64(label), *strings

        def read(which: Any, index: Any, crop: RandomCrop | None = None) -> Any:
            import tensorflow as tf

            types = [tf.string, tf.int64, *(tf.string for _ in names)]
            values = tf.numpy_function(fetch, [which, index], types)
            return decode(*(tf.ensure_shape(value, ()) for value in values), crop=crop)

        return found, read

    def open_split(split: str) -> Source:
        dataset = builder.as_dataset(split=split, decoders=decoders, shuffle_files=False)
        count = int(builder.info.splits[split].num_examples)
        return shuffling.of_stream(dataset.map(parts), count)

    return [open_split(split) for split in splits], decode


def _number_of(file_name: Any) -> Any:
    """As `image_number`, of a TensorFlow string."""
    import tensorflow as tf

    number = tf.strings.regex_replace(file_name, f".*{NUMBERED}.*", r"\1")
    known = tf.strings.regex_full_match(number, r"\d{8}")
    return tf.strings.to_number(tf.where(known, number, "0"), tf.int32)
