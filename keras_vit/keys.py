"""Names: which array of a checkpoint is which variable of a model. Tables, no code per layer.

Google's released files number the unnamed parts of a block with one counter
(`LayerNorm_0, MultiHeadDotProductAttention_1, LayerNorm_2, MlpBlock_3`); newer code numbers each
kind by itself. Both are read; the released names are the ones written here.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class Key:
    """One kind of variable.

    Attributes:
        variable: Our name of it; `{i}` and its like stand for a number.
        array: The released name of it.
        layout: How the array's shape differs from the variable's, a key of `LAYOUTS`.
    """

    variable: str
    array: str
    layout: str = "same"


_BLOCK = "Transformer/encoderblock_{i}"
_ATTENTION = f"{_BLOCK}/MultiHeadDotProductAttention_1"
_UNIT = "stem_block{b}_unit{u}"

VIT_KEYS = (
    Key("patch_embed/projection/kernel", "embedding/kernel"),
    Key("patch_embed/projection/bias", "embedding/bias"),
    Key("class_token/token", "cls"),
    Key("registers/token", "registers"),
    Key("position_embedding/embedding", "Transformer/posembed_input/pos_embedding", "positions"),
    Key("block_{i}/attention_norm/gamma", f"{_BLOCK}/LayerNorm_0/scale"),
    Key("block_{i}/attention_norm/beta", f"{_BLOCK}/LayerNorm_0/bias"),
    Key("block_{i}/attention/query/kernel", f"{_ATTENTION}/query/kernel", "to_heads"),
    Key("block_{i}/attention/query/bias", f"{_ATTENTION}/query/bias", "heads"),
    Key("block_{i}/attention/key/kernel", f"{_ATTENTION}/key/kernel", "to_heads"),
    Key("block_{i}/attention/key/bias", f"{_ATTENTION}/key/bias", "heads"),
    Key("block_{i}/attention/value/kernel", f"{_ATTENTION}/value/kernel", "to_heads"),
    Key("block_{i}/attention/value/bias", f"{_ATTENTION}/value/bias", "heads"),
    Key("block_{i}/attention/out/kernel", f"{_ATTENTION}/out/kernel", "from_heads"),
    Key("block_{i}/attention/out/bias", f"{_ATTENTION}/out/bias"),
    Key("block_{i}/mlp_norm/gamma", f"{_BLOCK}/LayerNorm_2/scale"),
    Key("block_{i}/mlp_norm/beta", f"{_BLOCK}/LayerNorm_2/bias"),
    Key("block_{i}/mlp/dense_1/kernel", f"{_BLOCK}/MlpBlock_3/Dense_0/kernel"),
    Key("block_{i}/mlp/dense_1/bias", f"{_BLOCK}/MlpBlock_3/Dense_0/bias"),
    Key("block_{i}/mlp/dense_2/kernel", f"{_BLOCK}/MlpBlock_3/Dense_1/kernel"),
    Key("block_{i}/mlp/dense_2/bias", f"{_BLOCK}/MlpBlock_3/Dense_1/bias"),
    Key("encoder_norm/gamma", "Transformer/encoder_norm/scale"),
    Key("encoder_norm/beta", "Transformer/encoder_norm/bias"),
    Key("pre_logits/kernel", "pre_logits/kernel"),
    Key("pre_logits/bias", "pre_logits/bias"),
    Key("head/kernel", "head/kernel"),
    Key("head/bias", "head/bias"),
    # The stem of the hybrids.
    Key("stem_root_conv/kernel", "conv_root/kernel"),
    Key("stem_root_norm/gamma", "gn_root/scale", "group_norm"),
    Key("stem_root_norm/beta", "gn_root/bias", "group_norm"),
    Key(f"{_UNIT}_conv{{c}}/kernel", "block{b}/unit{u}/conv{c}/kernel"),
    Key(f"{_UNIT}_norm{{c}}/gamma", "block{b}/unit{u}/gn{c}/scale", "group_norm"),
    Key(f"{_UNIT}_norm{{c}}/beta", "block{b}/unit{u}/gn{c}/bias", "group_norm"),
    Key(f"{_UNIT}_conv_proj/kernel", "block{b}/unit{u}/conv_proj/kernel"),
    Key(f"{_UNIT}_norm_proj/gamma", "block{b}/unit{u}/gn_proj/scale", "group_norm"),
    Key(f"{_UNIT}_norm_proj/beta", "block{b}/unit{u}/gn_proj/bias", "group_norm"),
)

_BIT_UNIT = "block{b}_unit{u}"
_BIT_ARRAYS = "resnet/block{b}/unit{u}"

BIT_KEYS = (
    Key("root_conv/kernel", "resnet/root_block/standardized_conv2d/kernel"),
    *(
        row
        for part in "abc"
        for row in (
            Key(
                f"{_BIT_UNIT}_{part}_conv/kernel",
                f"{_BIT_ARRAYS}/{part}/standardized_conv2d/kernel",
            ),
            Key(f"{_BIT_UNIT}_{part}_norm/gamma", f"{_BIT_ARRAYS}/{part}/group_norm/gamma", "norm"),
            Key(f"{_BIT_UNIT}_{part}_norm/beta", f"{_BIT_ARRAYS}/{part}/group_norm/beta", "norm"),
        )
    ),
    Key(f"{_BIT_UNIT}_a_proj/kernel", f"{_BIT_ARRAYS}/a/proj/standardized_conv2d/kernel"),
    Key("norm/gamma", "resnet/group_norm/gamma", "norm"),
    Key("norm/beta", "resnet/group_norm/beta", "norm"),
    Key("head/kernel", "resnet/head/conv2d/kernel", "one_by_one"),
    Key("head/bias", "resnet/head/conv2d/bias"),
)


@dataclasses.dataclass(frozen=True)
class Family:
    """A kind of model, and how to tell it.

    Attributes:
        name: For people.
        layer: Name of a layer that every model of the family has.
        array: Released name of an array that every file of the family has.
        keys: All its variables.
        head: What the released names of the arrays of its head begin with.
    """

    name: str
    layer: str
    array: str
    keys: tuple[Key, ...]
    head: str


VIT = Family("Vision Transformer", "patch_embed", "embedding/kernel", VIT_KEYS, "head/")
BIT = Family(
    "BiT ResNet",
    "root_conv",
    "resnet/root_block/standardized_conv2d/kernel",
    BIT_KEYS,
    "resnet/head/",
)
FAMILIES = (VIT, BIT)

# Layout -> the array's shape for a variable's shape and a number of heads.
LAYOUTS = {
    "same": lambda shape, heads: shape,
    "positions": lambda shape, heads: shape,  # and resampled where the grid differs
    "to_heads": lambda shape, heads: (shape[0], heads, shape[1] // heads),
    "heads": lambda shape, heads: (heads, shape[0] // heads),
    "from_heads": lambda shape, heads: (heads, shape[0] // heads, shape[1]),
    "group_norm": lambda shape, heads: (1, 1, 1, *shape),
    "norm": lambda shape, heads: shape,
    "one_by_one": lambda shape, heads: (1, 1, *shape),  # a dense layer as a convolution
}

# What stands before the names in some files: the parameters of a saved training state.
PREFIXES = ("opt/target/params/", "opt/target/", "params/")
# The rest of such a state, which is no part of the model.
TRAINING_STATE = ("opt/state/", "opt/step", "step", "opt_state/")
# Some files of BiT number their convolutions.
_NUMBERED_CONV = re.compile(r"/standardized_conv2d_\d+/")
# New numbering of a block's parts -> the released one.
LINEN_NAMES = (
    ("/MultiHeadDotProductAttention_0/", "/MultiHeadDotProductAttention_1/"),
    ("/LayerNorm_1/", "/LayerNorm_2/"),
    ("/MlpBlock_0/", "/MlpBlock_3/"),
)


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w)\\}", r"(?P<\1>\\d+)", re.escape(template)))


@functools.cache
def array_name(variable: str, family: Family = VIT) -> tuple[str, Key] | None:
    """`"block_3/mlp_norm/beta"` -> its released name and its row, or `None`."""
    for key in family.keys:
        if match := _pattern(key.variable).fullmatch(variable):
            return key.array.format(**match.groupdict()), key
    return None


def released_names(names: Iterable[str]) -> dict[str, str]:
    """Maps the released name of every array to the name that the file has for it.

    Args:
        names: All names of a file: released or modern Linen naming, with or without a prefix.

    Returns:
        Released name -> name in the file. Names of no known array stay as they are; the
        optimizer's state beside a prefixed set of parameters is left out.

    Raises:
        ValueError: If two names are the same parameter.
    """
    names = list(names)
    prefix = next((p for p in PREFIXES if any(n.startswith(p) for n in names)), "")
    linen = any("/MlpBlock_0/" in name for name in names)
    found = {}
    for name in names:
        if prefix and not name.startswith(prefix) and name.startswith(TRAINING_STATE):
            continue
        released = _NUMBERED_CONV.sub("/standardized_conv2d/", name.removeprefix(prefix))
        if linen:
            for new, old in LINEN_NAMES:
                released = released.replace(new, old)
        if released in found:
            raise ValueError(
                f"Two arrays of the file are the same parameter: {found[released]!r} and {name!r}."
            )
        found[released] = name
    return found
