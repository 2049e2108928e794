"""What a named constructor does: finds the weights, checks them against the arguments, builds.

The rules are those of `keras.applications`, which checks the same things in each of its files.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras

from keras_vit.applications import weights as released_weights
from keras_vit.applications.found_weights import FoundWeights
from keras_vit.applications.released_files import RELEASED, ReleasedFile
from keras_vit.checkpoints import from_checkpoint, hub, load_weights
from keras_vit.checkpoints.checkpoint import Checkpoint
from keras_vit.checkpoints.info.describe import describe
from keras_vit.checkpoints.kernels import with_patch_size
from keras_vit.models import VARIANTS, feature_model
from keras_vit.models.features import check_features
from keras_vit.models.input_and_head import image_shape
from keras_vit.models.variants import DEFAULT_IMAGE_SIZE, name_of


class _DefaultClasses(int):
    """1000 unless the weights say otherwise; an int that a user passes is not of this class."""


DEFAULT_CLASSES = _DefaultClasses(1000)


# With `None`, these arguments have the value of the weights.
_OF_THE_WEIGHTS = {"classifier", "representation_size", "registers", "gelu"}


def build(variant: str, *, features: Any, **arguments: Any) -> keras.Model:
    """Builds a variant, up to its head or to the features of some blocks.

    Args:
        variant: A key of `VARIANTS`.
        features: As in the constructors, like all the rest.
        **arguments: Those of `_build`.
    """
    if features is None:
        return _build(variant, **arguments)
    check_features(
        features,
        pooling=arguments["pooling"],
        new_head=arguments["new_head"],
        classes=None if isinstance(arguments["classes"], _DefaultClasses) else arguments["classes"],
    )
    return feature_model(_build(variant, **{**arguments, "include_top": False}), features)


def _build(
    variant: str,
    *,
    weights: str | os.PathLike[str] | None,
    classes: int,
    new_head: bool,
    include_top: bool,
    input_tensor: Any,
    input_shape: Any,
    patch_size: int | None = None,
    channel_weights: Any = None,
    **options: Any,
) -> keras.Model:
    """Builds a variant and loads what `weights` means.

    Args:
        variant: A key of `VARIANTS`.
        weights: As in the constructors, like all the rest.
        classes: Outputs of the head; `DEFAULT_CLASSES` for those of the weights.
        new_head: Whether to load all but the head.
        include_top: Whether to end with the head.
        input_tensor: The image, or `None`.
        input_shape: Of the image, or `None`.
        patch_size: Side of a patch in pixels; `None` for the variant's.
        channel_weights: For the weights, where the image has other channels; or `None`.
        **options: The other arguments of the constructor.
    """
    config = with_patch_size(VARIANTS[variant], patch_size)
    if weights is None and channel_weights is not None:
        raise ValueError(
            "`channel_weights` says how the kernel of trained weights is adapted, and "
            "weights=None has none. Received: channel_weights and weights=None"
        )
    count = int(classes) if isinstance(classes, _DefaultClasses) else classes
    if include_top:
        options["pooling"] = None  # as in keras.applications, it only counts without the head
    if input_tensor is None and input_shape is None and not include_top and config.any_size:
        input_shape = image_shape((None, None), 3)
    settings: dict[str, Any] = {
        "include_top": include_top,
        "input_tensor": input_tensor,
        "input_shape": input_shape,
    }
    for name, value in options.items():
        if value is not None or name not in _OF_THE_WEIGHTS:
            settings[name] = value
    if weights is not None and include_top and not new_head:
        _check_activation(options["classifier_activation"])
    if weights is None or _is_keras_file(weights):
        model = config.build(DEFAULT_IMAGE_SIZE, **config.architecture, **settings, classes=count)
        if weights is not None:
            load_weights(model, weights, new_head=new_head, channel_weights=channel_weights)
        return model

    path = _resolve(variant, weights, input_tensor, input_shape)
    if isinstance(path, ReleasedFile):
        if include_top and not new_head:
            _check_classes(weights, classes, path.classes)  # before a long download
        path = released_weights.fetch(path)
    num_heads = getattr(config, "num_heads", None)
    with Checkpoint(path) as checkpoint:
        info = describe(checkpoint, num_heads)
    # With `patch_size` a file of any is taken: one of FlexiViT has the kernel of another.
    if with_patch_size(info.config, patch_size) != config:
        found = name_of(info.config)
        raise ValueError(
            f"The checkpoint {str(path)!r} is not a {config.title}. Expected: "
            f"{config.architecture}. Received: {info.config.architecture}"
            f"{f', which is keras_vit.{found}' if found else ''}. "
            "`keras_vit.from_checkpoint` builds the model that a file describes."
        )
    if include_top and not new_head:
        _check_classes(weights, classes, info.classes)
    return from_checkpoint(
        path,
        classes=count if new_head else None,
        num_heads=num_heads,
        patch_size=patch_size,
        channel_weights=channel_weights,
        **settings,
    )


def _resolve(
    variant: str, weights: Any, input_tensor: Any, input_shape: Any
) -> Path | ReleasedFile:
    """What `weights` means: a file that is there, or a released one."""
    if not isinstance(
        weights, str | os.PathLike | FoundWeights
    ):  # a number would be an open file's
        raise ValueError(
            "`weights` must be None, a name or a path. Received: "
            f"weights={weights!r}; names: {released_weights.available(variant)}"
        )
    weights = weights.name if isinstance(weights, FoundWeights) else hub.local_file(weights)
    if isinstance(weights, os.PathLike) or os.path.isfile(weights):
        path = Path(weights)
        if not path.is_file():
            raise ValueError(f"`weights` is a path without a file. Received: weights={weights!r}")
        return path
    folders = {"", *(os.path.dirname(path) for file in RELEASED for path in file.paths)}
    endings = (".h5", ".keras", ".safetensors")
    if weights.endswith(endings) or os.path.dirname(weights) not in folders:
        raise ValueError(f"`weights` is a path without a file. Received: weights={weights!r}")
    shape = input_shape
    if input_tensor is not None:
        shape = tuple(input_tensor.shape[1:])
    size = None
    if shape is not None and len(shape) == 3:
        first = keras.config.image_data_format() == "channels_first"
        size = shape[1:] if first else shape[:2]
    return released_weights.find(
        variant, weights, None if size is None or None in size else tuple(size)
    )


def _check_classes(weights: Any, classes: int, known: int | None) -> None:
    if known is None or isinstance(classes, _DefaultClasses) or classes == known:
        return
    raise ValueError(
        f"If using `weights={str(weights)!r}` with `include_top=True`, `classes` should be "
        f"{known}. Received: classes={classes}. For a new head of {classes} classes on these "
        f"weights pass `classes={classes}, new_head=True`, or `include_top=False` and your own."
    )


def _check_activation(activation: Any) -> None:
    function = keras.activations.get(activation)
    if function not in (keras.activations.get(None), keras.activations.get("softmax")):
        raise ValueError(
            "`classifier_activation` can only be None or 'softmax' when using a pretrained top "
            f"layer. Received: classifier_activation={activation!r}"
        )


def _is_keras_file(weights: Any) -> bool:
    return str(weights).endswith((".h5", ".keras")) and os.path.isfile(weights)
