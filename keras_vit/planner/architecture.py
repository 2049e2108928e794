"""The parts of a model and what each costs, from the model's row in the table alone.

No model is built: every number is a formula of the sizes. The layers are those of `models/vit.py`,
`models/bit.py` and `models/mixer.py`, in their order; the tests compare with built models and with
the original code.

Shape letters: N patches, T tokens (the class token included), D width, M hidden channels of the
MLP, H heads, L blocks.
"""

from __future__ import annotations

import functools
from typing import Any

from keras_vit.models import BiTConfig, MixerConfig, ViTConfig
from keras_vit.models.variants import Config
from keras_vit.planner.convolutions import bit_parts, stem_parts
from keras_vit.planner.costs import mixer_block_memory, transformer_block_memory
from keras_vit.planner.part import Grid, Part, dense
from keras_vit.utils.checks import as_pair, check_counts


def parts(
    config: Config,
    image_size: int | tuple[int, int] = 224,
    classes: int | None = 1000,
    *,
    representation_size: int | None = None,
    class_token: bool = True,
    channels: int = 3,
) -> list[Part]:
    """The parts of a model, from the image to the logits.

    Args:
        config: A row of `keras_vit.VARIANTS`, or one of your own.
        image_size: Pixels, one number or (rows, columns). A border that the patches do not cover
            is dropped.
        classes: Outputs of the head; `None` for no head.
        representation_size: Width of the `pre_logits` layer of a ViT; `None` for no such layer.
        class_token: Whether a ViT has a class token (`classifier="token"`) or pools the patches.
        channels: Of the image.

    Raises:
        ValueError: If the image is smaller than a patch, or a count is not positive.
        TypeError: If `config` is not a configuration.
    """
    kind = next((kind for kind in _PARTS if isinstance(config, kind)), None)
    if kind is None:
        raise TypeError(
            "`config` must be a ViTConfig, BiTConfig or MixerConfig, for example "
            f"`keras_vit.VARIANTS['ViT_B16']`. Received: config={config!r}"
        )
    if classes is not None:
        check_counts(1, classes=classes)
    if representation_size is not None:
        check_counts(1, representation_size=representation_size)
    size = as_pair(image_size, "image_size")
    check_counts(1, channels=channels)
    image = Grid(*size, channels)
    found, width = _PARTS[kind](config, image, representation_size, class_token)
    head = [] if classes is None else [dense("head", width, classes)]
    return [Part("image", outputs=image.size), *found, *head]


def _patches(config: Any, image: Grid) -> tuple[Part, int]:
    """The part `PatchEmbed`, whose output is the tokens and their grid; and N."""
    patch, width = config.patch_size, config.width
    rows, columns = image.rows // patch, image.columns // patch
    if rows * columns == 0:
        raise ValueError(
            f"The image must be at least one patch ({config.stride} pixels) on each side. "
            f"Received: feature map of {image.rows}x{image.columns}, patch_size={patch}"
        )
    area = patch**2 * image.channels
    number = rows * columns
    part = Part(
        "patch_embed",
        parameters=(area + 1) * width,
        macs=number * area * width,
        outputs=2 * number * width,
    )
    return part, number


def _vit(
    config: ViTConfig, image: Grid, representation_size: int | None, class_token: bool
) -> tuple[list[Part], int]:
    stem, image = stem_parts(config.stem, image) if config.stem is not None else ([], image)
    embed, number = _patches(config, image)
    width, tokens = config.width, number + class_token
    result = [*stem, embed]
    if class_token:
        result.append(Part("class_token", parameters=width, outputs=tokens * width))
    position = Part("position_embedding", parameters=tokens * width, outputs=tokens * width)
    result += [position, Part("embedding_dropout", outputs=tokens * width)]
    result.append(_transformer_block(config, tokens))
    result.append(Part("encoder_norm", parameters=2 * width, outputs=tokens * width))
    result.append(Part("pooling", outputs=width))
    if representation_size is None:
        return result, width
    return [*result, dense("pre_logits", width, representation_size)], representation_size


def _transformer_block(config: ViTConfig, tokens: int) -> Part:
    """Two norms, four projections of D x D, D x M (a SwiGLU has two) and M x D, and two products
    of T x T x D.
    """
    width, hidden = config.width, config.mlp_dim
    norms, projections = 4 * width, 4 * (width + 1) * width
    into = 1 + config.swiglu
    mlp = into * (width + 1) * hidden + (hidden + 1) * width
    return Part(
        "block",
        parameters=norms + projections + mlp,
        macs=tokens * (4 * width**2 + (into + 1) * width * hidden) + 2 * tokens**2 * width,
        outputs=tokens * width,
        kept=functools.partial(
            transformer_block_memory, tokens, width, hidden, swiglu=config.swiglu
        ),
        gradients=True,
        # `LAYOUT` of jax_sharding: all kernels, and biases of queries, keys, values and hidden
        # channels.
        divided_parameters=4 * width**2 + 3 * width + (into * (width + 1) + width) * hidden,
        summed=2 * tokens * width,  # after the attention and after the MLP
        count=config.depth,
    )


def _mixer(config: MixerConfig, image: Grid, *_: Any) -> tuple[list[Part], int]:
    embed, number = _patches(config, image)
    width = config.width
    hidden = config.tokens_mlp_dim, config.channels_mlp_dim
    mlps = tuple(zip((number, width), hidden, strict=True))
    block = Part(
        "mixer_block",
        parameters=4 * width + sum((a + 1) * b + (b + 1) * a for a, b in mlps),
        macs=2 * number * width * sum(hidden),
        outputs=number * width,
        kept=lambda precision, _: mixer_block_memory(number, width, *hidden, precision),
        gradients=True,
        count=config.depth,
    )
    norm = Part("norm", parameters=2 * width, outputs=number * width)
    return [embed, block, norm, Part("pooling", outputs=width)], width


def _bit(config: BiTConfig, image: Grid, *_: Any) -> tuple[list[Part], int]:
    return bit_parts(config, image)


_PARTS: dict[type, Any] = {ViTConfig: _vit, BiTConfig: _bit, MixerConfig: _mixer}
