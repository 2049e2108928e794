"""What a checkpoint says about a Vision Transformer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from keras_vit.checkpoints.checkpoint import Checkpoint
from keras_vit.checkpoints.files.config_json import SILU
from keras_vit.checkpoints.info.families import (
    Info,
    block_sizes,
    check_ranks,
    classes_of,
    numbers_of,
    square_side,
)
from keras_vit.layers.functional import GELUS
from keras_vit.layers.pixels import normalisation_of
from keras_vit.layers.position_embedding import INTERPOLATIONS
from keras_vit.models import ResNetStem, ViTConfig
from keras_vit.models.variants import DEFAULT_IMAGE_SIZE
from keras_vit.models.vit import CLASSIFIERS

_POSITIONS = "position_embedding/embedding"


@dataclasses.dataclass(frozen=True)
class ViTInfo(Info):
    """What a file says about a Vision Transformer.

    Attributes:
        classifier: `"map"` where the file pools by attention; `"gap"` where it has no class token
            or its last norm is that of a mean; where the head reads twice the width
            `"token+distillation"`, or `"token+avg"` if there is no such token; else `"token"`.
        class_token, distillation_token, position_embedding, key_bias, norm_after_pooling,
            embedding_norm, head_bias, gelu, norm_epsilon, interpolation: As in `ViT`.
        normalisation: As in `ViT`; `None` where the file does not say it.
        has_layer_scale: Whether the blocks have a `LayerScale`.
        registers: Number of register tokens.
        representation_size: Width of `pre_logits`, or `None` where there is none.
        position_layout: Which rows the position embedding has: a layout of `names/layouts.py`, or
            `"rotary"` where there are none.
        num_positions: Rows of the position embedding.
        saved_grid: (rows, columns) in patches, where the file says it.
    """

    config: ViTConfig
    classifier: str
    class_token: bool
    distillation_token: bool
    position_embedding: str
    key_bias: bool
    norm_after_pooling: bool
    embedding_norm: bool
    head_bias: bool
    normalisation: Any
    gelu: str
    norm_epsilon: float
    interpolation: str
    has_layer_scale: bool
    registers: int
    representation_size: int | None
    position_layout: str
    num_positions: int
    saved_grid: tuple[int, int] | None = None

    def image_size(self, wanted: tuple[int, int] | None) -> tuple[int, int]:
        """(rows, columns) in pixels: what is wanted, or what the file was trained at."""
        _, (rows, columns) = self.grid_size(wanted)
        return wanted or (rows * self.config.stride, columns * self.config.stride)

    def settings(self, new_head: bool) -> dict[str, Any]:
        """The other arguments of `ViT`; a new head comes without `pre_logits`."""
        return {
            "classifier": self.classifier,
            "class_token": self.class_token,
            "distillation_token": self.distillation_token,
            "position_embedding": self.position_embedding,
            "key_bias": self.key_bias,
            "norm_after_pooling": self.norm_after_pooling,
            "embedding_norm": self.embedding_norm,
            "head_bias": new_head or self.head_bias,
            "normalisation": self.normalisation or "centred",
            "registers": self.registers,
            "layer_scale": 1e-5 if self.has_layer_scale else None,
            "gelu": self.gelu,
            "norm_epsilon": self.norm_epsilon,
            "interpolation": self.interpolation,
            "representation_size": None if new_head else self.representation_size,
            "name": "vit",
        }

    def without_head(self) -> dict[str, Any]:
        """The arguments of `ViT` for a file without a head: its own pooling, where it has one."""
        return {"pooling": "map"} if self.classifier == "map" else {}

    @property
    def num_class_tokens(self) -> int:
        """Tokens before the patches that may have a position: the class token, DeiT's second."""
        return self.class_token + self.distillation_token

    def grid_size(
        self, image_size: tuple[int, int] | None = None, trained_at: bool = False
    ) -> tuple[int, tuple[int, int]]:
        """How many class tokens have a position in the file, and its (rows, columns).

        The grid is what the file says, or a square, or that of `image_size` if its count fits
        (before the square, where the file was `trained_at` that size); `image_size` decides too
        whether the class token has a position where both are possible.

        Raises:
            ValueError: If the number of positions does not tell, and `image_size` does not fit.
        """
        class_rows = {
            "positions": [self.num_class_tokens],
            "position_rows": [self.num_class_tokens],
            "patch_positions": [0],
            "sincos2d": [0],
            "rotary": [0],
            # timm: DeiT-III and DINOv2 with registers have none, the others have one.
            "any_positions": [self.num_class_tokens, 0] if self.class_token else [0],
        }[self.position_layout]
        wanted = None
        if image_size is not None:
            patch_size = self.config.patch_size
            rows, columns = (-(-n // (self.config.stride // patch_size)) for n in image_size)
            wanted = rows // patch_size, columns // patch_size
        if self.position_layout == "rotary":  # of any grid
            usual = DEFAULT_IMAGE_SIZE // self.config.stride
            return 0, wanted or self.saved_grid or (max(usual, 1), max(usual, 1))
        if self.position_layout == "sincos2d":
            if wanted is None:
                raise ValueError(
                    "The file has no positions: big_vision computes them (posemb='sincos2d'), for "
                    "any image size. Give the image size that it was trained at, "
                    "image_size=224 for example. Received: image_size=None"
                )
            return 0, wanted
        counts = [(has_row, self.num_positions - has_row) for has_row in class_rows]
        for has_row, count in counts:
            if self.saved_grid is not None and math.prod(self.saved_grid) == count:
                return has_row, self.saved_grid
        squares, fits = [], []
        for has_row, count in counts:
            side = math.isqrt(max(count, 0))
            if count == side * side > 0:
                squares.append((has_row, (side, side)))
            if wanted is not None and math.prod(wanted) == count:
                fits.append((has_row, wanted))
        # A square number of positions, one of which may be the class token's, is a square grid
        # without it, or one that is not square with it: (n - 1)(n + 1) + 1 = n * n.
        clear = [s for s in squares if s[0] == counts[0][0] or self.registers]
        if found := [*fits, *clear] if trained_at else [*clear, *fits]:
            return found[0]
        if squares:
            side = squares[0][1][0]
            stride = self.config.stride
            raise ValueError(
                f"The file has {self.num_positions} positions. They fit a grid of {side} x {side} "
                "patches without a class token, and a grid of another form with one, "
                f"{side - 1} x {side + 1} for example. Pass the image size that the file was "
                f"trained at: image_size={(side * stride, side * stride)} or "
                f"image_size={((side - 1) * stride, (side + 1) * stride)} for these two. "
                "`keras_vit.resize_model` changes the size afterwards. Received: "
                f"image_size={image_size}"
            )
        count = counts[0][1]
        raise ValueError(
            f"The file has {count} positions, which form no square grid. Pass the image size that "
            "the file was trained at as `image_size=(rows, columns)`: it has "
            f"{count} patches of {self.config.stride} pixels. Received: image_size={image_size}"
        )


def describe_vit(checkpoint: Checkpoint, num_heads: int | None) -> ViTInfo:
    """Reads the architecture of a Vision Transformer, a hybrid included."""
    patches, hidden = "patch_embed/projection/kernel", "block_0/mlp/dense_1/kernel"
    stem_conv = "stem_root_conv/kernel"
    said = checkpoint.metadata
    positions = checkpoint.array_of(_POSITIONS)
    position_layout = positions[1].layout if positions else "rotary"
    if _POSITIONS not in checkpoint and "rotary_base" in said:
        position_layout = "rotary"
    computed = position_layout in ("sincos2d", "rotary")
    needed = {patches: 4, "block_0/attention/query/kernel": 2, hidden: 2}
    check_ranks(
        checkpoint,
        needed if computed else {**needed, _POSITIONS: 3},
        {
            stem_conv: 4, "class_token/token": 3, "distillation_token/token": 3,
            "registers/token": 3, "pre_logits/bias": 1, "head/kernel": 2,
        },
    )  # fmt: skip
    shapes = checkpoint.shapes
    channels, width = shapes[patches][2:]
    stem = None
    if stem_conv in shapes:
        channels, root_width = shapes[stem_conv][2:]
        units = block_sizes("stem_block{b}_unit{u}_conv1/kernel", checkpoint)
        stem = ResNetStem(units, root_width / 64)
    config = ViTConfig(
        patch_size=square_side(checkpoint, patches),
        width=width,
        depth=len(numbers_of("block_{i}/attention_norm/gamma", shapes)),
        num_heads=checkpoint.num_heads(num_heads),
        mlp_dim=shapes[hidden][1],
        stem=stem,
        swiglu="block_0/mlp/gate/kernel" in shapes,
    )
    _check_activation(checkpoint, config.swiglu)
    if checkpoint.metadata.get("width", width) != width:
        raise ValueError(
            f"The `config.json` beside {str(checkpoint.path)!r} is of another model: its width "
            f"is {checkpoint.metadata['width']}, that of the file is {width}. Put the right one "
            "there, or remove it and pass what it should say as arguments."
        )
    class_token, norm_after_pooling = "class_token/token" in shapes, "pooled_norm/gamma" in shapes
    distillation_token = "distillation_token/token" in shapes
    classifier = "gap" if norm_after_pooling or not class_token else "token"
    if "pooling/probe" in shapes:
        classifier = "map"
    elif class_token and shapes.get("head/kernel", ())[:1] == (2 * width,):
        classifier = "token+distillation" if distillation_token else "token+avg"
    elif class_token and said.get("classifier") in CLASSIFIERS:
        classifier = said["classifier"]
    usual = checkpoint.format
    interpolation, gelu, epsilon = map(said.get, ("interpolation", "gelu", "norm_epsilon"))
    epsilon = epsilon if isinstance(epsilon, float) and 0 < epsilon < 1 else usual.norm_epsilon
    return ViTInfo(
        config,
        classes=classes_of(checkpoint),
        channels=channels,
        classifier=classifier,
        class_token=class_token,
        distillation_token=distillation_token,
        position_embedding="rotary" if position_layout == "rotary" else "learned",
        key_bias=_has_key_bias(checkpoint, position_layout),
        norm_after_pooling=norm_after_pooling,
        embedding_norm="embedding_norm/gamma" in shapes,
        head_bias="head/kernel" not in shapes or checkpoint.has("head/bias"),
        normalisation=_normalisation(checkpoint),
        gelu=gelu if gelu in GELUS else usual.gelu,
        norm_epsilon=epsilon,
        interpolation=interpolation if interpolation in INTERPOLATIONS else usual.interpolation,
        has_layer_scale="block_0/attention_scale/gamma" in shapes,
        registers=shapes["registers/token"][1] if "registers/token" in shapes else 0,
        representation_size=(shapes["pre_logits/bias"][0] if "pre_logits/bias" in shapes else None),
        position_layout=position_layout,
        num_positions=0 if computed else shapes[_POSITIONS][1],
        saved_grid=_saved_grid(said, config.stride),
    )


def _check_activation(checkpoint: Checkpoint, swiglu: bool) -> None:
    """A gate goes with SiLU and all else with a GELU; the arrays do not show which it is."""
    said = checkpoint.metadata.get("activation")
    if said is not None and swiglu != (said == SILU):
        raise ValueError(
            f"The `config.json` beside {str(checkpoint.path)!r} says that the activation is "
            f"{said!r}, and the MLPs in the file have {'a gate' if swiglu else 'no gate'}. "
            "keras_vit has SwiGLUs (a gate with SiLU), and MLPs with a GELU."
        )


def _has_key_bias(checkpoint: Checkpoint, position_layout: str) -> bool:
    """A file without any bias of queries, keys and values stands for zeros, but for DINOv3."""
    key, value = (checkpoint.has(f"block_0/attention/{name}/bias") for name in ("key", "value"))
    return key or not (value or position_layout == "rotary")


def _normalisation(checkpoint: Checkpoint) -> Any:
    """What the file says, or its library; `None` where neither does."""
    said = checkpoint.metadata.get("normalisation")
    return checkpoint.format.normalisation if said is None else normalisation_of(said)


def _saved_grid(said: Mapping[str, Any], stride: int) -> tuple[int, int] | None:
    """(rows, columns) in patches, from what the file says besides its arrays."""
    for name, unit in (("grid_size", 1), ("image_size", stride)):
        size = said.get(name)
        if (
            isinstance(size, list)
            and len(size) == 2
            and all(isinstance(n, int) and n > 0 for n in size)
        ):
            return size[0] // unit, size[1] // unit
    return None
