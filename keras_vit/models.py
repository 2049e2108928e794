"""The named constructors, with the signature and the rules of `keras.applications`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras

from keras_vit import weights as released_weights
from keras_vit.checkpoints import describe, from_checkpoint, load_weights
from keras_vit.ends import image_shape
from keras_vit.npz import NpzReader
from keras_vit.released import RELEASED, ReleasedFile
from keras_vit.variants import VARIANTS
from keras_vit.vit import ViT

DEFAULT_IMAGE_SIZE = 224


class _DefaultClasses(int):
    """1000, as long as the weights do not say otherwise; an int that was typed is not one."""


_DEFAULT_CLASSES = _DefaultClasses(1000)

_DOC = """{title}: patches of {stride} pixels{stem}, width {width}, {depth} blocks, {heads} heads.

Source: "An Image is Worth 16x16 Words" (arXiv 2010.11929), Table 1; sizes Ti and S: "How to
train your ViT" (arXiv 2106.10270).

The first eight arguments and their rules are those of `keras.applications`.

Args:
    include_top: Whether to end with the classification head.
    weights: `None` for random weights; `"imagenet"` (fine-tuned on ImageNet-2012, the file
        whose size fits `input_shape`) or `"imagenet21k"` (21,843 classes); an explicit name
        ({names}); any file name of the AugReg release; or the path of an `.npz`, a
        `.weights.h5` or a `.keras` file.
    input_tensor: Keras tensor to use as the image.
    input_shape: (rows, columns, channels), any size; rows and columns may be `None`. The
        position embedding is resampled for it. Default: the size of the weights; without
        the head any size, (None, None, 3).
    pooling: Without the head: `None` for a feature map `[B, rows, columns, {width}]` (the class
        token left out), `"avg"` or `"max"` over it, or `"token"` for the class token.
    classes: Outputs of the head. Default: what the weights have; 1000 without weights.
    classifier_activation: Activation of the head; `None` gives logits.
    name: Name of the model.
    classifier: `"token"` or `"gap"`. Default: what the weights have; `"token"` without.
    representation_size: Width of `pre_logits`, or `None`: what the weights have.
    new_head: Load everything but the head, which starts at zero with `classes` outputs (and
        `pre_logits` is dropped), as the paper does for fine-tuning.
    registers: Extra learned tokens without a position.
    dropout_rate: In [0, 1).
    attention_dropout_rate: In [0, 1).
    stochastic_depth_rate: In [0, 1), of the last block; rises linearly from 0.
    gelu: `"tanh"`, which Google's weights were trained with, or `"exact"`.
    border: Of an image that the patches do not cover: `"drop"`, `"pad"` or `"error"`.
    include_preprocessing: Let the model take pixels in [0, 255] in place of [-1, 1].
    dtype: Dtype policy, `"mixed_bfloat16"` for example. Default: Keras's.

Returns:
    A functional `keras.Model`.

Raises:
    ValueError: If an argument is out of its range, contradicts another, or does not fit the
        weights.
