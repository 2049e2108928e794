"""How pixels are normalised: the mean and the standard deviation that weights were trained with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_vit.utils.backend import ops

# Name -> mean and standard deviation of red, green and blue in [0, 1]. "centred" is [-1, 1], what
# Google's models, AugReg and SigLIP take; "imagenet" is that of DeiT, DINO and MAE.
NORMALISATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "centred": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}


def normalisation_of(wanted: Any) -> Any:
    """What is meant, as it is printed and saved: a name of `NORMALISATIONS`, or two lists.

    Args:
        wanted: A name, or (mean, standard deviation), each with a number for every channel.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(wanted, str) and wanted in NORMALISATIONS:
        return wanted
    try:
        mean, std = (tuple(float(value) for value in values) for values in wanted)
    except (TypeError, ValueError):
        mean, std = (), ()
    if not mean or len(mean) != len(std) or not (np.isfinite([*mean, *std]).all() and min(std) > 0):
        raise ValueError(
            f"`normalisation` must be one of {list(NORMALISATIONS)}, or the mean and the standard "
            "deviation of each channel of images in [0, 1], ((0.5, 0.5, 0.5), (0.2, 0.2, 0.2)) for "
            f"example. Received: normalisation={wanted!r}"
        )
    if {*mean, *std} == {0.5}:
        return "centred"
    names = (name for name, pair in NORMALISATIONS.items() if np.allclose(pair, (mean, std)))
    return next(names, [list(mean), list(std)]) if len(mean) == 3 else [list(mean), list(std)]


@keras.saving.register_keras_serializable(package="keras_vit")
class PixelNormalisation(keras.layers.Layer):
    """Images in [-1, 1] to the mean and the standard deviation that the weights were trained with.

    So every model takes images in [-1, 1], whichever library its weights come from.

    Args:
        mean: Of each channel of images in [0, 1].
        std: Standard deviation, likewise.

    Input: `[B, H, W, C]` in [-1, 1]. Output: the same shape.

    Raises:
        ValueError: If the image has another number of channels.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], **kwargs: Any):
        super().__init__(**kwargs)
        self.mean = [float(value) for value in mean]
        self.std = [float(value) for value in std]

    @property
    def scale(self) -> np.ndarray:
        """What the images are multiplied by, `[C]`."""
        return 0.5 / np.array(self.std)

    @property
    def offset(self) -> np.ndarray:
        """What is added then, `[C]`."""
        return (0.5 - np.array(self.mean)) / np.array(self.std)

    def build(self, input_shape: Any) -> None:
        if input_shape[-1] != len(self.mean):
            raise ValueError(
                f"The mean and the standard deviation are those of {len(self.mean)} channels, and "
                f"the image has {input_shape[-1]}. Pass `normalisation=(mean, std)` with a number "
                'for each channel, or normalisation="centred" for images in [-1, 1]. Received: '
                f"mean={self.mean}, std={self.std}"
            )

    def call(self, images: Any) -> Any:
        scale, offset = (
            ops.convert_to_tensor(values, images.dtype) for values in (self.scale, self.offset)
        )
        return images * scale + offset

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def save_own_variables(self, store: Any) -> None:
        # No array of the weights shows it, and a file must not open as another model.
        store["normalisation"] = np.array([self.mean, self.std], "float64")

    def load_own_variables(self, store: Any) -> None:
        """The layer has no variables; what is stored is compared before."""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mean": self.mean, "std": self.std}
