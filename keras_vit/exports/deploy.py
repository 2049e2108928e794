"""Several files of one model at once, each measured against it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_vit.checkpoints.convert import find_photo
from keras_vit.exports.classifier import PixelClassifier
from keras_vit.exports.formats import FORMATS, QUANTIZATIONS, export
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


def planned(
    formats: Sequence[str], quantize: Sequence[str] = (), options: Iterable[str] = ()
) -> list[Planned]:
    """What to make for a choice of formats, and of quantizations of those that have them.

    Raises:
        ValueError: If a name is unknown, or none of the formats has a quantization or an option.
    """
    for name in formats:
        check_choice("format", name, FORMATS)
    for option in options:
        able = [name for name, row in FORMATS.items() if option in row.options]
        if able and not set(able) & set(formats):
            raise ValueError(
                f"`{option}` goes with {' or '.join(able)}; add it to the formats, or leave the "
                f"option out. Received: format={','.join(formats)}"
            )
    for each in quantize:
        check_choice("quantize", each, QUANTIZATIONS)
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
        options: Of the writers, see `exports.formats.export`.
    """

    files: tuple[tuple[Planned, Path], ...]
    picture: Path
    calibration: str | os.PathLike[str] | None = None
    overwrite: bool = False
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def deployment(
    out: str | os.PathLike[str],
    stem: str,
    formats: Sequence[str],
    quantize: Sequence[str] = (),
    calibration: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Deployment:
    """Finds out what is wrong with a choice of files, before anything takes long.

    Args:
        out: The folder to write into.
        stem: What the names of the files begin with.
        formats, quantize: As for `planned`.
        calibration: A folder of photos like those that the model will see.
        overwrite: Whether files may be replaced.
        **options: Of the writers: `input_range`, `scores`, `resize`, `interpolation`; `opset` and
            `pad_to_multiple_of`, which the ONNX file alone has.

    Raises:
        ValueError: As for `planned`, or if photos are needed and not given, or an option is out of
            its range.
        FileExistsError: If one of the files is there, and not `overwrite`.
    """
    files = planned(formats, quantize, options)
    if calibration is None and any(each.needs_photos for each in files):
        raise ValueError(
            f"`quantize` {', '.join(quantize)} needs photos like those that the model will see: "
            "pass a folder of them (--calibrate). dynamic_int8 needs none."
        )
    for name in formats:
        row = FORMATS[name]
        row.check(**{option: options[option] for option in row.options if option in options})
    out = Path(out)
    placed = tuple((each, out / each.name(stem)) for each in files)
    picture = out / f"{stem}_files.png"
    taken = [path for path in (*(path for _, path in placed), picture) if path.exists()]
    if taken and not overwrite:
        raise FileExistsError(
            f"There is something at {taken[0]} already. Choose another folder (--out), or pass "
            "--overwrite to replace it."
        )
    return Deployment(placed, picture, calibration, overwrite, options)


def deploy(
    wanted: Deployment,
    model: Any,
    class_names: Sequence[str] = (),
    check: str | os.PathLike[str] | None = None,
) -> list[Measured]:
    """Writes the files, measures each against the model, and draws their sizes.

    Args:
        wanted: Of `deployment`.
        model: What `exports.formats.export` takes; it need not be a classifier.
        class_names: Of a classifier, a name for each of its outputs. Default: as in
            `export_saved_model`.
        check: A folder of photos to measure with. Default: those that come with scikit-learn.

    Returns:
        What was measured, in the order of the files. The picture is that of a classifier.
    """
    special = {option for row in FORMATS.values() for option in row.options}
    of_all = {key: value for key, value in wanted.options.items() if key not in special}
    # It refuses what does not fit before anything is written.
    classifier = PixelClassifier(model, **of_all)
    classifies = classifier.scores != "none"
    names = (class_names or classifier.class_names) if classifies else ()
    photos = check or find_photo(None).parent
    how = (classifier.resize, classifier.interpolation)
    pixels, classes = photos_of(photos, classifier.image_size, names, *how)
    wanted.picture.parent.mkdir(parents=True, exist_ok=True)
    measured = []
    for each, path in wanted.files:
        say(f"writing {path}")
        taken_here = of_all.keys() | FORMATS[each.format].options
        options = {key: value for key, value in wanted.options.items() if key in taken_here}
        options |= {"class_names": names or None, "overwrite": wanted.overwrite}
        if each.quantize is not None:
            options["quantize"] = each.quantize
        if each.needs_photos:
            options["calibration"] = wanted.calibration
        export(model, path, format=each.format, **options)
        levels = wanted.options.get("input_range")
        measured.append(measure(path, model, pixels, classes, taken=levels, classifies=classifies))
    if classifies:
        size_picture(measured, wanted.picture)
    return measured
