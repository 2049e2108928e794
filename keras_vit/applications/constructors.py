"""The named constructors, with the signature and the rules of `keras.applications`."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from typing import Any

import keras

from keras_vit.applications.pretrained import DEFAULT_CLASSES, build
from keras_vit.applications.weights import available
from keras_vit.models import VARIANTS, BiTConfig, MixerConfig
from keras_vit.models.variants import Config

_DOC = """{summary}

Source: {source}.

The first eight arguments and their rules are those of `keras.applications`.

Args:
    include_top: Whether to end with the classification head.
    weights: `None` for random weights; {weights};
        the path of a checkpoint, `.npz`, `.safetensors`, `.weights.h5` or `.keras`;
        {names}.
    input_tensor: Keras tensor to use as the image.
    input_shape: (rows, columns, channels){input_shape}
    pooling: Without the head: `None` for a feature map `[B, rows, columns, {width}]`, `"avg"` or
        `"max"` over it{pooling}.
    classes: Outputs of the head. Default: what the weights have; 1000 without weights.
    classifier_activation: Activation of the head; `None` gives logits.
    name: Name of the model.
    new_head: Load everything but the head, which starts at zero with `classes` outputs, as the
        papers do for fine-tuning.
{own}    include_preprocessing: Let the model take pixels in [0, 255] in place of [-1, 1].
    dtype: Dtype policy, `"mixed_bfloat16"` for example. Default: Keras's.

Returns:
    A functional `keras.Model`.

Raises:
    ValueError: If an argument is out of its range, contradicts another, or does not fit the
        weights.
"""

_VIT_WORDS = {
    "summary": "{title}: patches of {stride} pixels{stem}, width {width}, {depth} blocks, "
    "{num_heads} heads.",
    "source": '"An Image is Worth 16x16 Words" (arXiv 2010.11929), Table 1; sizes Ti and S: '
    '"How to\ntrain your ViT" (arXiv 2106.10270)',
    "weights": """`"imagenet"` or `"imagenet21k+imagenet"` (fine-tuned on
        ImageNet-2012, the file whose size fits `input_shape`); `"imagenet21k"` (21,843 classes);
        any file name of the AugReg release""",
    "input_shape": """, any size; rows and columns may be `None`. The
        position embedding is resampled for it. Default: the size of the weights; without the
        head any size, (None, None, 3).""",
    "pooling": ' (the class token left out), or `"token"` for the class token',
    "own": """\
    classifier: `"token"` or `"gap"`. Default: what the weights have; `"token"` without.
    representation_size: Width of `pre_logits`, or `None`: what the weights have, and with
        `new_head` none.
    registers: Extra learned tokens without a position. Default: what the weights have.
    dropout_rate: In [0, 1).
    attention_dropout_rate: In [0, 1).
    stochastic_depth_rate: In [0, 1), of the last block; rises linearly from 0.
    rematerialise: Whether training computes the inside of blocks again and does not keep it.
    gelu: `"tanh"` or `"exact"`. Default: what the weights were trained with; `"tanh"`, as
        Google's, without.
    border: Of an image that the patches do not cover: `"drop"`, `"pad"` or `"error"`.
""",
}

_BIT_WORDS = {
    "summary": "{title}: a ResNet with GroupNorm, units per block {block_sizes}, width x "
    "{width_factor}.",
    "source": '"Big Transfer (BiT)" (arXiv 1912.11370)',
    "weights": """`"imagenet"` (BiT-S, trained on ImageNet-2012 alone);
        `"imagenet21k"` (BiT-M, 21,843 classes); `"imagenet21k+imagenet"` (BiT-M fine-tuned on
        ImageNet-2012, with images of 448 pixels, R152x4 of 480)""",
    "input_shape": """, any size; rows and columns may be `None`.
        Default: (224, 224, 3); without the head any size, (None, None, 3).""",
    "pooling": "",
    "own": "",
}

_MIXER_WORDS = {
    "summary": "{title}: patches of {stride} pixels, width {width}, {depth} blocks of two MLPs.",
    "source": '"MLP-Mixer: An all-MLP Architecture for Vision" (arXiv 2105.01601), Table 1',
    "weights": """`"imagenet"` (trained on ImageNet-2012 alone);
        `"imagenet21k"` (21,843 classes), where Google released it""",
    "input_shape": """. Rows and columns must be known, and
        have the number of patches of the weights. Default: (224, 224, 3).""",
    "pooling": "",
    "own": """\
    stochastic_depth_rate: In [0, 1), of the last block; rises linearly from 0.
    rematerialise: Whether training computes the inside of blocks again and does not keep it.
    gelu: `"tanh"` or `"exact"`. Default: `"tanh"`, as Google's.
    border: Of an image that the patches do not cover: `"drop"`, `"pad"` or `"error"`.
