"""TensorFlow Datasets by name: the splits, the names of the classes, and how to read."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_vit.data import shuffling
from keras_vit.data.augment.augmentation import Augmentation
from keras_vit.data.damage import first_failure
from keras_vit.data.image_data import ImageData
from keras_vit.data.labelled import LabelledImages
from keras_vit.data.shuffling import Source
from keras_vit.data.sources.imagenet import NUMBERED


def from_tfds(
    name: str,
    image_size: int | tuple[int, int] = 224,
    batch_size: int = 32,
    *,
    train_split: str | None = None,
    validation_split: str | None = None,
    crop_area: tuple[float, float] = (0.05, 1.0),
    flip: bool = True,
    resize: str = "squash",
    seed: int = 0,
    data_dir: str | Path | None = None,
    file_format: str | None = None,
    augmentation: str | Augmentation | None = None,
    transform: Any = None,
) -> ImageData:
    """A data set of TensorFlow Datasets, by its name.

    Args:
        name: For example `"oxford_flowers102"` or `"imagenette/320px-v2"`. It is downloaded
            and prepared the first time.
        image_size: Pixels, one number or (rows, columns).
        batch_size: Images per batch.
        train_split: In the language of TFDS, `"train[:800]"` for example. Default: `"train"`,
            less its last tenth where there is no other split and `validation_split` is not
            given either.
        validation_split: Likewise. Default: `"validation"`, else `"test"`, else that tenth.
        crop_area: Least and largest share of a training image's area to cut out.
        flip: Whether to mirror half of the training images; not for text or digits.
        resize: To validate, `"squash"` to the size (the original) or `"crop"` the middle.
        seed: Of the crops and the order.
        data_dir: Where TFDS keeps its files. Default: its own choice.
        file_format: `"tfrecord"` or `"array_record"`, the format to prepare it in; the latter can
            be read at any place. Default: that of the data set, as a rule tfrecord.
        augmentation: As in `from_folder`.
        transform: As in `from_folder`.

    Returns:
        The data, ready for `keras_vit.training.fine_tune` or `model.fit`.

    Raises:
        ImportError: If tensorflow-datasets is not installed, or array_record where it is used.
        ValueError: If there is no such data set or split, it has no images with one label
            each, or an option is out of its range.
    """
    found = find_tfds(
        name,
        train_split=train_split,
        validation_split=validation_split,
        data_dir=data_dir,
        file_format=file_format,
    )
    return found.prepare(
        image_size,
        batch_size,
        crop_area=crop_area,
        flip=flip,
        resize=resize,
        seed=seed,
        augmentation=augmentation,
        transform=transform,
    )


FILE_FORMATS = ("tfrecord", "array_record")
# Where ImageNet and its like keep what a file was called.
FILE_NAME_KEY = "file_name"


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


def find_tfds(
    name: str,
    *,
    train_split: str | None = None,
    validation_split: str | None = None,
    data_dir: str | Path | None = None,
    file_format: str | None = None,
    reading: Reading | None = None,
) -> LabelledImages:
    """Two splits of a data set as a source; arguments as in `from_tfds`.

    `reading` says what of an example is what, where that is not what the data set says.
    """
    builder = open_builder(name, data_dir, file_format)
    reading = reading or _as_it_says(name, builder.info)
    builder.download_and_prepare()
    return _found(builder, reading, name, *_splits(builder.info, train_split, validation_split))


def find_split(
    name: str, *, split: str | None = None, data_dir: str | Path | None = None
) -> LabelledImages:
    """One split as a source to evaluate on.

    Args:
        name: As for `from_tfds`.
        split: Default: `"validation"`, else `"test"`, else the only one there is.
        data_dir: As for `from_tfds`.
    """
    builder = open_builder(name, data_dir)
    reading = _as_it_says(name, builder.info)
    builder.download_and_prepare()
    present = sorted(builder.info.splits)
    chosen = split or next((known for known in ("validation", "test") if known in present), None)
    if chosen is None and len(present) == 1:
        (chosen,) = present
    if chosen is None:
        raise ValueError(
            f"The data set has the splits {present}: say which to evaluate on. Received: split=None"
        )
    return _found(builder, reading, name if split is None else f"{name}, {split}", None, chosen)


def _found(
    builder: Any, reading: Reading, name: str, train: str | None, validation: str
) -> LabelledImages:
    splits = [split for split in (validation, train) if split is not None]
    for split in splits:
        _check_split(builder.info, split)
    sources, read = _sources(builder, reading, splits)

    def find_damage() -> tuple[str, str] | None:
        # Which of its files an example is in TFDS does not say.
        for split, source in zip(splits, sources, strict=True):
            failure = first_failure(source.dataset, read)
            if failure is not None:
                number, reason = failure
                return str(builder.data_dir), f"example {number} of {split!r}: {reason}"
        return None

    return LabelledImages(
        sources[0],
        read,
        reading.class_names,
        name,
        None if train is None else sources[1],
        find_damage=find_damage,
    )


def open_builder(name: str, data_dir: str | Path | None = None, file_format: Any = None) -> Any:
    """What TFDS knows of a data set; nothing is downloaded yet.

    Raises:
        ImportError: If tensorflow-datasets is not installed, or array_record where it is used.
        ValueError: If there is no such data set, or format of files.
    """
    if file_format not in (None, *FILE_FORMATS):
        raise ValueError(
            f"`file_format` must be one of {FILE_FORMATS}. Received: file_format={file_format!r}"
        )
    tfds = _tfds()
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
    if _is_by_index(builder):
        _require_array_record()
    return builder


def is_prepared(builder: Any) -> bool:
    """Whether the data are on the disk. TFDS's own `is_prepared` logs a warning where not."""
    return (builder.data_path / "dataset_info.json").exists()


