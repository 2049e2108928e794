"""Fits the kernels that read pixels to other channels and patches than they were trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from keras_vit.checkpoints.checkpoint import Checkpoint
from keras_vit.checkpoints.files.hdf5 import H5Reader
from keras_vit.checkpoints.model_variables import model_variables
from keras_vit.layers.patch_resampling import resample_patch_kernel
from keras_vit.models import BiTConfig
from keras_vit.models.variants import Config
from keras_vit.utils.checks import check_counts

# The kernels that read the image, those of standardised convolutions first: a hybrid has one, and
# its patches are not those of the image.
_STANDARDISED = ("stem_root_conv/kernel", "root_conv/kernel")
_PATCHES = ("patch_embed/projection/kernel", "stem/projection/kernel")


@dataclasses.dataclass(frozen=True)
class KernelFit:
    """How one kernel of a file, `[rows, columns, channels, D]`, becomes that of a model.

    Attributes:
        mix: `[new channels, channels]`: how much of each old channel a new one is; or `None`.
        patch_size: Side of the new patch in pixels; or `None`.
        interpolation: How an image would be resized from the old patch to the new.
        said: For the user, without the name of the file.
    """

    mix: np.ndarray | None
    patch_size: int | None
    interpolation: str
    said: str

    def __call__(self, kernel: np.ndarray) -> np.ndarray:
        """The kernel of the model, of the dtype of the file's."""
        fitted = kernel.astype("float64")
        if self.mix is not None:
            fitted = np.einsum("rcko,nk->rcno", fitted, self.mix, optimize=True)
        if self.patch_size is not None:
            fitted = resample_patch_kernel(fitted, self.patch_size, self.interpolation)
        return fitted.astype(kernel.dtype)

    def __str__(self) -> str:
        return self.said


def kernel_fits(
    checkpoint: Checkpoint, wanted: Mapping[str, Any], channel_weights: Any, interpolation: str
) -> dict[str, KernelFit]:
    """What must be done to the kernels of a file whose pixels are not those of the model.

    Args:
        checkpoint: The file.
        wanted: The variables of the model by their names.
        channel_weights: As in `from_checkpoint`, or `None`.
        interpolation: Of the model's positions.

    Returns:
        Name of a variable -> its fit; none where the kernels fit as they are, or not at all.

    Raises:
        ValueError: If `channel_weights` is no matrix of the right shape.
    """
    fits = {}
    first = _first(wanted)
    for name in (*_STANDARDISED, *_PATCHES):
        old = checkpoint.shapes.get(name, ())
        if name not in wanted or len(old) != 4:
            continue
        new = tuple(wanted[name].shape)
        mix, patch_size, said = None, None, []
        if name == first and (old[2] != new[2] or channel_weights is not None):
            mix = _mix(new[2], old[2], channel_weights)
            said.append(_said_of_channels(name, new[2], old[2], channel_weights is not None))
            old = (*old[:2], new[2], old[3])
        if name in _PATCHES and old[:2] != new[:2]:
            patch_size = new[0]
            said.append(f"its patches of {old[0]} x {old[1]} are resampled to {new[0]} x {new[1]}")
            old = (*new[:2], *old[2:])
        if said and old == new:
            fits[name] = KernelFit(mix, patch_size, interpolation, "; ".join(said))
    return fits


def with_patch_size(config: Config, patch_size: int | None) -> Config:
    """The same architecture with other patches, or as it is for `None`.

    Raises:
        ValueError: If it has no patches, or `patch_size` is out of its range.
    """
    if patch_size is None:
        return config
    check_counts(1, patch_size=patch_size)
    if isinstance(config, BiTConfig):
        raise ValueError(
            "A BiT ResNet has no patches. Leave `patch_size` out. Received: "
            f"patch_size={patch_size}"
        )
    return dataclasses.replace(config, patch_size=patch_size)


def has_other_pixels(model: keras.Model, file: H5Reader) -> bool:
    """Whether a kernel that reads pixels has another shape in one of Keras's files."""
    try:
        wanted = model_variables(model)
    except ValueError:
        return False  # no model of ours alone: what compares them whole says so
    return any(
        name in wanted and file.shapes.get(name, ()) not in ((), tuple(wanted[name].shape))
        for name in (*_STANDARDISED, *_PATCHES)
    )


def _first(variables: Iterable[str]) -> str:
    """The kernel that reads the image."""
    return next(name for name in (*_STANDARDISED, *_PATCHES) if name in variables)


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


def _said_of_channels(name: str, new: int, old: int, asked: bool) -> str:
    if asked:
        how = "they are mixed as `channel_weights` says"
    elif new == 1:
        how = "they are added, for grey images"
    else:
        how = f"they are repeated in turn and scaled by {old}/{new}"
    anew = ", and its convolution standardises the result anew" if name in _STANDARDISED else ""
    return (
        f"its first kernel has {old} channels and the images of the model have {new}: {how}{anew}"
    )
