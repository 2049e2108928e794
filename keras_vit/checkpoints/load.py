"""Builds a model from a checkpoint, or loads one into a model.

Every array of the file and every variable of the model is accounted for, or nothing is loaded
and one error lists all that does not fit.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_vit.checkpoints.adapt import (
    POSITION_EMBEDDING,
    computed_positions,
    positions_for,
)
from keras_vit.checkpoints.checkpoint import Checkpoint
from keras_vit.checkpoints.comparison import check_fits, left_out_of
from keras_vit.checkpoints.hub import local_file
from keras_vit.checkpoints.info.describe import describe
from keras_vit.checkpoints.info.doubts import check_no_doubt
from keras_vit.checkpoints.keras_weights import load_keras_weights
from keras_vit.checkpoints.kernels import kernel_fits, with_patch_size
from keras_vit.checkpoints.messages import (
    gate_line,
    left_out_line,
    pixels_line,
    warn_of_unlike_settings,
    warn_of_zero_head,
)
from keras_vit.checkpoints.model_arrays import UNSAID, settings_of
from keras_vit.checkpoints.model_variables import (
    model_family,
    model_variables,
    number_of_heads,
)
from keras_vit.layers.base.initializers import weights_follow
from keras_vit.models.features import check_features, feature_model
from keras_vit.models.input_and_head import image_shape
from keras_vit.utils.checks import as_pair
from keras_vit.utils.text import say


def from_checkpoint(
    path: str | os.PathLike[str],
    image_size: int | tuple[int, int] | None = None,
    *,
    classes: int | None = None,
    classifier_activation: Any = None,
    include_top: bool = True,
    num_heads: int | None = None,
    patch_size: int | None = None,
    allow_nonfinite: bool = False,
    features: Sequence[int] | str | None = None,
    channel_weights: Any = None,
    **options: Any,
) -> keras.Model:
    """Builds the model that a checkpoint describes, from its arrays alone, and loads it.

    It opens every format of `keras_vit.save_weights`, and Google's older and newer spellings; it
    knows the format by the names of the arrays. It finds layer scale, registers, a distillation
    token, SwiGLUs, rotary positions, what the head reads, patch size, stem, depth and width. The
    GELU, the epsilon of the norms and the mean and deviation of the pixels are those of the
    format's library, unless the file (or a `config.json` and its like beside it) says otherwise.
    Text towers are left out.

    Args:
        path: An `.npz`, a `.safetensors`, a `.weights.h5` or a `.keras` file, a folder of Hugging
            Face, or `"hf://OWNER/NAME"`, which is fetched from the Hub. `@REVISION` may follow.
        image_size: Pixels, one number or (rows, columns). Default: what the file was trained
            at. At another size the position embedding is resampled (paper, section 3.2), by
            default as the library of the file does it (`interpolation=`).
        classes: Number of outputs of a new head. It replaces the file's head and starts at zero;
            the file's `pre_logits` layer is dropped too, as in the original fine-tuning (pass
            `representation_size=` to keep it). A printed line says so. Default: the file's own
            head.
        classifier_activation: Activation of the head; the default `None` gives logits.
        include_top: Whether to end with the head. Without it the result is a feature map, or
            what `pooling=` says. Where the file has no head it ends with the attention pooling of
            SigLIP, if the file has that.
        num_heads: Heads of the attention, for files that do not say it (timm, Hugging Face
            without `config.json`, `.weights.h5`) and whose heads do not have the usual 64
            channels.
        patch_size: Side of a patch in pixels. At another than the file's, the kernel is resampled
            as by FlexiViT (arXiv 2212.08013, section 3.2), and the positions for the grid that
            follows from the image size. A Mixer keeps its grid, so its image size follows.
        allow_nonfinite: Load NaN and infinity too, which are refused otherwise.
        features: Blocks whose feature maps are the outputs, as in the constructors. There is then
            no head.
        channel_weights: `[C, 3]`, for `input_shape=(rows, columns, C)`: how much of red, green and
            blue each channel of the images is. The model then gives on images what the file's
            model gives on `images @ channel_weights`. Default, where C is not that of the file:
            one channel is all three; of more, each is the next of them in turn, times 3 / C.
        **options: Further arguments of `keras_vit.ViT`, `BiT` or `Mixer`: `gelu`, `normalisation`,
            `dropout_rate`, `include_preprocessing`, `pooling`, `input_shape`, `dtype`, `name`.

    Returns:
        A functional `keras.Model`; see `keras_vit.ViT`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not the checkpoint of a model that is known here, or is damaged.
        ImportError: If it is a `.safetensors` and that package is not installed.
    """
    if features is not None:
        check_features(features, classes=classes, pooling=options.get("pooling"))
        include_top = False
    with Checkpoint(path) as checkpoint:
        info = describe(checkpoint, num_heads)
        checkpoint.allow_nonfinite = allow_nonfinite
        check_no_doubt(
            checkpoint, info, {"num_heads": num_heads, "patch_size": patch_size, **options}
        )
        pair = None if image_size is None else as_pair(image_size, "image_size")
        config = with_patch_size(info.config, patch_size)
        # A Mixer has a fixed grid, so that its image follows from the patches.
        of_size = info if config.any_size else dataclasses.replace(info, config=config)
        size = of_size.image_size(pair)
        if include_top and info.classes is None and classes is None:
            options = {**info.without_head(), **options}
        include_top = include_top and (info.classes is not None or classes is not None)
        new_head = include_top and classes is not None
        settings: dict[str, Any] = {
            **info.settings(new_head),
            "input_shape": None if "input_tensor" in options else image_shape(size, info.channels),
            **options,
        }
        with weights_follow():
            model = config.build(
                size,
                **config.architecture,
                include_top=include_top,
                classes=classes if new_head else info.classes or 0,
                classifier_activation=classifier_activation,
                **settings,
            )
        _load(model, checkpoint, info, pair, new_head, channel_weights)
        _say(left_out_line(checkpoint))
        _say(pixels_line(checkpoint, info, options, settings))
        _say(gate_line(checkpoint, info))
    if new_head and info.classes is not None:
        dropped = checkpoint.has("pre_logits/kernel") and "pre_logits" not in _layer_names(model)
        _say(
            f"{checkpoint.path.name}: its head of {info.classes} classes"
            f"{' and its pre_logits layer are' if dropped else ' is'} left out; the new head "
            f"of {classes} classes starts at zero: train it before you use its scores."
        )
    return model if features is None else feature_model(model, features)


def _say(line: str) -> None:
    if line and keras.config.is_interactive_logging_enabled():
        say(line)


def _layer_names(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers]


def load_weights(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    image_size: int | tuple[int, int] | None = None,
    new_head: bool = False,
    allow_nonfinite: bool = False,
    channel_weights: Any = None,
) -> None:
    """Loads weights of any supported format into a model.

    The position embedding is resampled to the model's grid, by the `interpolation` of the model,
    and the kernels to its channels and patches, as in `from_checkpoint`. A model without a head
    ignores the file's head and `pre_logits`. With `new_head`, a model without `pre_logits` ignores
    the file's.

    Args:
        model: A model that `ViT`, `BiT`, `Mixer` or a constructor built; its variables are
            overwritten.
        path: As in `from_checkpoint`.
        image_size: Pixels that the file was trained at, where it does not say it.
        new_head: Leave the model's head as it is, and do not read the file's.
        allow_nonfinite: Load NaN and infinity too, which are refused otherwise.
        channel_weights: As in `from_checkpoint`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If arrays are missing, unexpected or of another shape (all are listed, and
            nothing is loaded), or if the file is damaged or of an unknown format.
        ImportError: If it is a `.safetensors` and that package is not installed.
    """
    path = Path(local_file(path))
    if not path.exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    of_keras = path.name.endswith((".weights.h5", ".keras")) and not new_head
    if of_keras and channel_weights is None and load_keras_weights(model, path, allow_nonfinite):
        return
    unlike = load_checkpoint(
        model,
        path,
        image_size=image_size,
        new_head=new_head,
        allow_nonfinite=allow_nonfinite,
        channel_weights=channel_weights,
    )
    if unlike:
        warn_of_unlike_settings(path.name, unlike, settings_of(model))


def load_checkpoint(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    image_size: int | tuple[int, int] | None = None,
    new_head: bool = False,
    allow_nonfinite: bool = False,
    channel_weights: Any = None,
) -> dict[str, Any]:
    """`load_weights` by our own reader. Of Keras's files it reads only the layers of keras_vit.

    Returns:
        What the code that usually reads such files computes in another way than the model, where
        the file does not say it.
    """
    pair = None if image_size is None else as_pair(image_size, "image_size")
    family = model_family(model)
    with Checkpoint(path) as checkpoint:
        if checkpoint.format.family is not family:
            raise ValueError(
                f"{str(checkpoint.path)!r} is the checkpoint of a "
                f"{checkpoint.format.family.name}, and `model` is a {family.name}. "
                f"Received: model={model.name!r}"
            )
        info = describe(checkpoint, number_of_heads(model))
        checkpoint.allow_nonfinite = allow_nonfinite
        _load(model, checkpoint, info, pair, new_head, channel_weights, checkpoint.verify)
        _say(left_out_line(checkpoint))
        unsaid = (key for key in UNSAID if key not in checkpoint.metadata)
        usual = {key: getattr(info, key, None) for key in unsaid}
    here = settings_of(model)
    return {k: v for k, v in usual.items() if k in here and v not in (None, here[k])}


def _load(
    model: keras.Model,
    checkpoint: Checkpoint,
    info: Any,
    image_size: tuple[int, int] | None,
    new_head: bool,
    channel_weights: Any,
    before: Callable[[], None] | None = None,
) -> None:
    """Loads what `from_checkpoint` and `load_weights` load, after a comparison and `before`."""
    wanted = model_variables(model)
    left_out = left_out_of(wanted, new_head)
    wanted = {name: v for name, v in wanted.items() if not name.startswith(left_out)}
    here = settings_of(model)
    interpolation = here.get("interpolation", "bilinear")
    fits = kernel_fits(checkpoint, wanted, channel_weights, interpolation)
    check_fits(checkpoint, wanted, left_out, here, fits, building=before is None)
    if before is not None:
        before()
    for name, variable in wanted.items():
        if name == POSITION_EMBEDDING and not checkpoint.has(name):
            variable.assign(computed_positions(model))
            _say(
                f"{checkpoint.path.name}: it has no positions. They are computed as big_vision's "
                "posemb='sincos2d', for this image size; open it again for another."
            )
            continue
        if not checkpoint.has(name):
            variable.assign(np.zeros(variable.shape, "float32"))  # no bias is the same as zeros
            continue
        array = checkpoint[name]
        if name == POSITION_EMBEDDING:
            trained_at = image_size if before is not None else None
            array = positions_for(model, array, info, image_size, trained_at, checkpoint.path.name)
        elif name in fits:
            _say(f"{checkpoint.path.name}: {fits[name]}")
            array = fits[name](array)
        variable.assign(array)
        zero_head = name == "head/kernel" and not array.any()
        del array  # before the next one is read
        if zero_head:
            warn_of_zero_head(checkpoint)
