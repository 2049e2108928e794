"""Images by a name: the digits, a folder, TFRecords, or a data set of TensorFlow Datasets."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from keras_vit.data.labelled import LabelledImages
from keras_vit.data.sources.arrays import find_digits
from keras_vit.data.sources.folders import find_folder
from keras_vit.data.sources.imagenet import find_images_to_evaluate
from keras_vit.data.sources.records import INFO_FILE, find_records
from keras_vit.data.sources.tfds import find_split, find_tfds
from keras_vit.data.sources.tfds_reading import Reading


class Kind(NamedTuple):
    """A kind of images, and what finds them.

    Attributes:
        title: For people.
        is_meant: Whether a name, or the path of that name, means this kind.
        to_train: Finds images to train and to validate on.
        to_evaluate: Finds images to evaluate on.
    """

    title: str
    is_meant: Callable[[str, Path], bool]
    to_train: Callable[..., LabelledImages]
    to_evaluate: Callable[..., LabelledImages]

    def find(self, to_evaluate: bool) -> Callable[..., LabelledImages]:
        return self.to_evaluate if to_evaluate else self.to_train


def _digits(name: str) -> LabelledImages:
    return find_digits()


# A name means the first kind that it fits.
KINDS = (
    Kind("scikit-learn's digits", lambda name, _: name == "digits", _digits, _digits),
    Kind(
        "a folder of TFRecords",
        lambda _, path: (path / INFO_FILE).is_file(),
        find_records,
        find_records,
    ),
    Kind("a folder of images", lambda _, path: path.exists(), find_folder, find_images_to_evaluate),
    Kind("the name of a TensorFlow data set", lambda *_: True, find_tfds, find_split),
)


def open(
    name: str | Path,
    *,
    to_evaluate: bool = False,
    validation_share: float | None = None,
    on_error: str | None = None,
    seed: int = 0,
    progress: bool | None = None,
    split: str | None = None,
    truth: str | Path | None = None,
    data_dir: str | Path | None = None,
    train_split: str | None = None,
    validation_split: str | None = None,
    reading: Reading | None = None,
) -> LabelledImages:
    """Finds images by a name; nothing is decoded yet.

        keras_vit.data.open("photos").prepare(image_size=224, batch_size=32)

    Args:
        name: `"digits"`; a folder of `write_records`; a folder as for `from_folder`; or the name
            of a TensorFlow data set. To evaluate, also ImageNet's validation images in any of the
            layouts of `keras_vit.data.sources.imagenet`.
        to_evaluate: Whether you only evaluate. Then the data need no images to train on.
        validation_share: As in `from_folder`; only for a folder of images.
        on_error: As in `from_folder`; only for a folder of images.
        seed: Decides which images of a folder are held out.
        progress: As in `from_folder`.
        split: The split of a TensorFlow data set to evaluate on, `"test[:1000]"` for example.
            Default: `"validation"`, else `"test"`.
        truth: A file with the class of each image, to evaluate on a folder without class folders.
            Default: the file where ImageNet's archives put it.
        data_dir: Where TFDS keeps its files.
        train_split: As in `from_tfds`.
        validation_split: As in `from_tfds`.
        reading: Which fields of an example are the image and the label. Only needed where a
            TensorFlow data set does not say it.

    Raises:
        ValueError: If there are no such images, files cannot be read, or an option is not for this
            kind of images.
        ImportError: If the package that reads the images is not installed.
    """
    kind = next(kind for kind in KINDS if kind.is_meant(str(name), Path(name)))
    find = kind.find(to_evaluate)
    given = {
        "validation_share": validation_share,
        "on_error": on_error,
        "split": split,
        "truth": truth,
        "data_dir": data_dir,
        "train_split": train_split,
        "validation_split": validation_split,
        "reading": reading,
    }
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    for option, value in options.items():
        if not _takes(find, option):
            others = [k.title for k in KINDS if _takes(k.find(to_evaluate), option)]
            purpose = "to train on" if to_evaluate else "to evaluate on"
            raise ValueError(
                f"`{option}` goes with {' or '.join(others) or f'images {purpose}'}. Leave it out, "
                f"or pass other data. Received: data={str(name)!r}, {kind.title}, and "
                f"{option}={str(value)!r}"
            )
    always = {"seed": seed, "progress": progress}
    options |= {option: value for option, value in always.items() if _takes(find, option)}
    try:
        return find(name, **options)
    except ImportError as error:
        if kind is not KINDS[-1]:
            raise
        raise ImportError(
            f"There is no folder {str(name)!r}. If it is the name of a TensorFlow data set: {error}"
        ) from error


def _takes(find: Callable[..., LabelledImages], option: str) -> bool:
    return option in inspect.signature(find).parameters
