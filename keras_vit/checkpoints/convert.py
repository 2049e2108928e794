"""Converts a checkpoint from one library to another, and runs both to compare."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import importlib.util
import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_vit.checkpoints import hub
from keras_vit.checkpoints.checkpoint import Checkpoint
from keras_vit.checkpoints.info.describe import describe
from keras_vit.checkpoints.kernels import with_patch_size
from keras_vit.checkpoints.load import from_checkpoint, load_checkpoint
from keras_vit.checkpoints.model_arrays import Arrays
from keras_vit.checkpoints.model_variables import model_variables
from keras_vit.checkpoints.names.keys import members
from keras_vit.checkpoints.save import format_name, save_weights
from keras_vit.models import VARIANTS
from keras_vit.models.variants import name_of
from keras_vit.utils.backend import ops
from keras_vit.utils.checks import as_pair, check_choice
from keras_vit.utils.files import check_target, replacing
from keras_vit.utils.tables import Page, Table

# Of the largest output. The weights are the same, so only the order of sums may differ.
TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Move:
    """What went where.

    Attributes:
        source, target: Names of the arrays; `source` is `None` for a bias that the source lacks.
        source_shape, target_shape: Their shapes.
        variable: Our name of it.
    """

    source: str | None
    source_shape: tuple[int, ...] | None
    target: str
    target_shape: tuple[int, ...]
    variable: str


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What `convert` did.

    Attributes:
        source_format, target_format: For people.
        model: Name of the constructor, or a description of what has none.
        num_parameters: Numbers in the target.
        image_size: (rows, columns) in pixels of the target.
        moves: Every variable of the model, in its order.
        photo: The photo that both models saw.
        difference: The largest difference of their outputs, as a part of the largest output.
    """

    source_format: str
    target_format: str
    model: str
    num_parameters: int
    image_size: tuple[int, int]
    moves: tuple[Move, ...]
    photo: Path
    difference: float


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    format: str | None = None,
    model: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    num_heads: int | None = None,
    patch_size: int | None = None,
    classifier: str | None = None,
    gelu: str | None = None,
    interpolation: str | None = None,
    normalisation: Any = None,
    photo: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Conversion:
    """Converts a checkpoint and checks the result.

    The target is written beside its final place, opened again, and run on a photo together with
    the source; only when both agree it takes its name. Position embeddings are resampled where
    `image_size` is another than the file's.

    Args:
        source: Any file that `from_checkpoint` opens.
        target: Any path that `save_weights` takes.
        format: As in `save_weights`.
        model: Name of a constructor; an error if the file holds another model.
        image_size: Pixels of the target, one number or (rows, columns). Default: the source's.
        num_heads: As in `from_checkpoint`.
        patch_size: As in `from_checkpoint`.
        classifier: As in `keras_vit.ViT`, like the next three, for what a file leaves open.
            Default: what the file or its library says.
        gelu: Which of the three.
        interpolation: How positions are resampled.
        normalisation: Mean and deviation of the pixels. The `preprocessor_config.json` of a folder
            for Hugging Face says them.
        photo: A photo. Default: one that comes with scikit-learn or matplotlib.
        overwrite: Whether a file at `target` may be replaced.

    Returns:
        What was done.

    Raises:
        FileNotFoundError: If there is no `source`, or no folder for `target`.
        FileExistsError: If there is something at `target`, and not `overwrite`.
        ValueError: If the source cannot be read, is another model, has no place in the format,
            or if the two models differ. There is no file at `target` then.
    """
    target = Path(target)
    name = format_name(target, format)
    check_target(target, None, overwrite)
    photo = find_photo(photo)
    if num_heads is None and model is not None and model in VARIANTS:
        num_heads = getattr(VARIANTS[model], "num_heads", None)
    source = hub.local_file(source)
    with Checkpoint(source) as checkpoint:
        info = describe(checkpoint, num_heads)
        _check_model(info, model, checkpoint.path)
        source_arrays = {v: checkpoint.array_of(v) for v in checkpoint}
        source_shapes, source_format = checkpoint.arrays, checkpoint.format.title
        family = checkpoint.format.family.name
    pair = None if image_size is None else as_pair(image_size, "image_size")
    given = {
        "classifier": classifier, "gelu": gelu, "interpolation": interpolation,
        "normalisation": normalisation,
    }  # fmt: skip
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    for option in options.keys() - inspect.signature(info.config.build).parameters:
        raise ValueError(
            f"Only a ViT has `{option}`. Leave it out. Received: {option}={options[option]!r}, and "
            f"{str(source)!r}, which holds a {family}"
        )
    converted = from_checkpoint(source, pair, num_heads=num_heads, patch_size=patch_size, **options)
    rows, columns = (int(n) for n in converted.input_shape[1:3])
    pixels = _pixels(photo, (rows, columns), int(converted.input_shape[3]))
    expected = _outputs(converted, pixels)
    arrays = Arrays(converted, name)
    moves = tuple(_moves(converted, arrays, source_arrays, source_shapes))
    num_parameters = sum(int(np.prod(shape, dtype="int64")) for shape in arrays.shapes.values())
    target_format = arrays.format.title

    with replacing(target) as temporary:
        save_weights(converted, temporary, name)
        written = temporary / "model.safetensors" if temporary.is_dir() else temporary
        with Checkpoint(written) as checkpoint:
            again = describe(checkpoint, getattr(info.config, "num_heads", None))
        if again.config != with_patch_size(info.config, patch_size):
            raise ValueError(
                f"The converted file describes another model than {str(source)!r}: "
                f"{again.config.architecture}, not {info.config.architecture}. Nothing was written."
            )
        # Into the same model: two large ones need not be in memory at once.
        _give_memory_back()
        load_checkpoint(converted, written, image_size=(rows, columns))
        difference = _difference(_outputs(converted, pixels), expected)
        if not difference <= TOLERANCE:
            raise ValueError(
                f"The converted model differs from {str(source)!r} by {difference:.1e} of the "
                f"largest output on {photo.name}, more than {TOLERANCE:.0e}. Nothing was written."
            )
    return Conversion(
        source_format,
        target_format,
        name_of(info.config) or f"{family}, {info.config.architecture}",
        num_parameters,
        (rows, columns),
        moves,
        photo,
        difference,
    )


