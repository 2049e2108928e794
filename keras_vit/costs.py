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


def training_memory(
    model: keras.Model, batch_size: int, optimizer: str = "momentum", ema: bool = False
) -> dict[str, int]:
    """An estimate of the bytes that a training step needs.

    Args:
        model: Any.
        batch_size: Images per batch.
        optimizer: `"momentum"` keeps one number per parameter, `"adamw"` two.
        ema: Whether averages of the weights are kept.

    Returns:
        Bytes by what they are for: `weights`, `gradients`, `optimizer`, `activations` (kept from
        the forward for the backward pass: the outputs of all layers and, in a Transformer block,
        16 numbers per token and channel, 2 per token and hidden channel and 2 per entry of the
        attention maps), and `total`. What a library needs for itself comes on top; with XLA,
        activations are fewer.
    """
    parameters = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    weights = sum(int(np.prod(v.shape)) * 4 for v in model.variables)
    half = "16" in str(model.dtype_policy.compute_dtype)
    numbers = 0
    for layer in model.layers:
        outputs: Any = layer.output
        shapes = [x.shape for x in (outputs if isinstance(outputs, (list, tuple)) else [outputs])]
        numbers += sum(_count(shape) for shape in shapes)
        if isinstance(layer, TransformerBlock):
            _, tokens, width = shapes[0]
            numbers += tokens * (PER_CHANNEL * width + PER_HIDDEN * layer.mlp_dim)
            numbers += PER_MAP_ENTRY * layer.num_heads * tokens**2
    result = {
        "weights": weights,
        "gradients": 4 * parameters,
        "optimizer": 4 * parameters * (OPTIMIZERS[optimizer] + int(ema)),
        "activations": batch_size * numbers * (2 if half else 4),
    }
    return {**result, "total": sum(result.values())}


def _count(shape: Any) -> int:
    return int(np.prod([size for size in shape[1:] if size is not None], dtype="int64"))
