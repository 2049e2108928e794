"""TensorFlow Datasets by name: the splits, the names of the classes, and how to read."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_vit.data import fingerprint
from keras_vit.data.augment.augmentation import Augmentation
from keras_vit.data.damage import first_failure
from keras_vit.data.image_data import ImageData
from keras_vit.data.labelled import LabelledImages
from keras_vit.data.pipeline import Pipeline
from keras_vit.data.sources.tfds_reading import Reading, is_by_index, open_splits, require_tfds
from keras_vit.utils.checks import check_choice
from keras_vit.utils.text import printable


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
    interpolation: str = "bilinear",
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
        validation_split: The split to validate on. Default: `"validation"`, else `"test"`, else
            that tenth.
        crop_area: Least and largest share of a training image's area to cut out.
        flip: Whether to mirror half of the training images; not for text or digits.
        resize: To validate, `"squash"` to the size (the original) or `"crop"` the middle.
        seed: Of the crops and the order.
        data_dir: Where TFDS keeps its files. Default: its own choice.
        file_format: `"tfrecord"` or `"array_record"`, the format to prepare it in; the latter can
            be read at any place. Default: that of the data set, as a rule tfrecord.
        augmentation: As in `from_folder`.
        transform: As in `from_folder`.
        interpolation: As in `from_folder`.

    Returns:
        The data, ready for `keras_vit.training.fine_tune` or `model.fit`.

    Raises:
        ImportError: If tensorflow-datasets is not installed, or array_record where it is used.
        ValueError: If there is no such data set or split, it has no images with one label
            each, or an option is out of its range.
    """
    pipeline = Pipeline(
        image_size, batch_size, crop_area, flip, resize, seed, augmentation, transform,
        interpolation,
    )  # fmt: skip
    found = find_tfds(
        name,
        train_split=train_split,
        validation_split=validation_split,
        data_dir=data_dir,
        file_format=file_format,
    )
    return found.batches(pipeline)


FILE_FORMATS = ("tfrecord", "array_record")


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
    _prepare(builder, name)
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
    _prepare(builder, name)
    present = sorted(builder.info.splits)
    chosen = split or _held_out(present)
    if chosen is None and len(present) == 1:
        (chosen,) = present
    if chosen is None:
        raise ValueError(
            f"The data set has the splits {present}. Pass the one to evaluate on as `split`. "
            "Received: split=None"
        )
    return _found(builder, reading, name if split is None else f"{name}, {split}", None, chosen)


def _found(
    builder: Any, reading: Reading, name: str, train: str | None, validation: str
) -> LabelledImages:
    splits = [split for split in (validation, train) if split is not None]
    for split in splits:
        _check_split(builder.info, split)
    sources, read = open_splits(builder, reading, splits)

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
        fingerprint=_fingerprint(Path(builder.data_dir)),
    )


def _fingerprint(folder: Path) -> fingerprint.Fingerprint | None:
    """Of the files of examples; what TFDS writes about them changes with its version."""
    if not folder.is_dir():
        return None
    files = [path for path in folder.iterdir() if path.is_file() and path.suffix != ".json"]
    return fingerprint.of_files(folder, files)


def _prepare(builder: Any, name: str) -> None:
    """Downloads a data set, unless it is there.

    Raises:
        OSError: If that fails; without a network it says what to do.
    """
    try:
        builder.download_and_prepare()
    except OSError as error:
        if error.errno is not None and not isinstance(error, ConnectionError | TimeoutError):
            raise  # of the disk
        reason = printable(str(error).partition("\n")[0][:200])
        raise OSError(
            f"Cannot download the data set {name!r}, perhaps there is no network ({reason}).\n"
            "There are three ways out:\n"
            "  a path: give a folder of class folders instead of a name\n"
            f"  the cache folder: prepare it on another machine, copy it to {builder.data_dir}\n"
            "  a mirror: set HTTPS_PROXY to a proxy that reaches the server"
        ) from None


def open_builder(name: str, data_dir: str | Path | None = None, file_format: Any = None) -> Any:
    """What TFDS knows of a data set; nothing is downloaded yet.

    Raises:
        ImportError: If tensorflow-datasets is not installed, or array_record where it is used.
        ValueError: If there is no such data set, or format of files.
    """
    check_choice("file_format", file_format, (None, *FILE_FORMATS))
    tfds = require_tfds()
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
    if is_by_index(builder):
        _require_array_record()
    return builder


def is_prepared(builder: Any) -> bool:
    """Whether the data are on the disk. TFDS's own `is_prepared` logs a warning where not."""
    return (builder.data_path / "dataset_info.json").exists()


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
    tfds = require_tfds()
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
    held_out = _held_out(present)
    if held_out is None and train is None and validation is None and "train" in present:
        train, validation = "train[:90%]", "train[90%:]"
    if train is None and "train" in present:
        train = "train"
    if validation is None:
        validation = held_out
    if train is None or validation is None:
        raise ValueError(
            f"The data set has the splits {present}: name both `train_split` and "
            "`validation_split`, as in 'train[:80%]' and 'train[80%:]'. "
            f"Received: train_split={train!r}, validation_split={validation!r}"
        )
    return train, validation


def _held_out(present: Sequence[str]) -> str | None:
    """The split that is there to validate on."""
    return next((name for name in ("validation", "test") if name in present), None)


def _check_split(info: Any, split: str) -> None:
    present = sorted(info.splits)
    if split.split("[")[0].split("+")[0] not in present:
        raise ValueError(f"The data set has the splits {present}. Received: a split of {split!r}")
