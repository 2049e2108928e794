"""The named constructors, with the signature and the rules of `keras.applications`.

`_vit`, `_bit` and `_mixer` say what the constructors of a family take. They are never called: an
editor reads their parameters and documentation, and `_constructor` their signature.
"""

from __future__ import annotations

import functools
import inspect
import os
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import keras

from keras_vit.applications.found_weights import FoundWeights
from keras_vit.applications.pretrained import DEFAULT_CLASSES, build
from keras_vit.applications.weights import available
from keras_vit.models import VARIANTS

Family = TypeVar("Family", bound=Callable[..., keras.Model])
OWN_NAME = ""  # stands for the constructor's name in lower case


def _vit(
    include_top: bool = True,
    weights: str | os.PathLike[str] | FoundWeights | None = "imagenet",
    input_tensor: Any = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = DEFAULT_CLASSES,
    classifier_activation: Any = "softmax",
    name: str = OWN_NAME,
    *,
    new_head: bool = False,
    features: Sequence[int] | str | None = None,
    classifier: str | None = None,
    representation_size: int | None = None,
    registers: int | None = None,
    dropout_rate: float = 0.0,
    attention_dropout_rate: float = 0.0,
    stochastic_depth_rate: float = 0.0,
    rematerialise: bool = False,
    gelu: str | None = None,
    patch_size: int | None = None,
    patch_sizes: Sequence[int] | None = None,
    border: str = "drop",
    include_preprocessing: bool = False,
    channel_weights: Any = None,
    dtype: Any = None,
) -> keras.Model:
    """A Vision Transformer.

    Source: "An Image is Worth 16x16 Words" (arXiv 2010.11929), Table 1; sizes Ti and S: "How to
    train your ViT" (arXiv 2106.10270).

    The first eight arguments and their rules are those of `keras.applications`.

    Args:
        include_top: Whether to end with the classification head.
        weights: `None` for random weights; `"imagenet"` or `"imagenet21k+imagenet"` (fine-tuned
            on ImageNet-2012; of several files the one whose image size fits `input_shape`);
            `"imagenet21k"` (21,843 classes); any file name of the AugReg release, or a row of
            `keras_vit.find_weights`;
            the path of a checkpoint, `.npz`, `.safetensors`, `.weights.h5` or `.keras`;
            `"hf://OWNER/NAME"`, a checkpoint of the Hub of Hugging Face; or the name of a released
            file.
        input_tensor: Keras tensor to use as the image.
        input_shape: (rows, columns, channels), any size; rows and columns may be `None`. The
            position embedding is resampled for it. Default: the size of the weights; without
            the head any size, (None, None, 3).
        pooling: Without the head: `None` for a feature map `[B, rows, columns, channels]`,
            `"avg"` or `"max"` over it (the class token left out), `"token"` for the class
            token, or `"token+avg"` for both, one after the other.
        classes: Outputs of the head. Default: what the weights have; 1000 without weights.
        classifier_activation: Activation of the head; `None` gives logits.
        name: Name of the model. Default: that of the constructor in lower case.
        new_head: Load everything but the head, which starts at zero with `classes` outputs, as
            the papers do for fine-tuning.
        features: Blocks whose feature maps are the outputs, a list of `[B, rows, columns,
            channels]` (of one block, the map): indexes such as `[2, 5, 8, 11]`, or `"all"`.
            There is then no head. `keras_vit.feature_model` has more options.
        classifier: `"token"` classifies from the class token, `"gap"` from the mean of the patch
            tokens, `"token+avg"` from both. Default: what the weights have; `"token"` without
            weights.
        representation_size: Width of the `pre_logits` layer before the head. Default: what the
            weights have; no such layer with `new_head`.
        registers: Extra learned tokens without a position. Default: what the weights have.
        dropout_rate: Dropout after the position embedding and inside the blocks, in [0, 1).
        attention_dropout_rate: Dropout of the attention weights, in [0, 1).
        stochastic_depth_rate: Probability of dropping a branch of the last block, in [0, 1). It
            rises linearly from 0 at the first block.
        rematerialise: Whether training saves memory: it keeps only the input of each block, and
            computes the rest again in the backward pass.
        gelu: `"tanh"` or `"exact"`. Default: what the weights were trained with; without weights
            `"tanh"`, as in Google's code.
        patch_size: Side of a patch in pixels. Default: that of the constructor's name. For another,
            the kernel of the weights is resampled. See `keras_vit.from_checkpoint`.
        patch_sizes: Train with one of these patch sizes, drawn for each step, as FlexiViT does. See
            `keras_vit.layers.PatchEmbed`.
        border: What to do with the border of an image that the patches do not cover: `"drop"` it,
            `"pad"` the image with zeros, or raise an `"error"`.
        include_preprocessing: Let the model take pixels in [0, 255] instead of [-1, 1].
        channel_weights: `[C, 3]`, for images of C channels and weights of three: how much of red,
            green and blue each channel is. See `keras_vit.from_checkpoint`, which says the default.
        dtype: Dtype policy, `"mixed_bfloat16"` for example. Default: Keras's.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If an argument is out of its range, contradicts another, or does not fit the
            weights.
    """
    ...


