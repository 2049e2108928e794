"""Several files of one model at once, each measured against it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_vit.checkpoints.convert import find_photo
from keras_vit.exports.formats import FORMATS, export
from keras_vit.exports.photos import photos_of
from keras_vit.exports.report import Measured, measure, size_picture
from keras_vit.utils.checks import check_choice
from keras_vit.utils.text import say


@dataclasses.dataclass(frozen=True)
class Planned:
    """A file to be made.

    Attributes:
        format: A key of `exports.FORMATS`.
        quantize: One of the format's quantizations, or `None`.
    """

    format: str
    quantize: str | None = None

    @property
    def needs_photos(self) -> bool:
        return self.quantize in FORMATS[self.format].need_photos

    def name(self, stem: str) -> str:
        """`stem_int8.tflite`, for example."""
        suffix = FORMATS[self.format].suffix or f"_{self.format}"
        return f"{stem}{'' if self.quantize is None else f'_{self.quantize}'}{suffix}"


def planned(formats: Sequence[str], quantize: Sequence[str] = ()) -> list[Planned]:
    """What to make for a choice of formats, and of quantizations of those that have them.

    Raises:
        ValueError: If a name is unknown, or none of the formats has a quantization.
    """
    for name in formats:
        check_choice("format", name, FORMATS)
    known = [each for row in FORMATS.values() for each in row.quantizations]
    for each in quantize:
        check_choice("quantize", each, known)
        if not any(each in FORMATS[name].quantizations for name in formats):
            able = [name for name, row in FORMATS.items() if each in row.quantizations]
            raise ValueError(
                f"Files of {', '.join(formats)} are not quantised to {each}: add "
                f"{' or '.join(able)} to the formats."
            )
    files = []
    for name in formats:
        able = FORMATS[name].quantizations
        files += [Planned(name), *(Planned(name, each) for each in quantize if each in able)]
    return files


@dataclasses.dataclass(frozen=True)
class Deployment:
    """Files to be made of a model.

    Attributes:
        files: What, and where.
        picture: Where their sizes are drawn.
        calibration: A folder of photos for those that need some, or `None`.
        overwrite: Whether they may be there.
    """

    files: tuple[tuple[Planned, Path], ...]
    picture: Path
    calibration: str | os.PathLike[str] | None = None
    overwrite: bool = False


def deployment(
    out: str | os.PathLike[str],
    stem: str,
    formats: Sequence[str],
    quantize: Sequence[str] = (),
    calibration: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Deployment:
    """Finds out what is wrong with a choice of files, before anything takes long.

    Args:
        out: The folder to write into.
        stem: What the names of the files begin with.
        formats, quantize: As for `planned`.
        calibration: A folder of photos like those that the model will see.
        overwrite: Whether files may be replaced.

    Raises:
        ValueError: As for `planned`, or if photos are needed and not given.
        FileExistsError: If one of the files is there, and not `overwrite`.
    """
    files = planned(formats, quantize)
    if calibration is None and any(each.needs_photos for each in files):
        raise ValueError(
            f"`quantize` {', '.join(quantize)} needs photos like those that the model will see: "
            "give a folder of them (--calibrate). dynamic_int8 does without."
        )
    out = Path(out)
    placed = tuple((each, out / each.name(stem)) for each in files)
    picture = out / f"{stem}_files.png"
    taken = [path for path in (*(path for _, path in placed), picture) if path.exists()]
    if taken and not overwrite:
        raise FileExistsError(
            f"{taken[0]} is there already. Choose another folder (--out), or say that it may be "
            "replaced (--overwrite)."
        )
    return Deployment(placed, picture, calibration, overwrite)


def deploy(
    wanted: Deployment,
    model: Any,
    class_names: Sequence[str],
    check: str | os.PathLike[str] | None = None,
) -> list[Measured]:
    """Writes the files, measures each against the model, and draws their sizes.

    Args:
        wanted: Of `deployment`.
        model: A classifier.
        class_names: A name for each of its outputs.
        check: A folder of photos to measure with. Default: those that come with scikit-learn.

    Returns:
        What was measured, in the order of the files.
    """
    rows, columns = model.input_shape[1:3]
    photos = check or find_photo(None).parent
    pixels, classes = photos_of(photos, (rows, columns), class_names)
    wanted.picture.parent.mkdir(parents=True, exist_ok=True)
    measured = []
    for each, path in wanted.files:
        say(f"writing {path}")
        options: dict[str, Any] = {"class_names": class_names, "overwrite": wanted.overwrite}
        if each.quantize is not None:
            options["quantize"] = each.quantize
        if each.needs_photos:
            options["calibration"] = wanted.calibration
        export(model, path, format=each.format, **options)
        measured.append(measure(path, model, pixels, classes))
    size_picture(measured, wanted.picture)
    return measured
