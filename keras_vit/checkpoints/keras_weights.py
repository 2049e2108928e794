"""Loads the weights in Keras's own files into a model: all of them or none.

Keras finds a layer by its class and a counter, `layers/dense_1`. It does not notice what else a
file holds, and after an error the model keeps what was loaded so far. So everything is compared
first.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.src.saving import saving_lib

from keras_vit.checkpoints.files.hdf5 import SETTINGS, H5Reader, is_variable, variable_name
from keras_vit.checkpoints.files.open import open_arrays
from keras_vit.checkpoints.kernels import has_other_pixels
from keras_vit.checkpoints.model_arrays import SETTINGS as TITLES
from keras_vit.checkpoints.names.formats import FORMATS

_AFTER_THE_ENCODER = ("head/", "pooling/", "pre_logits/", "pooled_norm/")


class _Places(saving_lib.H5IOStore):
    """What `model.save_weights` would write and where, without the numbers.

    Attributes:
        shapes: Path of a dataset -> its shape.
        settings: Path of a dataset that is no variable -> its value.
        layers: Path of a group -> the name of its layer.
    """

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.settings: dict[str, np.ndarray] = {}
        self.layers: dict[str, str] = {}
        self._group = ""

    def __bool__(self) -> bool:
        return True

    def make(self, path: str, metadata: dict[str, str] | None = None) -> _Places:
        self._group = path
        if metadata:
            self.layers[path] = metadata["name"]
        return self

    def __setitem__(self, key: str, value: Any) -> None:
        path = f"{self._group}/vars/{key}"
        if not is_variable(path):
            return  # the optimizer's state, metrics
        if key in SETTINGS:
            self.settings[path] = np.asarray(value)
        elif variable_name(path, self.layers.get) is not None:
            self.shapes[path] = tuple(value.shape)

    def name_of(self, path: str) -> str:
        return variable_name(path, self.layers.get) or path


def load_keras_weights(model: keras.Model, path: Path, allow_nonfinite: bool = False) -> bool:
    """Loads a `.weights.h5` or a `.keras` file into a model, layers of the user's own included.

    Args:
        model: Any functional or sequential model with layers of ours.
        path: The file.
        allow_nonfinite: Whether NaN and infinity are loaded too.

    Returns:
        Whether it was loaded: not if the model takes other channels or patches than the file, to
        which Keras cannot fit the kernels.

    Raises:
        ValueError: If anything differs between the file and the model (everything is listed),
            or the file is damaged. Then the model is unchanged.
    """
    places = _Places()
    saving_lib._save_state(model, places, None, "", set())
    with open_arrays(path) as file:
        if not isinstance(file, H5Reader):
            raise ValueError(
                f"{str(path)!r} has the name of a Keras file but is not one. Rename it by what it "
                "is, .npz or .safetensors."
            )
        if has_other_pixels(model, file):
            return False
        if lines := _differences(places, file):
            raise ValueError(
                f"The file {str(path)!r} does not fit the model, and nothing was loaded. "
                "`keras_vit.from_checkpoint` builds the model that a file describes, and "
                "`keras.models.load_model` what `model.save` wrote.\n" + "\n".join(sorted(lines))
            )
        file.verify(allow_nonfinite)
    model.load_weights(path)
    return True


def _differences(places: _Places, file: H5Reader) -> list[str]:
    headless = not any(name == "head" for name in places.layers.values())
    left_out = {
        path for path, name in file.places.items()
        if headless and name.startswith(_AFTER_THE_ENCODER)
    }  # fmt: skip
    # Features may be of another grid, and pooled in another way than for the head that is left out.
    free = {"grid_size", "interpolation", *(["pooling"] if left_out else [])}
    lines = []
    for path, wanted in places.shapes.items():
        name = places.name_of(path)
        found = file.places.get(path)
        if found is None:
            lines.append(f"  missing from the file: {name}")
        elif found != name and (_is_ours(found) or _is_ours(name)):
            lines.append(f"  another layer: the file has {found} where the model has {name}")
        elif (shape := file.shape_at(path)) != wanted and not _is_resampled(path, file, wanted):
            lines.append(f"  wrong shape: {name} is {shape}, the model needs {wanted}")
    for path, value in places.settings.items():
        found, key = file.settings.get(path), path.rpartition("/")[2]
        if key not in free and found is not None and not np.array_equal(found, value):
            (setting, said), (_, here) = SETTINGS[key](found), SETTINGS[key](value)
            lines.append(
                f"  {TITLES[setting]}: {places.name_of(path)} is {said!r} in the file, "
                f"{here!r} in the model"
            )
    there, here = (_normalisations(settings) for settings in (file.settings, places.settings))
    if len(there) != len(here):  # a model of centred pixels has no layer for it
        said, here = (found or ["centred"] for found in (there, here))
        lines.append(
            f"  {TITLES['normalisation']}: {said[0]!r} in the file, {here[0]!r} in the model"
        )
    for path, name in file.places.items():
        if path not in places.shapes and path not in left_out:
            lines.append(f"  unexpected in the file: {name}")
    return lines


def _normalisations(settings: Mapping[str, Any]) -> list[Any]:
    """Of each model of ours that has one."""
    return [
        SETTINGS["normalisation"](value)[1]
        for path, value in settings.items()
        if path.endswith("/normalisation")
    ]


def _is_ours(name: str) -> bool:
    """Whether a name is fixed by keras_vit. Keras numbers other layers by itself, `dense_7`."""
    return any(f.array_of(name) is not None for f in FORMATS if f.name == "keras")


def _is_resampled(path: str, file: H5Reader, wanted: tuple[int, ...]) -> bool:
    """Whether it is a position embedding of another grid, which its layer resamples."""
    group = path.rpartition("/")[0]
    grid = file.settings.get(f"{group}/grid_size")
    shape = file.shape_at(path)
    return (
        path.endswith("/embedding")
        and grid is not None
        and len(shape) == 3
        and shape[1] - int(np.prod(grid)) in (0, 1, 2)
        and (shape[0], shape[2]) == (wanted[0], wanted[2])
    )
