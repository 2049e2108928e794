"""Folds the weights of a ViT for inference: the same function, from fewer operations.

Each step takes the arrays of a model under the names of `model_variables` and gives arrays of
the same names and shapes that compute the same, in exact arithmetic. All but the last two leave
the arrays of a plain ViT, so that they can be assigned to the model they came from.

| step | why it is exact |
|---|---|
| a layer scale into the layer before it | a product of linear maps |
| a norm's gamma and beta into the layers after it | the same |
| the key bias is dropped | it adds one number to all scores of a query: softmax ignores it [1] |
| the value bias into the output bias | the attention weights of a query sum to 1 |
| what is written to the residual stream is centred | only layer norms read it, and they centre |
| 1/sqrt(d) into the query | a product of linear maps |
| the scaling of the pixels into the patch projection | the same |

[1] Not where positions are rotary: there it is turned by the position of the key.

Where the stream is centred, a layer norm is a division by the root of the mean square.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np

from keras_vit.models.input_range import CENTRED, InputRange

Arrays = dict[str, np.ndarray]


def blocks_of(arrays: Iterable[str]) -> list[str]:
    """`["block_0", "block_1", ...]`, in order."""
    found = {int(m[1]) for name in arrays if (m := re.match(r"block_(\d+)/", name))}
    return [f"block_{i}" for i in sorted(found)]


def fold_layer_scales(arrays: Arrays) -> Arrays:
    """Multiplies the output channels of `out` and `dense_2` by the scale after them."""
    folded = dict(arrays)
    for block in blocks_of(arrays):
        for scale, layer in (("attention_scale", "attention/out"), ("mlp_scale", "mlp/dense_2")):
            gamma = f"{block}/{scale}/gamma"
            if gamma in arrays:
                for part in ("kernel", "bias"):
                    folded[f"{block}/{layer}/{part}"] = (
                        arrays[f"{block}/{layer}/{part}"] * arrays[gamma]
                    )
                folded[gamma] = np.ones_like(arrays[gamma])
    return folded


def fold_norms(arrays: Arrays) -> Arrays:
    """Moves gamma and beta of every layer norm into the dense layers that read it.

    The last norm keeps them in a model without a head.
    """
    folded = dict(arrays)
    for block in blocks_of(arrays):
        readers = [f"{block}/attention/{name}" for name in ("query", "key", "value")]
        _fold_norm(folded, f"{block}/attention_norm", readers)
        hidden = [f"{block}/mlp/{name}" for name in ("dense_1", "gate")]
        readers = [name for name in hidden if f"{name}/kernel" in arrays]
        _fold_norm(folded, f"{block}/mlp_norm", readers)
    last = "pooled_norm" if "pooled_norm/gamma" in arrays else "encoder_norm"
    reader = "pre_logits" if "pre_logits/kernel" in arrays else "head"
    if f"{reader}/kernel" in arrays:
        # A mean over tokens may stand between: gamma and beta are the same for all of them.
        _fold_norm(folded, last, [reader])
    return folded


def _fold_norm(folded: Arrays, norm: str, readers: list[str]) -> None:
    gamma, beta = folded[f"{norm}/gamma"], folded[f"{norm}/beta"]  # [D]
    for reader in readers:
        kernel = folded[f"{reader}/kernel"]  # [D, out]; a head may read two tokens, [2 D, out]
        times = len(kernel) // len(gamma)
        folded[f"{reader}/bias"] = folded.get(f"{reader}/bias", 0) + np.tile(beta, times) @ kernel
        folded[f"{reader}/kernel"] = np.tile(gamma, times)[:, None] * kernel
    folded[f"{norm}/gamma"] = np.ones_like(gamma)
    folded[f"{norm}/beta"] = np.zeros_like(beta)


def fold_attention_biases(arrays: Arrays, rotary: bool = False) -> Arrays:
    """Drops the key bias, if it may, and moves the value bias through the output projection."""
    folded = dict(arrays)
    for block in blocks_of(arrays):
        attention = f"{block}/attention"
        value = arrays[f"{attention}/value/bias"]
        folded[f"{attention}/out/bias"] = (
            arrays[f"{attention}/out/bias"] + value @ arrays[f"{attention}/out/kernel"]
        )
        for name in ("value",) if rotary else ("key", "value"):
            folded[f"{attention}/{name}/bias"] = np.zeros_like(value)
    return folded


def centre_residual_writes(arrays: Arrays) -> Arrays:
    """Takes the mean over the channels from all that is added to the residual stream.

    After `fold_layer_scales`: a scale behind the layer would undo it.
    """
    writers = [
        "patch_embed/projection/kernel",
        "patch_embed/projection/bias",
        "class_token/token",
        "distillation_token/token",
        "registers/token",
        "position_embedding/embedding",
    ]
    for block in blocks_of(arrays):
        for layer in ("attention/out", "mlp/dense_2"):
            writers += [f"{block}/{layer}/kernel", f"{block}/{layer}/bias"]
    folded = dict(arrays)
    for name in writers:
        if name in arrays:  # the last axis is the channels, whatever the array
            folded[name] = arrays[name] - arrays[name].mean(axis=-1, keepdims=True)
    return folded


def scale_queries(arrays: Arrays, num_heads: int) -> Arrays:
    """Multiplies the query projection by 1/sqrt(d): for code that does not scale by itself."""
    folded = dict(arrays)
    for block in blocks_of(arrays):
        for part in ("kernel", "bias"):
            name = f"{block}/attention/query/{part}"
            head_dim = arrays[name].shape[-1] // num_heads
            folded[name] = arrays[name] / math.sqrt(head_dim)
    return folded


def fold_scaling(arrays: Arrays, taken: InputRange) -> Arrays:
    """Lets the patch projection take images of another range than [-1, 1]."""
    kernel = arrays["patch_embed/projection/kernel"]  # [P, P, C, D]
    zero = taken.centred(0.0)
    bias = arrays["patch_embed/projection/bias"] + zero * kernel.sum(axis=(0, 1, 2))
    return {
        **arrays,
        "patch_embed/projection/kernel": kernel * (taken.centred(1.0) - zero),
        "patch_embed/projection/bias": bias,
    }


def fold(
    arrays: Arrays, num_heads: int, taken: InputRange = CENTRED, rotary: bool = False
) -> Arrays:
    """All steps, in float64, so that what is rounded is rounded once.

    Args:
        arrays: Of a ViT, by the names of `keras_vit.checkpoints.model_variables.model_variables`.
        num_heads: Of its attention.
        taken: What the images are to be in.
        rotary: Whether positions are rotary.

    Returns:
        float32 arrays of the same names. Left out, as they are the identity or zero now: the
        norms (but the last of a model without a head), the layer scales, and the biases of value
        and, unless positions are rotary, key.
    """
    folded = {name: array.astype("float64") for name, array in arrays.items()}
    folded = fold_layer_scales(folded)
    folded = fold_norms(folded)
    folded = fold_attention_biases(folded, rotary)
    folded = centre_residual_writes(folded)
    folded = scale_queries(folded, num_heads)
    folded = fold_scaling(folded, taken)
    biases = "value" if rotary else "(key|value)"
    gone = re.compile(rf"block_\d+/(.*_norm/.*|.*_scale/gamma|attention/{biases}/bias)$")
    with_head = "head/kernel" in folded
    return {
        name: array.astype("float32")
        for name, array in folded.items()
        if not (gone.match(name) or (with_head and re.match(r"(encoder|pooled)_norm/", name)))
    }


def merge_tokens(arrays: Arrays) -> Arrays:
    """Adds up all that is constant before the first block.

    Returns:
        The arrays with `"patches"` `[1, N, D]` (the positions and the bias of the projection; with
        rotary positions the bias alone, `[1, 1, D]`) and, where there are prefix tokens, `"prefix"`
        `[1, P, D]`, in place of what they are made of.
        The kernel of the patch projection is `[p * p * C, D]`, as a dense layer has it.
    """
    merged = dict(arrays)
    names = ("class_token/token", "distillation_token/token", "registers/token")
    prefix = [merged.pop(name) for name in names if name in merged]
    merged["patches"] = merged.pop("patch_embed/projection/bias")[None, None]
    if "position_embedding/embedding" in merged:
        positions = merged.pop("position_embedding/embedding")  # [1, (1 or 2 +) N, D]
        num_class_tokens = sum(name in arrays for name in names[:2])
        for i in range(num_class_tokens):
            prefix[i] = prefix[i] + positions[:, i : i + 1]
        merged["patches"] = positions[:, num_class_tokens:] + merged["patches"]
    kernel = merged["patch_embed/projection/kernel"]  # [p, p, C, D]
    merged["patch_embed/projection/kernel"] = kernel.reshape(-1, kernel.shape[-1])
    if prefix:
        merged["prefix"] = np.concatenate(prefix, axis=1)
    return merged


def rotate(arrays: Arrays, seed: int = 0) -> Arrays:
    """Turns the residual stream by a random rotation: the same function, without outliers.

    A pretrained ViT has a few channels that are far larger than the others, and a number of 8 or
    4 bits for all channels then has no steps left for the rest. After a rotation every channel
    has a share of them. Exact, as a rotation changes no norm: what writes to the stream is turned,
    what reads it turns back (QuaRot, arXiv:2404.00456, section 4, its first rotation).

    Args:
        arrays: From `merge_tokens(fold(...))`, of a model with a head.
        seed: Of the rotation.
    """
    width = arrays["patches"].shape[-1]
    normal = np.random.default_rng(seed).normal(size=(width, width))
    q, r = np.linalg.qr(normal)
    rotation = q * np.sign(np.diag(r))  # uniformly distributed
    writers = r"(patches|prefix|patch_embed/projection/kernel|.*/(out|dense_2)/(kernel|bias))$"
    reader = "pre_logits" if "pre_logits/kernel" in arrays else "head"
    readers = rf"(.*/(query|key|value|dense_1|gate)|{reader})/kernel$"
    rotated = dict(arrays)
    for name, array in arrays.items():
        if re.match(writers, name):
            rotated[name] = (array @ rotation).astype("float32")
        elif re.match(readers, name):
            tokens = array.reshape(-1, width, array.shape[-1])  # two where the head reads both
            rotated[name] = (rotation.T @ tokens).reshape(array.shape).astype("float32")
    return rotated