def _bit(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = "imagenet",
    input_tensor: Any = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = DEFAULT_CLASSES,
    classifier_activation: Any = "softmax",
    name: str = OWN_NAME,
    *,
    new_head: bool = False,
    features: Sequence[int] | str | None = None,
    include_preprocessing: bool = False,
    channel_weights: Any = None,
    dtype: Any = None,
) -> keras.Model:
    """A BiT: a ResNet with GroupNorm.

    Source: "Big Transfer (BiT)" (arXiv 1912.11370).

    The first eight arguments and their rules are those of `keras.applications`.

    Args:
        include_top: Whether to end with the classification head.
        weights: `None` for random weights; `"imagenet"` (BiT-S, trained on ImageNet-2012
            alone); `"imagenet21k"` (BiT-M, 21,843 classes); `"imagenet21k+imagenet"` (BiT-M
            fine-tuned on ImageNet-2012, with images of 448 pixels, R152x4 of 480);
            the path of a checkpoint, `.npz`, `.safetensors`, `.weights.h5` or `.keras`;
            `"hf://OWNER/NAME"`, a checkpoint of the Hub of Hugging Face; or the name of a released
            file.
        input_tensor: Keras tensor to use as the image.
        input_shape: (rows, columns, channels), any size; rows and columns may be `None`.
            Default: (224, 224, 3); without the head any size, (None, None, 3).
        pooling: Without the head: `None` for a feature map `[B, rows, columns, channels]`,
            `"avg"` or `"max"` over it.
        classes: Outputs of the head. Default: what the weights have; 1000 without weights.
        classifier_activation: Activation of the head; `None` gives logits.
        name: Name of the model. Default: that of the constructor in lower case.
        new_head: Load everything but the head, which starts at zero with `classes` outputs, as
            the papers do for fine-tuning.
        features: Stages whose feature maps are the outputs, a list of `[B, rows, columns,
            channels]` (of one stage, the map): indexes such as `[0, 1, 2, 3]`, or `"all"`.
            There is then no head. `keras_vit.feature_model` has more options.
        include_preprocessing: Let the model take pixels in [0, 255] instead of [-1, 1].
        channel_weights: `[C, 3]`, for images of C channels and weights of three: how much of red,
            green and blue each channel is. See `keras_vit.from_checkpoint`, which says the default.
        dtype: Dtype policy, `"mixed_bfloat16"` for example. Default: Keras's.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If an argument is out of its range, contradicts another, or does not fit the
            weights.
    """
    ...


def _mixer(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = "imagenet",
    input_tensor: Any = None,
    input_shape: tuple[int, int, int] | None = None,
    pooling: str | None = None,
    classes: int = DEFAULT_CLASSES,
    classifier_activation: Any = "softmax",
    name: str = OWN_NAME,
    *,
    new_head: bool = False,
    features: Sequence[int] | str | None = None,
    stochastic_depth_rate: float = 0.0,
    rematerialise: bool = False,
    gelu: str | None = None,
    border: str = "drop",
    include_preprocessing: bool = False,
    channel_weights: Any = None,
    dtype: Any = None,
) -> keras.Model:
    """An MLP-Mixer.

    Source: "MLP-Mixer: An all-MLP Architecture for Vision" (arXiv 2105.01601), Table 1.

    The first eight arguments and their rules are those of `keras.applications`.

    Args:
        include_top: Whether to end with the classification head.
        weights: `None` for random weights; `"imagenet"` (trained on ImageNet-2012 alone);
            `"imagenet21k"` (21,843 classes), where Google released it;
            the path of a checkpoint, `.npz`, `.safetensors`, `.weights.h5` or `.keras`;
            `"hf://OWNER/NAME"`, a checkpoint of the Hub of Hugging Face; or the name of a released
            file.
        input_tensor: Keras tensor to use as the image.
        input_shape: (rows, columns, channels). Rows and columns must be known, and
            have the number of patches of the weights. Default: (224, 224, 3).
        pooling: Without the head: `None` for a feature map `[B, rows, columns, channels]`,
            `"avg"` or `"max"` over it.
        classes: Outputs of the head. Default: what the weights have; 1000 without weights.
        classifier_activation: Activation of the head; `None` gives logits.
        name: Name of the model. Default: that of the constructor in lower case.
        new_head: Load everything but the head, which starts at zero with `classes` outputs, as
            the papers do for fine-tuning.
        features: Blocks whose feature maps are the outputs, a list of `[B, rows, columns,
            channels]` (of one block, the map): indexes such as `[2, 5, 8, 11]`, or `"all"`.
            There is then no head. `keras_vit.feature_model` has more options.
        stochastic_depth_rate: Probability of dropping a branch of the last block, in [0, 1). It
            rises linearly from 0 at the first block.
        rematerialise: Whether training saves memory: it keeps only the input of each block, and
            computes the rest again in the backward pass.
        gelu: `"tanh"` or `"exact"`. Default: `"tanh"`, as in Google's code.
        border: What to do with the border of an image that the patches do not cover: `"drop"` it,
            `"pad"` the image with zeros, or raise an `"error"`.
        include_preprocessing: Let the model take pixels in [0, 255] instead of [-1, 1].
        channel_weights: `[C, 3]`, for images of C channels and weights of three: how much of red,
            green and blue each channel is. See `keras_vit.from_checkpoint`, which says the default.
        dtype: Dtype policy, `"mixed_bfloat16"` for example. Default: Keras's.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If an argument is out of its range, contradicts another, or does not fit the
            weights.
    """
    ...


