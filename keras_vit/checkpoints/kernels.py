"""Fits the kernel that reads the image to other pixels than those that it was trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_vit.checkpoints.checkpoint import Checkpoint
from keras_vit.checkpoints.files.hdf5 import H5Reader
from keras_vit.checkpoints.files.open import open_arrays
from keras_vit.checkpoints.model_variables import model_variables

# The kernels that read the image, those of standardised convolutions first: a hybrid has one, and
# its patches are not those of the image.
_STANDARDISED = ("stem_root_conv/kernel", "root_conv/kernel")
_PATCHES = ("patch_embed/projection/kernel", "stem/projection/kernel")


@dataclasses.dataclass(frozen=True)
class KernelFit:
    """How one kernel of a file, `[rows, columns, channels, D]`, becomes that of a model.

    Attributes:
        mix: `[new channels, channels]`: how much of each old channel a new one is; or `None`.
        said: A sentence for the user, without the name of the file.
    """

    mix: np.ndarray | None
    said: str

    def __call__(self, kernel: np.ndarray) -> np.ndarray:
        """The kernel of the model, of the dtype of the file's."""
        fitted = kernel.astype("float64")
        if self.mix is not None:
            fitted = np.einsum("rcko,nk->rcno", fitted, self.mix, optimize=True)
        return fitted.astype(kernel.dtype)

    def __str__(self) -> str:
        return self.said


def kernel_fits(
    checkpoint: Checkpoint, wanted: Mapping[str, Any], channel_weights: Any
) -> dict[str, KernelFit]:
    """What must be done to the kernels of a file whose pixels are not those of the model.

    Args:
        checkpoint: The file.
        wanted: The variables of the model by their names.
        channel_weights: As in `from_checkpoint`, or `None`.

    Returns:
        Name of a variable -> its fit; none where the kernels fit as they are.

    Raises:
        ValueError: If `channel_weights` is no matrix of such a shape.
    """
    fits = {}
    name = _first(wanted)
    found = checkpoint.shapes.get(name, ())
    if len(found) == 4:
        old, new = found[2], wanted[name].shape[2]
        if _ends(found) == _ends(wanted[name].shape) and (
            old != new or channel_weights is not None
        ):
            mix = _mix(new, old, channel_weights)
            fits[name] = KernelFit(mix, _said(name, new, old, channel_weights is not None))
    return fits


def has_other_pixels(model: keras.Model, path: Path) -> bool:
    """Whether the kernel that reads the image has another shape in one of Keras's files."""
    try:
        wanted = model_variables(model)
        with open_arrays(path) as file:
            if not isinstance(file, H5Reader):
                return False
            name = _first(wanted)
            found = file.shapes.get(name)
    except ValueError:
        return False  # no model or file of ours alone: what compares them whole says so
    return found is not None and found != tuple(wanted[name].shape)


def _first(variables: Iterable[str]) -> str:
    """The kernel that reads the image."""
    return next(name for name in (*_STANDARDISED, *_PATCHES) if name in variables)


def _ends(shape: Any) -> tuple[int, ...]:
    """What other channels do not change."""
    return (*shape[:2], shape[3])


def _mix(new: int, old: int, channel_weights: Any) -> np.ndarray:
    """The matrix `[new, old]` that is asked for, or the usual one."""
    if channel_weights is None:
        if new == 1:
            return np.ones((1, old))
        return np.eye(old)[np.arange(new) % old] * old / new
    try:
        matrix = np.asarray(channel_weights, "float64")
    except (TypeError, ValueError):
        matrix = np.full((), np.nan)
    if matrix.shape != (new, old) or not np.isfinite(matrix).all():
        raise ValueError(
            f"`channel_weights` must be a matrix of {new} x {old} finite numbers: for each of the "
            f"{new} channels of the model's images, how much of each of the {old} channels of the "
            f"file's it is. Received: an array of shape {matrix.shape}"
        )
    return matrix


def _said(name: str, new: int, old: int, asked: bool) -> str:
    if asked:
        how = "they are mixed as `channel_weights` says"
    elif new == 1:
        how = "they are added, for grey images"
    else:
        how = f"they are repeated in turn and scaled by {old}/{new}"
    anew = "; its convolution standardises the result anew" if name in _STANDARDISED else ""
    return (
        f"its first kernel has {old} channels and the images of the model have {new}: {how}{anew}."
    )
