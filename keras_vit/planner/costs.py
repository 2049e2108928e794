"""The costs of a training before it starts: parameters, multiplications, memory."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np

from keras_vit.layers import (
    AttentionPooling,
    MixerBlock,
    PatchEmbed,
    TransformerBlock,
)
from keras_vit.layers.standardized_conv import StandardizedConv2D
from keras_vit.models.parts import positions_of

# Numbers per parameter that an optimizer keeps.
OPTIMIZERS = {"momentum": 1, "adamw": 2}


def forward_macs(model: keras.Model, trained: bool = False) -> int | None:
    """Multiply-accumulates of a Vision Transformer's matrix products for one image.

    With N patches, T tokens (class token and registers included), width D and MLP width M:

        N * (patch area * 3) * D  +  L * (4 T D^2 + 2 T^2 D + 2 T D M)  +  D * classes

    A SwiGLU has 3 T D M. A head that pools by attention adds 2 N D^2 + 2 N D + 2 D^2 + 2 D M.

    Normalisations, activations and sums are not counted, as in the tables of the papers' code
    (ViT-B/16 at 224 pixels: 17,563,828,224). Each is two floating-point operations.

    Args:
        model: Any built model.
        trained: Whether to leave out the layers of which nothing is trained. A training step makes
            the products of the others twice more, for their gradients.

    Returns:
        The number, or `None` for a model that is not a plain ViT (BiT, Mixer, hybrids). For those
        `keras_vit.planner.forward_macs` counts from their row of the table.
    """
    blocks = [layer for layer in model.layers if isinstance(layer, TransformerBlock)]
    embed = next((layer for layer in model.layers if isinstance(layer, PatchEmbed)), None)
    sizes = vit_sizes(model)
    stem = any(isinstance(layer, StandardizedConv2D) for layer in model.layers)
    if not blocks or embed is None or sizes is None or stem:
        return None
    patches, tokens, width = sizes
    # All kernels of a block belong to dense layers, and every token passes through each.
    macs = {
        embed: patches * _products(embed),
        **{block: tokens * _products(block) + 2 * tokens**2 * width for block in blocks},
        **{x: _products(x) for x in model.layers if x.name in ("head", "pre_logits")},
    }
    for layer in model.layers:
        if isinstance(layer, AttentionPooling):  # keys and values of all patches, and one query
            more = 2 * (patches - 1) * width**2 + 2 * patches * width
            macs[layer] = _products(layer) + more
    return sum(n for layer, n in macs.items() if layer.trainable_variables or not trained)


def vit_sizes(model: keras.Model) -> tuple[int, int, int] | None:
    """(patches, tokens, width) of a Vision Transformer for images of one size, or `None`."""
    position = positions_of(model)
    block = next((x for x in model.layers if isinstance(x, TransformerBlock)), None)
    if position is None or block is None:
        return None
    _, tokens, width = block.output.shape  # pyright: ignore[reportAttributeAccessIssue]
    if tokens is None:
        return None
    rows, columns = position.grid_size
    return rows * columns, int(tokens), int(width)


def _products(layer: Any) -> int:
    """Entries of the kernels of a layer: the multiplications for one token, or one patch."""
    return sum(int(np.prod(v.shape)) for v in layer.weights if v.name == "kernel")


# Numbers that TensorFlow keeps of a block from the forward to the backward pass, without dropout:
# for each token and channel (norms, heads) and each hidden number of an MLP. The backward pass
# computes all others again. They come from the graph of a training step of a ViT: tensors of the
# forward pass that the backward pass takes.
_KEPT = {
    "norms": 2,  # the input of each
    "heads": 4,  # queries, keys, values, output of the heads
    "hidden": 1,  # the input of the GELU
    "gated": 1,  # a SwiGLU has one input more
}

# Bytes for each block on top of all tensors: the graph of the training step, Python's and
# TensorFlow's, and what the allocator does not give back. Measured: of images of 32 pixels 8 MB
# (12 and 24 blocks), of ViT-Ti/16 (batch 16) and ViT-S/16 (batch 8) 16 to 18 MB.
_PROGRAM = 16_000_000
# Bytes more for a rematerialised block, whose forward pass is in the graph twice: 0 to 3 MB.
_PROGRAM_AGAIN = 2_000_000


def transformer_block_memory(
    tokens: int,
    width: int,
    mlp_dim: int,
    compute_dtype: str = "float32",
    model_parallel: int = 1,
    swiglu: bool = False,
) -> int:
    """Bytes that a Transformer block keeps for the backward pass of one image, its input included.

    Args:
        tokens: Class token and registers included.
        width: Channels of a token.
        mlp_dim: Hidden channels of the MLP.
        compute_dtype: Dtype of the activations, or a Keras dtype policy.
        model_parallel: Devices that share the block. They divide the heads and the hidden
            channels. Each device has the norms whole.
        swiglu: Whether the MLP is a SwiGLU. No measurement checks it.
    """
    divided = {
        "heads": tokens * width,
        "hidden": tokens * mlp_dim,
        "gated": tokens * mlp_dim * swiglu,
    }
    shares = {name: -(-size // model_parallel) for name, size in divided.items()}
    return _kept({"norms": tokens * width, **shares}, compute_dtype)


def mixer_block_memory(
    tokens: int,
    width: int,
    tokens_mlp_dim: int,
    channels_mlp_dim: int,
    compute_dtype: str = "float32",
) -> int:
    """The same for an MLP-Mixer block, which has norms and MLPs. No measurement checks it.

    Args:
        tokens: Patches.
        width: Channels of a token.
        tokens_mlp_dim: Hidden channels of the MLP over the tokens.
        channels_mlp_dim: Hidden channels of the MLP over the channels.
        compute_dtype: As for `transformer_block_memory`.
    """
    hidden = width * tokens_mlp_dim + tokens * channels_mlp_dim
    return _kept({"norms": tokens * width, "hidden": hidden}, compute_dtype)


def _kept(sizes: dict[str, int], compute_dtype: str) -> int:
    return bytes_of(compute_dtype) * sum(_KEPT[of] * size for of, size in sizes.items())


def bytes_of(dtype: str) -> int:
    """Bytes of an activation of a dtype, or under a dtype policy."""
    return 2 if dtype.endswith("16") else 4


def bytes_of_weight(dtype: str) -> int:
    """Bytes of a weight, with the copy that mixed precision computes with."""
    return 4 + (2 if bytes_of(dtype) == 2 else 0)


def training_memory(
    model: keras.Model, batch_size: int, optimizer: str = "momentum", ema: bool = False
) -> dict[str, int]:
    """An estimate of the bytes that a training step needs with TensorFlow on a CPU, without XLA.

    For ViT-Ti/16 and ViT-S/16 (both precisions, rematerialised or not) it is 11 % below to 4 %
    above the memory that `benchmarks/size/memory.py` measures. No measurement checks it for
    Mixers. Of BiT, and of the stem of a hybrid, it counts only the outputs of the layers, which is
    too little.

    Args:
        model: Any built model.
        batch_size: Images per batch.
        optimizer: `"momentum"` keeps one number per parameter, `"adamw"` two.
        ema: Whether averages of the weights are kept.

    Returns:
        Bytes by purpose: `weights`, with the copies that mixed precision makes of them;
        `gradients`; `optimizer`; `activations`, those kept by the forward pass plus those that the
        backward pass of one block needs; `program`, the graphs; and `total`, the peak. Activations
        shrink while gradients grow, so `total` counts the larger of the two and the rest (with
        rematerialisation both). TensorFlow itself, some 500 MiB, and waiting data come on top.
    """
    parameters = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    variables = sum(int(np.prod(v.shape)) for v in model.variables)
    # The frozen layers before the first that is trained keep nothing.
    before = itertools.takewhile(lambda x: not x.trainable_variables, model.layers)
    frozen = list(itertools.dropwhile(lambda x: not x.weights, before))
    all_blocks = [layer for layer in model.layers if isinstance(layer, tuple(_BLOCKS))]
    blocks = [layer for layer in all_blocks if layer not in frozen]
    others = [layer for layer in model.layers if layer not in (*blocks, *frozen)]
    dtype = next((x.compute_dtype for x in model.layers if "16" in x.compute_dtype), "float32")
    kept = [_kept_of(block) for block in blocks]
    again = [(block, size) for block, size in zip(blocks, kept, strict=True) if block.rematerialise]
    # Of rematerialised blocks: all inputs, and the inside of the one whose backward pass runs.
    inside = sum(kept) - sum(size for _, size in again) + max((x for _, x in again), default=0)
    inside += sum(_count(block.output.shape) * bytes_of(block.compute_dtype) for block, _ in again)
    outside = [sum(map(_count, _shapes(x))) * bytes_of(x.compute_dtype) for x in others]
    result = {
        "weights": variables * bytes_of_weight(dtype),
        "gradients": 4 * parameters,
        "optimizer": 4 * parameters * (OPTIMIZERS[optimizer] + int(ema)),
        "activations": batch_size * (sum(outside) + inside + max(kept, default=0)),
        "program": _PROGRAM * len(all_blocks) + _PROGRAM_AGAIN * len(again),
    }
    # Activations go while gradients come. With rematerialisation most are one block's, and stay.
    lesser = 0 if again else min(result["gradients"], result["activations"])
    return {**result, "total": sum(result.values()) - lesser}


# For each kind of block its rule, and the attributes of the layer that the rule takes.
_BLOCKS: dict[type, tuple[Any, tuple[str, ...]]] = {
    TransformerBlock: (transformer_block_memory, ("mlp_dim", "swiglu")),
    MixerBlock: (mixer_block_memory, ("tokens_mlp_dim", "channels_mlp_dim")),
}


def _kept_of(block: Any) -> int:
    """Bytes that a block keeps for one image."""
    rule, names = next(row for kind, row in _BLOCKS.items() if isinstance(block, kind))
    _, tokens, width = block.output.shape
    sizes = {name: getattr(block, name) for name in names}
    return rule(tokens, width, compute_dtype=block.compute_dtype, **sizes)


def _shapes(layer: Any) -> list[Any]:
    outputs = layer.output
    return [x.shape for x in (outputs if isinstance(outputs, (list, tuple)) else [outputs])]


def _count(shape: Any) -> int:
    return int(np.prod([size for size in shape[1:] if size is not None], dtype="int64"))