def _constructor(variant: str, family: Family) -> Family:
    """The constructor of a row of `VARIANTS`, with the signature of its family.

    Args:
        variant: A key of `VARIANTS`, and the name of the constructor.
        family: Declares the arguments. Pyright takes its type for that of the constructor.
    """
    declared = inspect.signature(family)
    name = declared.parameters["name"].replace(default=variant.lower())
    parameters = {**declared.parameters, "name": name}
    signature = declared.replace(parameters=list(parameters.values()))

    @functools.wraps(family)
    def construct(*positional: Any, **named: Any) -> keras.Model:
        try:
            arguments = signature.bind(*positional, **named)
        except TypeError as error:
            raise TypeError(f"{variant}() {error}. Its arguments: {list(parameters)}") from None
        arguments.apply_defaults()
        return build(variant, **arguments.arguments)

    construct.__name__ = construct.__qualname__ = variant
    construct.__doc__ = _documentation(variant, family)
    vars(construct)["__signature__"] = signature
    return cast(Family, construct)


def _documentation(variant: str, family: Callable[..., keras.Model]) -> str:
    """What sets the variant apart, then what the family has in common."""
    names = ", ".join(f'`"{name}"`' for name in available(variant))
    files = f"Released files: {names}." if names else "No file of it was released."
    files = textwrap.fill(files, 95, break_on_hyphens=False)
    return f"{VARIANTS[variant].summary}\n\n{files}\n\n{inspect.getdoc(family)}\n"


ViT_Ti16 = _constructor("ViT_Ti16", _vit)
ViT_S16 = _constructor("ViT_S16", _vit)
ViT_S32 = _constructor("ViT_S32", _vit)
ViT_B8 = _constructor("ViT_B8", _vit)
ViT_B16 = _constructor("ViT_B16", _vit)
ViT_B32 = _constructor("ViT_B32", _vit)
ViT_L16 = _constructor("ViT_L16", _vit)
ViT_L32 = _constructor("ViT_L32", _vit)
ViT_H14 = _constructor("ViT_H14", _vit)
R_Ti16 = _constructor("R_Ti16", _vit)
R26_ViT_S32 = _constructor("R26_ViT_S32", _vit)
R26_ViT_B32 = _constructor("R26_ViT_B32", _vit)
R50_ViT_B16 = _constructor("R50_ViT_B16", _vit)
R50_ViT_L32 = _constructor("R50_ViT_L32", _vit)
BiT_R50x1 = _constructor("BiT_R50x1", _bit)
BiT_R50x3 = _constructor("BiT_R50x3", _bit)
BiT_R101x1 = _constructor("BiT_R101x1", _bit)
BiT_R101x3 = _constructor("BiT_R101x3", _bit)
BiT_R152x2 = _constructor("BiT_R152x2", _bit)
BiT_R152x4 = _constructor("BiT_R152x4", _bit)
Mixer_B16 = _constructor("Mixer_B16", _mixer)
Mixer_B32 = _constructor("Mixer_B32", _mixer)
Mixer_L16 = _constructor("Mixer_L16", _mixer)
