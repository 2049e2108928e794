"""TFRecord files of `tf.train.Example`: reads those of any program, writes a folder as such.

For many small files, a network drive or a bucket, a few large files that are read from beginning to
end are much faster.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_vit.data import fingerprint, image_files, shuffling
from keras_vit.data.augment.augmentation import Augmentation
from keras_vit.data.damage import first_failure
from keras_vit.data.image_data import ImageData
from keras_vit.data.labelled import LabelledImages
from keras_vit.data.pipeline import Pipeline
from keras_vit.data.random_crop import RandomCrop, decode_upright
from keras_vit.data.sources.folders import find_photos
from keras_vit.utils.checks import check_counts
from keras_vit.utils.files import new_folder, read_json, write_json

INFO_FILE = "info.json"
IMAGE_KEY, LABEL_KEY = "image/encoded", "image/class/label"
ORIENTATION_KEY = "image/orientation"
SPLITS = ("train", "validation")
MAX_SHARDS = 1024  # all of them are open at once


def from_records(
    train: str | Path,
    image_size: int | tuple[int, int] = 224,
    batch_size: int = 32,
    *,
    validation: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    first_label: int = 0,
    image_key: str = IMAGE_KEY,
    label_key: str = LABEL_KEY,
    crop_area: tuple[float, float] = (0.05, 1.0),
    flip: bool = True,
    resize: str = "squash",
    seed: int = 0,
    augmentation: str | Augmentation | None = None,
    transform: Any = None,
    interpolation: str = "bilinear",
) -> ImageData:
    """TFRecord files whose examples hold an encoded image and an integer label.

    Args:
        train: A folder that `write_records` has made; or the files to train on, with
            wildcards: `"imagenet/train-*"`.
        image_size: Pixels, one number or (rows, columns).
        batch_size: Images per batch.
        validation: The files to validate on; not with a folder of `write_records`.
        class_names: Names of the labels; not with a folder of `write_records`.
        first_label: The label of the first class: 1 in the usual ImageNet records, whose 0 is the
            background.
        image_key: Feature of the JPEG, PNG, GIF or BMP file, one bytes value.
        label_key: Feature of the label, one int64 value.
        crop_area: As in `keras_vit.data.from_folder`.
        flip: Whether to mirror half of the training images; not for text or digits.
        resize: To validate, `"squash"` or `"crop"`.
        seed: Of the crops and the order. Files are read in another order each epoch only by
            `ImageData.training`; `train` shuffles 10,000 examples at a time.
        augmentation: As in `keras_vit.data.from_folder`.
        transform: As in `keras_vit.data.from_folder`.
        interpolation: As in `keras_vit.data.from_folder`.

    Returns:
        The data, ready for `keras_vit.training.fine_tune` or `model.fit`.

    Raises:
        ValueError: If there are no such files, one is cut off or no TFRecord file, something is
            missing, or an option is out of its range.
    """
    pipeline = Pipeline(
        image_size, batch_size, crop_area, flip, resize, seed, augmentation, transform,
        interpolation,
    )  # fmt: skip
    found = find_records(
        train,
        validation=validation,
        class_names=class_names,
        first_label=first_label,
        image_key=image_key,
        label_key=label_key,
    )
    return found.batches(pipeline)


def find_records(
    train: str | Path,
    *,
    validation: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    first_label: int = 0,
    image_key: str = IMAGE_KEY,
    label_key: str = LABEL_KEY,
) -> LabelledImages:
    """TFRecord files as a source; arguments as in `from_records`."""
    folder = Path(train)
    if (folder / INFO_FILE).is_file():
        if validation is not None or class_names is not None:
            raise ValueError(
                f"{folder} says itself what to validate on and what the classes are. Leave out "
                f"`validation` and `class_names`. Received: validation={validation!r}, "
                f"class_names={class_names!r}"
            )
        names = tuple(read_json(folder / INFO_FILE, {"class_names": [str]})["class_names"])
        patterns = [str(folder / f"{split}-*") for split in SPLITS]
    elif validation is None or class_names is None:
        raise ValueError(
            f"{folder} is no folder of `write_records`. For other TFRecord files name those to "
            "validate on (`validation='val-*'`) and the classes (`class_names=[...]`). Received: "
            f"validation={validation!r}, class_names={class_names!r}"
        )
    else:
        names = tuple(class_names)
        patterns = [str(train), str(validation)]
    found = [_files(pattern) for pattern in patterns]
    read = _reader(image_key, label_key, first_label, len(names))
    counts = {path: count_records(path) for paths in found for path in paths}
    train_source, validation_source = (
        shuffling.of_records(
            [os.fsencode(path) for path in paths], sum(counts[path] for path in paths)
        )
        for paths in found
    )
    for source, pattern in zip((train_source, validation_source), patterns, strict=True):
        if source.count == 0:
            raise ValueError(f"The files {pattern} hold no examples")
    name = folder.name if folder.is_dir() else folder.parent.resolve().name
    return LabelledImages(
        validation_source,
        read,
        names,
        name,
        train_source,
        find_damage=lambda: _first_damaged(counts, read),
        fingerprint=fingerprint.of_files(min(counts).parent, counts),
    )


def _files(pattern: str) -> list[Path]:
    path = Path(pattern)
    files = sorted(p for p in path.parent.glob(path.name) if p.is_file())
    if not files:
        raise ValueError(
            f"There are no files {pattern}. Wildcards stand in the last part of a path only: "
            "'folder/train-*'"
        )
    return files


def count_records(path: Path) -> int:
    """Number of records of a TFRecord file, by their lengths: their content is passed over.

    Raises:
        ValueError: If the file is cut off, compressed, or of another kind.
    """
    count, whole = _count(path)
    if not whole:
        raise ValueError(
            f"{path} is cut off after {count} records, or is no TFRecord file (compressed "
            "ones are not read). Copy or write it again."
        )
    return count


def _count(path: Path) -> tuple[int, bool]:
    """Whole records, and whether the file ends after the last of them."""
    # A record: its length (uint64), a checksum (uint32), so many bytes, a checksum (uint32).
    size, place, count = path.stat().st_size, 0, 0
    with path.open("rb") as file:
        while place < size:
            file.seek(place)
            head = file.read(12)
            place += 16 + int.from_bytes(head[:8], "little")
            if len(head) < 12 or place > size:
                return count, False
            count += 1
    return count, True


def _first_damaged(counts: dict[Path, int], read: Any) -> tuple[str, str] | None:
    """Reads files with so many records from beginning to end; see `ImageData.find_damage`."""
    for path, count in counts.items():
        try:
            found, whole = _count(path)
        except OSError as error:
            return str(path), str(error.strerror)
        if found != count or not whole:
            return str(path), f"it ends after {found} of its {count} records"
        failure = first_failure(shuffling.of_records([os.fsencode(path)], count).dataset, read)
        if failure is not None:
            number, reason = failure
            return str(path), f"record {number} of {count}: {reason}"
    return None


def _reader(image_key: str, label_key: str, first_label: int, classes: int) -> Any:
    def read(serialized: Any, crop: RandomCrop | None = None) -> Any:
        import tensorflow as tf

        example = tf.io.parse_single_example(
            serialized,
            {
                image_key: tf.io.FixedLenFeature((), tf.string),
                label_key: tf.io.FixedLenFeature((), tf.int64),
                ORIENTATION_KEY: tf.io.FixedLenFeature((), tf.int64, default_value=1),
            },
        )
        label = tf.cast(example[label_key], tf.int32) - first_label
        check = tf.debugging.Assert(
            (label >= 0) & (label < classes),
            [f"A label is not in [{first_label}, {classes + first_label}):", label + first_label],
        )
        with tf.control_dependencies([check]):
            label = tf.identity(label)
        image = decode_upright(example[image_key], example[ORIENTATION_KEY], crop)
        return image, label, 0

    return read


def write_records(
    source: str | Path | ImageData,
    out: str | Path,
    shards: int | None = None,
    *,
    validation_share: float = 0.2,
    on_error: str = "raise",
    seed: int = 0,
    progress: bool | None = None,
) -> Path:
    """Writes photos as TFRecord files: `train-00000-of-00008.tfrecord`, `validation-...`.

    Files are copied as they are, without another compression; which way is up is noted beside. The
    examples are shuffled once, so that each file is a fair sample.

    Args:
        source: A folder as for `keras_vit.data.from_folder`; or data, whose images are written at
            the size they have, uncropped, as PNG.
        out: The folder to make. It appears when all is in it.
        shards: Number of files of each split, at most one an image. Default: one for each
            thousand images, at most 1,024.
        validation_share: As in `keras_vit.data.from_folder`.
        on_error: Likewise.
        seed: Of the order, and of what is held out.
        progress: Likewise.

    Returns:
        The folder.

    Raises:
        ValueError: If `out` exists, or `source` is not as described.
    """
    if shards is not None:
        check_counts(1, shards=shards)
    with new_folder(out) as folder:
        if isinstance(source, ImageData):
            names = source.class_names
            splits = [source.train_as_validation, source.validation]
            counts = [source.num_train, source.num_validation]
            examples = [_from_batches(dataset) for dataset in splits]
        else:
            photos = find_photos(Path(source), validation_share, on_error, seed, progress)
            names = photos.class_names
            sets = [photos.train, photos.validation]
            counts = [len(pairs) for pairs in sets]
            rng = np.random.default_rng(seed)
            examples = [
                _from_photos([pairs[i] for i in rng.permutation(len(pairs))]) for pairs in sets
            ]
        for split, count, of_split in zip(SPLITS, counts, examples, strict=True):
            wanted = math.ceil(count / 1000) if shards is None else shards
            _write(folder, split, of_split, min(wanted, count, MAX_SHARDS))
        info = {"class_names": list(names), **dict(zip(SPLITS, counts, strict=True))}
        write_json(folder / INFO_FILE, info)
    return Path(out)


def _write(folder: Path, split: str, examples: Iterable[bytes], shards: int) -> None:
    """The examples in turn to each of the files."""
    import tensorflow as tf

    paths: Any = [
        os.fsencode(folder / f"{split}-{i:05}-of-{shards:05}.tfrecord") for i in range(shards)
    ]
    writers = [tf.io.TFRecordWriter(path) for path in paths]
    try:
        for i, example in enumerate(examples):
            writers[i % shards].write(example)
    finally:
        for writer in writers:
            writer.close()


def _from_photos(pairs: Sequence[tuple[image_files.Photo, int]]) -> Iterator[bytes]:
    for photo, label in pairs:
        if photo.by_pillow:  # whoever reads the records has TensorFlow's decoders only
            import tensorflow as tf

            png: Any = tf.io.encode_png(image_files.decode_by_pillow(str(photo.path)))
            yield _example(png.numpy(), label, photo.orientation)
        else:
            yield _example(photo.path.read_bytes(), label, photo.orientation)


def _from_batches(dataset: Any) -> Iterator[bytes]:
    import tensorflow as tf

    for pixels, labels in dataset:
        if labels.shape.rank == 2:  # one-hot
            labels = tf.argmax(labels, 1)
        pixels = np.clip(np.round(pixels), 0, 255).astype("uint8")
        for image, label in zip(pixels, np.asarray(labels), strict=True):
            png: Any = tf.io.encode_png(image)
            yield _example(png.numpy(), int(label), 1)


def _example(file: bytes, label: int, orientation: int) -> bytes:
    import tensorflow as tf

    train: Any = tf.train

    def whole(value: int) -> Any:
        return train.Feature(int64_list=train.Int64List(value=[value]))

    features = {
        IMAGE_KEY: train.Feature(bytes_list=train.BytesList(value=[file])),
        LABEL_KEY: whole(label),
        ORIENTATION_KEY: whole(orientation),
    }
    return train.Example(features=train.Features(feature=features)).SerializeToString()
