"""From image files to tensors: find, check, decode, turn upright, and cut to the model's size.

TensorFlow decodes, because it does so in parallel, without Python's lock. Every file is looked at
once before, for two things that TensorFlow does not do: the EXIF orientation that phones write,
and the few files that only Pillow reads (an AVIF picture named `.jpg`, for example).

Images are RGB, float32 in [0, 255], `[H, W, 3]`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import sys
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from keras_vit.data.image_ops import (
    INTERPOLATIONS,
    RESIZES,
    decode,
    fit_to_size,
    turn_upright,
)
from keras_vit.data.random_crop import RandomCrop, decode_upright
from keras_vit.utils.checks import check_choice
from keras_vit.utils.progress import Progress
from keras_vit.utils.text import printable

if TYPE_CHECKING:
    import tensorflow as tf

ENDINGS = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp")
# Pictures that cannot be read here. Files with any other ending are not taken for pictures.
UNSUPPORTED_ENDINGS = (".heic", ".heif", ".avif", ".tif", ".tiff", ".jp2", ".jxl", ".dng", ".raw")
_ORIENTATION_TAG = 0x0112


@dataclasses.dataclass(frozen=True)
class Photo:
    """An image file that can be read, and how.

    Attributes:
        path: The file.
        orientation: EXIF orientation, 1 (upright) to 8.
        by_pillow: Whether Pillow has to decode it.
    """

    path: Path
    orientation: int = 1
    by_pillow: bool = False


def find_images(folder: Path) -> list[Path]:
    """The image files of `walk_images`, sorted; none where there is no such folder."""
    return sorted(Path(entry.path) for entry in walk_images(folder)) if folder.is_dir() else []


def walk_images(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The image files in `folder` and below, one by one, in no order.

    Hidden files and folders are left out; links to folders are not followed. At the end it warns
    of pictures of a kind that cannot be read, which would be missing silently.

    Raises:
        OSError: If a folder cannot be read.
    """
    folders, endings, left_out, first = [os.fspath(folder)], set(), 0, ""
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                ending = os.path.splitext(entry.name)[1].lower()
                if entry.name.startswith("."):
                    continue
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif ending in ENDINGS and entry.is_file():
                    yield entry
                elif ending in UNSUPPORTED_ENDINGS and entry.is_file():
                    endings.add(ending)
                    first = min(first or entry.name, entry.name)
                    left_out += 1
    if left_out:
        warnings.warn(
            f"{left_out} files in {folder} are left out, as {', '.join(sorted(endings))} files are "
            f"not read. Convert them to JPEG. The first: {printable(first)}",
            stacklevel=2,
        )


def check_images(
    paths: Sequence[Path], *, progress: bool | None = None
) -> tuple[list[Photo], dict[Path, str]]:
    """Decodes every file once, in parallel threads.

    Args:
        paths: Files to look at.
        progress: Whether to show a progress bar. Default: when the output is a terminal.

    Returns:
        The photos that can be read, in the order given, and for each other file the reason.
    """
    show = sys.stdout.isatty() if progress is None else progress
    photos: list[Photo] = []
    unreadable: dict[Path, str] = {}
    with (
        contextlib.closing(_checks(paths)) as checks,
        Progress(len(paths), 1, int(show), unit="photo") as progress_bar,
    ):
        for i, (path, found) in enumerate(zip(paths, checks, strict=True), start=1):
            if isinstance(found, Photo):
                photos.append(found)
            else:
                unreadable[path] = found
            progress_bar.show(i)
    return photos, unreadable


def first_damaged(photos: Sequence[Photo]) -> tuple[str, str] | None:
    """Checks photos again that could all be read before; begins with the last changed.

    Returns:
        The first file found that cannot be read as before, and why; `None` if all can.
    """
    photos = sorted(photos, key=_time_of_change, reverse=True)
    with contextlib.closing(_checks([photo.path for photo in photos])) as checks:
        for photo, found in zip(photos, checks, strict=True):
            if isinstance(found, str):
                return str(photo.path), found
            if found.by_pillow != photo.by_pillow:
                return str(photo.path), "it is another kind of file than before"
    return None


def _time_of_change(photo: Photo) -> float:
    try:
        return photo.path.stat().st_mtime
    except OSError:
        return math.inf


