"""What a training will cost, told before it starts: parameters, multiplications, memory."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_vit.tokens import PatchEmbed, PositionEmbedding
from keras_vit.transformer import TransformerBlock

# What a Transformer block keeps for the backward pass beside what it gives: numbers per token and
# channel, per token and hidden channel, and per entry of the attention maps.
PER_CHANNEL, PER_HIDDEN, PER_MAP_ENTRY = 16, 2, 2
# Numbers per parameter that an optimizer keeps.
OPTIMIZERS = {"momentum": 1, "adamw": 2}


def forward_macs(model: keras.Model) -> int | None:
    """Multiply-accumulates of a Vision Transformer's matrix products for one image.

    With N patches, T tokens (class token and registers included), width D and MLP width M:

        N * (patch area * 3) * D  +  L * (4 T D^2 + 2 T^2 D + 2 T D M)  +  D * classes

    Normalisations, activations and sums are not counted, as in the tables of the papers' code
    (ViT-B/16 at 224 pixels: 17,563,828,224). Twice as many are floating-point operations.

    Returns:
        The number, or `None` for a model that is not a plain ViT (BiT, Mixer, hybrids).
    """
    blocks = [layer for layer in model.layers if isinstance(layer, TransformerBlock)]
    embed = next((layer for layer in model.layers if isinstance(layer, PatchEmbed)), None)
    sizes = vit_sizes(model)
    if not blocks or embed is None or sizes is None:
        return None
    patches, tokens, width = sizes
    total = patches * _products(embed)
    for block in blocks:
        # All kernels of a block stand in a dense layer, which every token passes.
        total += tokens * _products(block) + 2 * tokens**2 * width
    rest = ("head", "pre_logits")
    return total + sum(_products(layer) for layer in model.layers if layer.name in rest)


def vit_sizes(model: keras.Model) -> tuple[int, int, int] | None:
    """(patches, tokens, width) of a Vision Transformer for images of one size, or `None`."""
    position = next((x for x in model.layers if isinstance(x, PositionEmbedding)), None)
    block = next((x for x in model.layers if isinstance(x, TransformerBlock)), None)
    if position is None or block is None:
        return None
    _, tokens, width = block.output.shape  # pyright: ignore[reportAttributeAccessIssue]
    rows, columns = position.grid_size
    if tokens is None:
        return None
    return rows * columns, int(tokens), int(width)


def _products(layer: Any) -> int:
    """Entries of the kernels of a layer: the products that one token, or patch, takes."""
    return sum(int(np.prod(v.shape)) for v in layer.trainable_variables if v.name == "kernel")


# What TensorFlow keeps of a Transformer block from the forward to the backward pass, without
# dropout: numbers per token, as multiples of the width, the hidden width, and the entries of a
# row of the attention maps (heads * tokens). Read off the graph of a training step: the tensors
# that do not depend on the gradient and that what depends on it takes.
_KEPT = (
    # width, hidden, entries, dtype
    (6, 0, 0, "float32"),  # of each norm: its input, that less the mean, gamma / deviation
    (2, 0, 0, "compute"),  # what each norm gives
    (4, 0, 0, "compute"),  # queries, keys, values, what the heads give
    (0, 0, 1, "float32"),  # attention
    (0, 0, 1, "cast"),  # the same in the dtype of the values, where that is another
    (0, 5, 0, "compute"),  # GELU: x / 2, tanh, 1 + tanh, its derivative's x^2, what it gives
)
# Beside all tensors, for each block: the graphs of the training step, Python's and TensorFlow's.
# Measured on images of 32 pixels: 270 MB with 12 blocks, 501 MB with 24.
_PROGRAM = 22_000_000


def training_memory(
    model: keras.Model, batch_size: int, optimizer: str = "momentum", ema: bool = False
) -> dict[str, int]:
    """An estimate of the bytes that a training step needs with TensorFlow on a CPU, without XLA.

    For ViT-Ti/16 (batches of 16 and 32, both precisions) it is within 3 % of what was measured, for
    ViT-S/16 (batch of 8, float32) 8 % below; `benchmarks/memory.py` measures. Of models that are no
    Vision Transformers, and of the stem of a hybrid, only the outputs of the layers are counted,
    which is too little.

    Args:
        model: Any.
        batch_size: Images per batch.
        optimizer: `"momentum"` keeps one number per parameter, `"adamw"` two.
        ema: Whether averages of the weights are kept.

    Returns:
        Bytes by what they are for: `weights`, with the copies that mixed precision makes of them;
        `gradients`; `optimizer`; `activations`, what the forward pass keeps for the backward pass
        and what this needs for one block; `program`, the graphs; and `total`, the peak: that of
        `gradients` and `activations` which is more, as one grows when the other shrinks, and the
        rest. TensorFlow itself, some 500 MiB, and data that wait come on top.
    """
    parameters = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    variables = sum(int(np.prod(v.shape)) for v in model.variables)
    blocks = [layer for layer in model.layers if isinstance(layer, TransformerBlock)]
    others = [layer for layer in model.layers if layer not in blocks]
    half = any("16" in layer.compute_dtype for layer in model.layers)
    kept = [_kept_of(block) for block in blocks]
    kept += [sum(map(_count, _shapes(layer))) * _bytes(layer.compute_dtype) for layer in others]
    result = {
        "weights": variables * (4 + 2 * half),
        "gradients": 4 * parameters,
        "optimizer": 4 * parameters * (OPTIMIZERS[optimizer] + int(ema)),
        "activations": batch_size * (sum(kept) + max(kept)),
        "program": _PROGRAM * len(blocks),
    }
    lesser = min(result["gradients"], result["activations"])
    return {**result, "total": sum(result.values()) - lesser}


def _kept_of(block: Any) -> int:
    """Bytes for an image."""
    _, tokens, width = block.output.shape
    compute = _bytes(block.compute_dtype)
    bytes_of = {"float32": 4, "compute": compute, "cast": compute % 4}
    return sum(
        tokens * (a * width + b * block.mlp_dim + c * block.num_heads * tokens) * bytes_of[dtype]
        for a, b, c, dtype in _KEPT
    )


def _shapes(layer: Any) -> list[Any]:
    outputs = layer.output
    return [x.shape for x in (outputs if isinstance(outputs, (list, tuple)) else [outputs])]


def _bytes(dtype: str) -> int:
    return 2 if "16" in dtype else 4


def _count(shape: Any) -> int:
    return int(np.prod([size for size in shape[1:] if size is not None], dtype="int64"))