def _give_memory_back() -> None:
    """Returns freed memory to the system, where the C library keeps it (glibc does)."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _check_model(info: Any, model: str | None, path: Path) -> None:
    if model is None:
        return
    check_choice("model", model, VARIANTS)
    if VARIANTS[model] != info.config:
        found = name_of(info.config)
        raise ValueError(
            f"{str(path)!r} is not a {model}. Expected: {VARIANTS[model].architecture}. Received: "
            f"{info.config.architecture}{f', which is {found}' if found else ''}"
        )


def _moves(
    model: keras.Model, arrays: Arrays, source_arrays: Any, source_shapes: Any
) -> Iterator[Move]:
    for variable in model_variables(model):
        source = source_arrays.get(variable)
        target, _ = arrays.format.array_of(variable)  # type: ignore[misc]
        yield Move(
            source[0] if source else None,
            source_shapes[source[0]] if source else None,
            target,
            arrays.shapes[members(target)[0]],
            variable,
        )


def moves_page(moves: tuple[Move, ...], every_block: bool = False) -> Page:
    """A table of moves; of equal blocks only the first, unless `every_block`."""
    rows, seen, hidden = [], set(), 0
    for move in moves:
        if not every_block:
            kind = re.sub(r"\d+", "#", move.variable), move.source_shape, move.target_shape
            if kind in seen:
                hidden += 1
                continue
            seen.add(kind)
        source = f"{move.source} {move.source_shape}" if move.source else "(absent: zeros)"
        rows.append((source, "->", f"{move.target} {move.target_shape}"))
    more = [f"and {hidden} more of the same kinds and shapes in the other blocks"] if hidden else []
    return Page(Table(rows, left=(0, 1, 2)), *more)


def _outputs(model: Any, pixels: np.ndarray) -> list[np.ndarray]:
    """What the model says, and what its head sees: the head of some released files is zero."""
    outputs = [model.output]
    if any(layer.name == "head" for layer in model.layers):
        outputs.append(model.get_layer("head").input)
    return [ops.convert_to_numpy(x) for x in keras.Model(model.input, outputs)(pixels)]


def _difference(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """The largest difference, as a part of the largest value; infinite for other shapes."""
    largest = 0.0
    for ours, theirs in zip(found, expected, strict=True):
        if ours.shape != theirs.shape or not np.isfinite(ours).all():
            return float("inf")
        scale = np.abs(theirs).max()
        largest = max(largest, float(np.abs(ours - theirs).max() / (scale if scale > 0 else 1)))
    return largest


def find_photo(path: str | os.PathLike[str] | None) -> Path:
    """The photo to check with: the user's, or one that scikit-learn or matplotlib bring along.

    Raises:
        FileNotFoundError: If the user's is not there.
        ImportError: If none is given and neither package is installed.
    """
    if path is not None:
        if not Path(path).is_file():
            raise FileNotFoundError(f"There is no photo {str(path)!r}.")
        return Path(path)
    for package, place in (
        ("sklearn", "datasets/images/china.jpg"),
        ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    ):
        found = importlib.util.find_spec(package)
        for folder in (found.submodule_search_locations or []) if found else []:
            if Path(folder, place).is_file():
                return Path(folder, place)
    raise ImportError(
        "A photo is needed to check the result with: give one (--photo), or install one that "
        'comes with scikit-learn: pip install "keras-vit-applications[digits]"'
    )


def _pixels(photo: Path, size: tuple[int, int], channels: int) -> np.ndarray:
    """A batch of one, in [-1, 1]."""
    image = keras.utils.img_to_array(
        keras.utils.load_img(photo, target_size=size), data_format="channels_last"
    )
    image = np.take(image, range(channels), axis=-1, mode="wrap")
    return (image[None] - 127.5) / 127.5