"""


def _constructor(variant: str):
    """The constructor of one row of `VARIANTS`."""

    def construct(
        include_top: bool = True,
        weights: str | os.PathLike[str] | None = "imagenet",
        input_tensor: Any = None,
        input_shape: tuple[int | None, int | None, int] | None = None,
        pooling: str | None = None,
        classes: int = _DEFAULT_CLASSES,
        classifier_activation: Any = "softmax",
        name: str = variant.lower(),
        *,
        classifier: str | None = None,
        representation_size: int | None = None,
        new_head: bool = False,
        registers: int | None = None,
        dropout_rate: float = 0.0,
        attention_dropout_rate: float = 0.0,
        stochastic_depth_rate: float = 0.0,
        gelu: str = "tanh",
        border: str = "drop",
        include_preprocessing: bool = False,
        dtype: Any = None,
    ) -> keras.Model:
        of_the_weights = {
            "classifier": classifier,
            "representation_size": representation_size,
            "registers": registers,
        }
        return _build(
            variant,
            weights,
            classes,
            new_head,
            include_top=include_top,
            input_tensor=input_tensor,
            input_shape=input_shape,
            pooling=pooling,
            classifier_activation=classifier_activation,
            name=name,
            dropout_rate=dropout_rate,
            attention_dropout_rate=attention_dropout_rate,
            stochastic_depth_rate=stochastic_depth_rate,
            gelu=gelu,
            border=border,
            include_preprocessing=include_preprocessing,
            dtype=dtype,
            **{key: value for key, value in of_the_weights.items() if value is not None},
        )

    config = VARIANTS[variant]
    construct.__name__ = construct.__qualname__ = variant
    construct.__doc__ = _DOC.format(
        title=config.title,
        stride=config.stride,
        stem="" if config.stem is None else " (after a ResNet stem)",
        width=config.width,
        depth=config.depth,
        heads=config.num_heads,
        names=", ".join(f'`"{n}"`' for n in released_weights.available(variant)) or "none here",
    )
    return construct


def _build(
    variant: str,
    weights: str | os.PathLike[str] | None,
    classes: int,
    new_head: bool,
    *,
    include_top: bool,
    input_tensor: Any,
    input_shape: Any,
    **options: Any,
) -> keras.Model:
    config = VARIANTS[variant]
    count = int(classes) if isinstance(classes, _DefaultClasses) else classes
    if include_top and options["pooling"] is not None:
        options["pooling"] = None  # as in keras.applications, it only counts without the head
    if input_tensor is None and input_shape is None and not include_top:
        input_shape = image_shape((None, None), 3)
    settings: dict[str, Any] = {
        **options,
        "include_top": include_top,
        "input_tensor": input_tensor,
        "input_shape": input_shape,
    }
    if weights is not None and include_top and not new_head:
        _check_activation(options["classifier_activation"])
    if weights is None or _is_keras_file(weights):
        model = ViT(DEFAULT_IMAGE_SIZE, **config.architecture, **settings, classes=count)
        if weights is not None:
            load_weights(model, weights)
        return model

    path = _resolve(variant, weights, input_tensor, input_shape)
    if isinstance(path, ReleasedFile):
        if include_top and not new_head:
            _check_classes(weights, classes, path.classes)  # before a long download
        path = released_weights.fetch(path)
    with NpzReader(path) as reader:
        info = describe(reader.shapes)
    if info.architecture != config.architecture:
        raise ValueError(
            f"The checkpoint {str(path)!r} is not a {config.title}. Expected: "
            f"{config.architecture}. Received: {info.architecture}{_same_as(info.architecture)}. "
            "`keras_vit.from_checkpoint` builds the model that a file describes."
        )
    if include_top and not new_head:
        _check_classes(weights, classes, info.classes)
    return from_checkpoint(path, classes=count if new_head else None, **settings)


def _resolve(
    variant: str, weights: Any, input_tensor: Any, input_shape: Any
) -> Path | ReleasedFile:
    """What `weights` means: a file that is there, or a released one."""
    if isinstance(weights, os.PathLike) or os.path.isfile(weights):
        path = Path(weights)
        if not path.is_file():
            raise ValueError(f"`weights` is a path without a file. Received: weights={weights!r}")
        return path
    if not isinstance(weights, str):
        raise ValueError(
            "`weights` must be None, a name or a path. Received: "
            f"weights={weights!r}; names: {released_weights.available(variant)}"
        )
    folders = {"", *(os.path.dirname(file.path) for file in RELEASED)}
    if weights.endswith((".h5", ".keras")) or os.path.dirname(weights) not in folders:
        raise ValueError(f"`weights` is a path without a file. Received: weights={weights!r}")
    shape = input_shape
    if input_tensor is not None:
        shape = tuple(input_tensor.shape[1:])
    channels, size = 3, None
    if shape is not None and len(shape) == 3:
        first = keras.config.image_data_format() == "channels_first"
        channels, size = (shape[0], shape[1:]) if first else (shape[2], shape[:2])
    released = released_weights.find(
        variant, weights, None if size is None or None in size else tuple(size)
    )
    if channels != 3:
        raise ValueError(
            f"The input must have 3 channels for weights={weights!r}; use weights=None for "
            f"another number. Received: input_shape={shape}"
        )
    return released


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


def _same_as(architecture: dict[str, Any]) -> str:
    for variant, config in VARIANTS.items():
        if config.architecture == architecture:
            return f", which is keras_vit.{variant}"
    return ""


ViT_Ti16 = _constructor("ViT_Ti16")
ViT_S16 = _constructor("ViT_S16")
ViT_S32 = _constructor("ViT_S32")
ViT_B8 = _constructor("ViT_B8")
ViT_B16 = _constructor("ViT_B16")
ViT_B32 = _constructor("ViT_B32")
ViT_L16 = _constructor("ViT_L16")
ViT_L32 = _constructor("ViT_L32")
ViT_H14 = _constructor("ViT_H14")
R_Ti16 = _constructor("R_Ti16")
R26_ViT_S32 = _constructor("R26_ViT_S32")
R26_ViT_B32 = _constructor("R26_ViT_B32")
R50_ViT_B16 = _constructor("R50_ViT_B16")
R50_ViT_L32 = _constructor("R50_ViT_L32")