""",
}


def _named(variant: str, construct: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
    """`construct` with the name and the documentation of a row of `VARIANTS`."""
    config = VARIANTS[variant]
    words = _words(config)
    facts = {
        **config.architecture,
        "title": config.title,
        "stride": config.stride,
        "stem": " (after a ResNet stem)" if getattr(config, "stem", None) else "",
        "width": config.width,
    }
    construct.__name__ = construct.__qualname__ = variant
    construct.__doc__ = _DOC.format(
        **{**words, "summary": words["summary"].format(**facts)},
        width=config.width,
        names=_names(variant),
    )
    return construct


def _names(variant: str) -> str:
    names = ", ".join(f'`"{name}"`' for name in available(variant))
    text = f"or the name of a file: {names}" if names else "no file of it was released"
    return "\n        ".join(textwrap.wrap(text, 91, break_on_hyphens=False))


def _words(config: Config) -> dict[str, str]:
    if isinstance(config, BiTConfig):
        return _BIT_WORDS
    return _MIXER_WORDS if isinstance(config, MixerConfig) else _VIT_WORDS


def _vit(variant: str) -> Callable[..., keras.Model]:
    """The constructor of a Vision Transformer."""

    def construct(
        include_top: bool = True,
        weights: str | os.PathLike[str] | None = "imagenet",
        input_tensor: Any = None,
        input_shape: tuple[int | None, int | None, int] | None = None,
        pooling: str | None = None,
        classes: int = DEFAULT_CLASSES,
        classifier_activation: Any = "softmax",
        name: str = variant.lower(),
        *,
        new_head: bool = False,
        classifier: str | None = None,
        representation_size: int | None = None,
        registers: int | None = None,
        dropout_rate: float = 0.0,
        attention_dropout_rate: float = 0.0,
        stochastic_depth_rate: float = 0.0,
        rematerialise: bool = False,
        gelu: str | None = None,
        border: str = "drop",
        include_preprocessing: bool = False,
        dtype: Any = None,
    ) -> keras.Model:
        return build(
            variant,
            weights,
            classes,
            new_head,
            include_top=include_top,
            input_tensor=input_tensor,
            input_shape=input_shape,
            of_the_weights={
                "classifier": classifier,
                "representation_size": representation_size,
                "registers": registers,
                "gelu": gelu,
            },
            pooling=pooling,
            classifier_activation=classifier_activation,
            name=name,
            dropout_rate=dropout_rate,
            attention_dropout_rate=attention_dropout_rate,
            stochastic_depth_rate=stochastic_depth_rate,
            rematerialise=rematerialise,
            border=border,
            include_preprocessing=include_preprocessing,
            dtype=dtype,
        )

    return _named(variant, construct)


def _bit(variant: str) -> Callable[..., keras.Model]:
    """The constructor of a BiT ResNet."""

    def construct(
        include_top: bool = True,
        weights: str | os.PathLike[str] | None = "imagenet",
        input_tensor: Any = None,
        input_shape: tuple[int | None, int | None, int] | None = None,
        pooling: str | None = None,
        classes: int = DEFAULT_CLASSES,
        classifier_activation: Any = "softmax",
        name: str = variant.lower(),
        *,
        new_head: bool = False,
        include_preprocessing: bool = False,
        dtype: Any = None,
    ) -> keras.Model:
        return build(
            variant,
            weights,
            classes,
            new_head,
            include_top=include_top,
            input_tensor=input_tensor,
            input_shape=input_shape,
            of_the_weights={},
            pooling=pooling,
            classifier_activation=classifier_activation,
            name=name,
            include_preprocessing=include_preprocessing,
            dtype=dtype,
        )

    return _named(variant, construct)


def _mixer(variant: str) -> Callable[..., keras.Model]:
    """The constructor of an MLP-Mixer."""

    def construct(
        include_top: bool = True,
        weights: str | os.PathLike[str] | None = "imagenet",
        input_tensor: Any = None,
        input_shape: tuple[int, int, int] | None = None,
        pooling: str | None = None,
        classes: int = DEFAULT_CLASSES,
        classifier_activation: Any = "softmax",
        name: str = variant.lower(),
        *,
        new_head: bool = False,
        stochastic_depth_rate: float = 0.0,
        rematerialise: bool = False,
        gelu: str | None = None,
        border: str = "drop",
        include_preprocessing: bool = False,
        dtype: Any = None,
    ) -> keras.Model:
        return build(
            variant,
            weights,
            classes,
            new_head,
            include_top=include_top,
            input_tensor=input_tensor,
            input_shape=input_shape,
            of_the_weights={"gelu": gelu},
            pooling=pooling,
            classifier_activation=classifier_activation,
            name=name,
            stochastic_depth_rate=stochastic_depth_rate,
            rematerialise=rematerialise,
            border=border,
            include_preprocessing=include_preprocessing,
            dtype=dtype,
        )

    return _named(variant, construct)


ViT_Ti16 = _vit("ViT_Ti16")
ViT_S16 = _vit("ViT_S16")
ViT_S32 = _vit("ViT_S32")
ViT_B8 = _vit("ViT_B8")
ViT_B16 = _vit("ViT_B16")
ViT_B32 = _vit("ViT_B32")
ViT_L16 = _vit("ViT_L16")
ViT_L32 = _vit("ViT_L32")
ViT_H14 = _vit("ViT_H14")
R_Ti16 = _vit("R_Ti16")
R26_ViT_S32 = _vit("R26_ViT_S32")
R26_ViT_B32 = _vit("R26_ViT_B32")
R50_ViT_B16 = _vit("R50_ViT_B16")
R50_ViT_L32 = _vit("R50_ViT_L32")
BiT_R50x1 = _bit("BiT_R50x1")
BiT_R50x3 = _bit("BiT_R50x3")
BiT_R101x1 = _bit("BiT_R101x1")
BiT_R101x3 = _bit("BiT_R101x3")
BiT_R152x2 = _bit("BiT_R152x2")
BiT_R152x4 = _bit("BiT_R152x4")
Mixer_B16 = _mixer("Mixer_B16")
Mixer_B32 = _mixer("Mixer_B32")
Mixer_L16 = _mixer("Mixer_L16")