def _sources(
    builder: Any, reading: Reading, splits: Sequence[str]
) -> tuple[list[Source], Callable[..., Any]]:
    """Splits, and what reads their elements; see `LabelledImages.read`."""
    tfds = _tfds()
    # A reading of fields of its own decodes nothing but these.
    has_names = FILE_NAME_KEY in builder.info.features and reading.fields is None
    names = [FILE_NAME_KEY] if has_names else []
    image_key = reading.image
    image_feature = builder.info.features[image_key]
    # Encoded images are small enough to shuffle; `read` decodes them, in parallel.
    decoders: Any = {image_key: tfds.decode.SkipDecoding()}
    if reading.fields is not None:
        decoders = tfds.decode.PartialDecoding({image_key: True, **reading.fields}, decoders)

    def parts(example: Any) -> tuple[Any, ...]:
        return example[image_key], reading.label(example), *(example[name] for name in names)

    def decode(encoded: Any, label: Any, *strings: Any) -> Any:
        import tensorflow as tf

        image = image_feature.decode_example(encoded)
        if reading.scale != 1:
            image = image * reading.scale
        if image.shape[-1] == 1:
            image = tf.image.grayscale_to_rgb(image)
        number = _number_of(*strings) if strings else 0
        return image[..., :3], tf.cast(label, tf.int32), number

    if _is_by_index(builder):
        opened = [builder.as_data_source(split, decoders=decoders) for split in splits]
        # Which of the sources, and which of its elements.
        found = [
            shuffling.of_arrays((np.full(len(split), which), np.arange(len(split))))
            for which, split in enumerate(opened)
        ]

        def fetch(which: Any, index: Any) -> Any:
            encoded, label, *strings = parts(opened[int(which)][int(index)])
            return encoded, np.int64(label), *strings

        def read(which: Any, index: Any) -> Any:
            import tensorflow as tf

            types = [tf.string, tf.int64, *(tf.string for _ in names)]
            values = tf.numpy_function(fetch, [which, index], types)
            return decode(*(tf.ensure_shape(value, ()) for value in values))

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


def _tfds() -> Any:
    try:
        return importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise ImportError(
            "Data sets by name come with tensorflow-datasets: "
            "pip install keras-vit-applications[tfds]"
        ) from error


def _is_by_index(builder: Any) -> bool:
    return builder.info.file_format == _tfds().core.FileFormat.ARRAY_RECORD


def _require_array_record() -> None:
    try:
        importlib.import_module("array_record.python.array_record_module")
    except ImportError as error:
        raise ImportError(
            "Data sets in array_record files need the package array_record: pip install "
            "array_record, or pass file_format='tfrecord'"
        ) from error


def _as_it_says(name: str, info: Any) -> Reading:
    """Where the image and the label are, and what the labels are called."""
    tfds = _tfds()
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
    image_key, label_key = keys
    return Reading(image_key, lambda example: example[label_key], tuple(features[1].names))


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
    return train, validation


def _check_split(info: Any, split: str) -> None:
    present = sorted(info.splits)
    if split.split("[")[0].split("+")[0] not in present:
        raise ValueError(f"The data set has the splits {present}. Received: a split of {split!r}")