def _checks(paths: Sequence[Path]) -> Generator[Photo | str]:
    """`_check` of each, in parallel threads. Close it, or it waits for those that are left."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from pool.map(_check, paths)
    finally:
        pool.shutdown(cancel_futures=True)


def _check(path: Path) -> Photo | str:
    """A photo, or the reason why the file cannot be read."""
    found = _open(path)
    return found if isinstance(found, str) else found[0]


def _open(path: Path) -> tuple[Photo, Any] | str:
    """A photo and its pixels as they lie in the file, uint8 `[H, W, 3]`; or why there are none."""
    import tensorflow as tf

    orientation, palette_bmp = _look_at_header(path)
    if not palette_bmp:
        try:
            return Photo(path, orientation), decode(path.read_bytes())
        except (tf.errors.OpError, OSError):
            pass
    try:
        return Photo(path, orientation, by_pillow=True), decode_by_pillow(str(path))
    except Exception as error:  # Pillow's decoders raise all sorts
        if path.is_file() and path.stat().st_size == 0:
            return "the file is empty"
        reason = getattr(error, "strerror", None) or str(error)  # without the path
        return reason.replace(f" '{path}'", "")


def _look_at_header(path: Path) -> tuple[int, bool]:
    """EXIF orientation, and whether it is a BMP with a palette.

    TensorFlow takes the indices into such a palette for grey levels.
    """
    try:
        with Image.open(path) as image:
            orientation = image.getexif().get(_ORIENTATION_TAG, 1)
            palette_bmp = image.format == "BMP" and image.mode in ("1", "P")
    except Exception:  # Pillow raises all sorts; the decoder finds out whether the file is good
        return 1, False
    return (orientation if orientation in range(1, 9) else 1), palette_bmp


def decode_by_pillow(path: str | bytes) -> np.ndarray:
    with Image.open(os.fsdecode(path)) as image:
        return np.asarray(image.convert("RGB"))


def thumbnail(path: Path, side: int) -> np.ndarray:
    """A photo as people look at it, for pictures: upright and small.

    Args:
        path: A file that can be read.
        side: The longer side has at most so many pixels.

    Returns:
        uint8 `[H, W, 3]`.
    """
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    upright.thumbnail((side, side))
    return np.asarray(upright)


def read_photo(
    path: Any, orientation: Any, by_pillow: Any, crop: RandomCrop | None = None
) -> tf.Tensor:
    """Reads one photo inside a `tf.data` pipeline; the first arguments are the fields of a `Photo`.

    Args:
        crop: The part to return, for training. Default: all of it.

    Returns:
        uint8 `[H, W, 3]`, upright.
    """
    import tensorflow as tf

    def read_by_pillow() -> Any:
        image = tf.numpy_function(decode_by_pillow, [path], tf.uint8)
        image.set_shape((None, None, 3))
        image = turn_upright(image, orientation)
        return image if crop is None else crop.cut(image)

    return tf.cond(
        by_pillow,
        read_by_pillow,
        lambda: decode_upright(tf.io.read_file(path), orientation, crop),
    )


def photo_arrays(photos: Sequence[Photo], labels: Sequence[int] | None = None) -> tuple[Any, ...]:
    """Arrays `(path, orientation, by_pillow, label)`: what `read_photo` takes, and a label."""
    return (
        [os.fsencode(photo.path) for photo in photos],  # a name need not be UTF-8
        np.array([photo.orientation for photo in photos], "int32"),
        np.array([photo.by_pillow for photo in photos], bool),
        np.array(labels if labels is not None else [0] * len(photos), "int32"),
    )


def photo_dataset(photos: Sequence[Photo], labels: Sequence[int] | None = None) -> tf.data.Dataset:
    """A dataset of `photo_arrays`."""
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(photo_arrays(photos, labels))


def photo_reader(
    image_size: tuple[int, int], resize: str = "squash", interpolation: str = "bilinear"
) -> Callable[[Path], np.ndarray | str]:
    """A function that reads one photo for a model; several threads may call it at once.

    It returns float32 `[rows, columns, 3]` as in `fitted_photos`, or a text: the reason why the
    file cannot be read.
    """
    import tensorflow as tf

    check_choice("resize", resize, RESIZES)
    check_choice("interpolation", interpolation, INTERPOLATIONS)

    def fit(pixels: Any, orientation: Any) -> Any:
        with tf.device("CPU:0"):  # the GPUs, where there are, are for the model
            upright = turn_upright(pixels, orientation)
            return fit_to_size(upright, image_size, resize, interpolation=interpolation)

    shapes = (tf.TensorSpec((None, None, 3), "uint8"), tf.TensorSpec((), "int32"))
    graph = tf.function(fit, input_signature=shapes, autograph=False)

    def read(path: Path) -> np.ndarray | str:
        found = _open(path)
        if isinstance(found, str):
            return found
        photo, pixels = found
        return graph(pixels, photo.orientation).numpy()

    return read


def fitted_photos(
    photos: Sequence[Photo],
    image_size: tuple[int, int],
    resize: str = "squash",
    interpolation: str = "bilinear",
) -> tf.data.Dataset:
    """Photos read and brought to the model's size, one by one; see `fit_to_size`."""
    check_choice("resize", resize, RESIZES)
    check_choice("interpolation", interpolation, INTERPOLATIONS)
    return photo_dataset(photos).map(
        lambda path, orientation, by_pillow, _: fit_to_size(
            read_photo(path, orientation, by_pillow),
            image_size,
            resize,
            interpolation=interpolation,
        )
    )
