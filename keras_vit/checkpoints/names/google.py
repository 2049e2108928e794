"""Names of the arrays in Google's released files. Tables, no code."""

from __future__ import annotations

from keras_vit.checkpoints.names.keys import Key

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

_BIT_UNIT = "block{b}_unit{u:02}"
_BIT_ARRAYS = "resnet/block{b}/unit{u:02}"

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

_MIXER_BLOCK = "MixerBlock_{i}"

MIXER_KEYS = (
    Key("stem/projection/kernel", "stem/kernel"),
    Key("stem/projection/bias", "stem/bias"),
    *(
        row
        for ours, released in (("token_norm", "LayerNorm_0"), ("channel_norm", "LayerNorm_1"))
        for row in (
            Key(f"mixer_block_{{i}}/{ours}/gamma", f"{_MIXER_BLOCK}/{released}/scale"),
            Key(f"mixer_block_{{i}}/{ours}/beta", f"{_MIXER_BLOCK}/{released}/bias"),
        )
    ),
    *(
        Key(
            f"mixer_block_{{i}}/{mlp}/dense_{n + 1}/{part}",
            f"{_MIXER_BLOCK}/{mlp}/Dense_{n}/{part}",
        )
        for mlp in ("token_mixing", "channel_mixing")
        for n in range(2)
        for part in ("kernel", "bias")
    ),
    Key("norm/gamma", "pre_head_layer_norm/scale"),
    Key("norm/beta", "pre_head_layer_norm/bias"),
    Key("head/kernel", "head/kernel"),
    Key("head/bias", "head/bias"),
)
