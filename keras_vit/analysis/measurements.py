"""The paper's measurements of a trained model (section 4.5, appendix D): arrays in, arrays out.

Arrays go in from NumPy or from the backend, variables included, and come out as NumPy. Only
`attention_maps` runs a model. Shape letters: B images, N tokens, P prefix tokens (the class token
and the registers), D width; rows and columns count patches.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from PIL import Image

from keras_vit.layers.functional import record_attention
from keras_vit.utils.backend import ops
from keras_vit.utils.checks import as_pair, check_counts


def attention_maps(model: keras.Model, images: Any, batch_size: int = 32) -> np.ndarray:
    """The attention weights of every block and head.

    The model runs eagerly on these images to collect them. It is no slower at other times.

    Args:
        model: A model with `MultiHeadSelfAttention` or `TransformerBlock` layers at any depth:
            built, reloaded, or wrapped into a larger one.
        images: `[B, H, W, C]`, scaled as the model expects.
        batch_size: Images per step. One step of B images holds B * depth * heads * N * N
            float32 numbers.

    Returns:
        `[B, depth, heads, N, N]` float32; the weights over the last axis sum to 1. Rows are
        the tokens that look, columns those looked at; the class token is the first.

    Raises:
        ValueError: If the model has no attention, or there are no images.
    """
    if len(images) == 0:
        raise ValueError("`images` must hold at least one image. Received: images of length 0")
    batches = []
    for start in range(0, len(images), batch_size):
        with record_attention() as recording:
            model(ops.convert_to_tensor(images[start : start + batch_size]), training=False)
        if not recording:
            raise ValueError(
                "`model` has no attention to show: none of its layers is a "
                "keras_vit.layers.MultiHeadSelfAttention or TransformerBlock. "
                f"Received: model={model.name!r}"
            )
        blocks = [ops.convert_to_numpy(weights) for weights in recording]
        batches.append(np.stack(blocks, axis=1))
    return np.concatenate(batches)


def rgb_filters(kernel: Any, count: int = 28) -> np.ndarray:
    """The principal components of the patch embedding (paper, Figure 7 left).

    A column of the kernel is what one channel of a token reads from a patch. The components are
    the directions in which the D columns vary most about their mean. Patterns that many channels
    share come first, and the order of the channels does not matter.

    Args:
        kernel: Kernel of `PatchEmbed`, `[rows, columns, 3, D]`; rows and columns in pixels.
        count: How many components; the paper shows 28.

    Returns:
        `[count, rows, columns, 3]` float32 in [0, 1], the component of most variance first; at
        most `min(rows * columns * 3, D - 1)` components. The sign and the scale of a component
        mean nothing: it is scaled so that its largest entry is 1, and a weight of zero is
        mid-grey, .5.

    Raises:
        ValueError: If `kernel` does not read RGB pixels, for example that of a hybrid, or `count`
            is below 1.
    """
    kernel = _as_numpy(kernel)
    if kernel.ndim != 4 or kernel.shape[2] != 3 or kernel.shape[3] < 2:
        raise ValueError(
            "`kernel` must be the kernel of a PatchEmbed that reads RGB pixels, of shape [rows, "
            "columns, 3, D] with D of at least 2. (The PatchEmbed of a hybrid reads the features "
            f"of its stem.) Received: shape={kernel.shape}"
        )
    check_counts(1, count=count)
    columns = kernel.reshape(-1, kernel.shape[-1])
    centred = columns - columns.mean(axis=1, keepdims=True)
    components = np.linalg.svd(centred, full_matrices=False)[0].T
    components = components[: min(count, len(columns), kernel.shape[-1] - 1)]
    largest = np.abs(components).argmax(axis=1)
    components = components / components[np.arange(len(components)), largest, None]
    return (0.5 + 0.5 * components).reshape(-1, *kernel.shape[:3]).astype("float32")


def position_similarity(
    embedding: Any, grid_size: int | tuple[int, int], num_prefix_tokens: int = 1
) -> np.ndarray:
    """How alike the embeddings of any two positions are (paper, Figure 7 centre and Figure 10).

    Args:
        embedding: Weights of `PositionEmbedding`, `[1, P + rows * columns, D]`.
        grid_size: (rows, columns) in patches.
        num_prefix_tokens: Leading positions that are not those of patches. They are dropped.

    Returns:
        `[rows, columns, rows, columns]` float32, cosines in [-1, 1]: `[i, j]` is the map of the
        patch in row i and column j. The cosines of an embedding of zeros are 0, with itself too.

    Raises:
        ValueError: If `embedding` does not have the positions of `grid_size`.
    """
    rows, columns = as_pair(grid_size, "grid_size")
    embedding = _as_numpy(embedding)
    if embedding.ndim != 3 or embedding.shape[:2] != (1, num_prefix_tokens + rows * columns):
        raise ValueError(
            f"Expected a position embedding of shape [1, {num_prefix_tokens} + {rows} * {columns}, "
            f"D] for grid_size={(rows, columns)}. Received: shape={embedding.shape}"
        )
    patches = embedding[0, num_prefix_tokens:]  # [rows * columns, D]
    lengths = np.linalg.norm(patches, axis=-1, keepdims=True)
    patches = patches / np.where(lengths > 0, lengths, 1)
    cosines = np.clip(patches @ patches.T, -1, 1)
    return cosines.reshape(rows, columns, rows, columns).astype("float32")


def mean_attention_distance(
    maps: Any,
    grid_size: int | tuple[int, int],
    patch_size: int | tuple[int, int],
    num_prefix_tokens: int = 1,
) -> np.ndarray:
    """How far the heads look (paper, Figure 7 right and Figure 11), like receptive fields in a CNN.

    The distance between the centres of two patches, weighted by the attention and averaged over
    the patches that look. The class token and the registers have no place in the image, so their
    rows and columns are dropped. The rest of a row is not normalised again, because the definition
    weights by the attention itself. So attention to the class token counts as distance 0, and
    uniform attention over all N tokens gives `(N - P) / N` of the mean distance between patches.

    Args:
        maps: `[B, depth, heads, N, N]`, from `attention_maps`. The paper takes 128 images.
        grid_size: (rows, columns) in patches.
        patch_size: Size of a patch in pixels of the image, one number or (rows, columns).
        num_prefix_tokens: Leading tokens that are not patches.

    Returns:
        `[depth, heads]` float64, the mean over the images, in pixels.

    Raises:
        ValueError: If `maps` are not those of `grid_size`.
    """
    maps = _checked_maps(maps, grid_size, num_prefix_tokens)
    centres = _patch_centres(grid_size, patch_size)  # [N - P, 2]
    distances = np.linalg.norm(centres[:, None] - centres[None, :], axis=-1)
    among_patches = maps[..., num_prefix_tokens:, num_prefix_tokens:]
    looked = np.einsum("bdhij,ij->bdhi", among_patches, distances, optimize=True)
    return looked.mean(axis=(0, 3), dtype="float64")


def attention_rollout(maps: Any) -> np.ndarray:
    """How much each token flows into every other token, through all blocks.

    The mean over the heads, plus the identity for the residual connection, rows normalised to
    sum to 1, multiplied from the first block to the last (Abnar & Zuidema, 2020; paper,
    appendix D.8, whose code adds the identity although the text does not say so).

    Args:
        maps: `[B, depth, heads, N, N]`, from `attention_maps`.

    Returns:
        `[B, N, N]` float64; rows sum to 1.

    Raises:
        ValueError: If `maps` have another shape.
    """
    maps = _checked_maps(maps)
    mixed = maps.mean(axis=2, dtype="float64")  # [B, depth, N, N]
    mixed = mixed + np.eye(mixed.shape[-1])
    mixed /= mixed.sum(axis=-1, keepdims=True)
    rollout = mixed[:, 0]
    for block in range(1, mixed.shape[1]):
        rollout = mixed[:, block] @ rollout
    return rollout


def rollout_grids(
    maps: Any, grid_size: int | tuple[int, int], num_prefix_tokens: int = 1
) -> np.ndarray:
    """What the class token saw of each patch: its row of `attention_rollout`, as a grid.

    Args:
        maps: `[B, depth, heads, N, N]`, from `attention_maps`.
        grid_size: (rows, columns) in patches.
        num_prefix_tokens: Leading tokens that are not patches. With 0, the mean over the patch
            tokens replaces the class token.

    Returns:
        `[B, rows, columns]` float32 in [0, 1], divided by the maximum of each image.

    Raises:
        ValueError: If `maps` are not those of `grid_size`.
    """
    rollout = attention_rollout(_checked_maps(maps, grid_size, num_prefix_tokens))
    seen = rollout[:, 0] if num_prefix_tokens else rollout.mean(axis=1)
    grids = seen[:, num_prefix_tokens:].reshape(-1, *as_pair(grid_size, "grid_size"))
    return (grids / grids.max(axis=(1, 2), keepdims=True)).astype("float32")


def attention_masks(
    maps: Any,
    grid_size: int | tuple[int, int],
    image_size: int | tuple[int, int],
    num_prefix_tokens: int = 1,
) -> np.ndarray:
    """`rollout_grids` resized to the images, bilinearly (paper, Figures 6 and 14).

    Args:
        maps: `[B, depth, heads, N, N]`, from `attention_maps`.
        grid_size: (rows, columns) in patches.
        image_size: (rows, columns) of the masks in pixels.
        num_prefix_tokens: As in `rollout_grids`.

    Returns:
        `[B, rows, columns]` float32 in [0, 1]; the largest of each image is about 1.

    Raises:
        ValueError: If `maps` are not those of `grid_size`.
    """
    rows, columns = as_pair(image_size, "image_size")
    return np.stack(
        [
            np.asarray(Image.fromarray(grid).resize((columns, rows), Image.Resampling.BILINEAR))
            for grid in rollout_grids(maps, grid_size, num_prefix_tokens)
        ]
    )


def _as_numpy(array: Any) -> np.ndarray:
    """A NumPy array in float32 or float64, because NumPy cannot compute in bfloat16."""
    array = ops.convert_to_numpy(array)
    return array if array.dtype in ("float32", "float64") else array.astype("float32")


def _checked_maps(maps: Any, grid_size: Any = None, num_prefix_tokens: int = 0) -> np.ndarray:
    """`[B, depth, heads, N, N]`, with the tokens of the grid where one is given."""
    maps = _as_numpy(maps)
    if maps.ndim != 5 or maps.shape[-1] != maps.shape[-2] or 0 in maps.shape:
        raise ValueError(
            "`maps` must be of shape [B, depth, heads, N, N], as keras_vit.attention_maps gives "
            f"them. Received: shape={maps.shape}"
        )
    if grid_size is not None:
        rows, columns = as_pair(grid_size, "grid_size")
        if maps.shape[-1] != num_prefix_tokens + rows * columns:
            raise ValueError(
                f"Expected {num_prefix_tokens} + {rows} * {columns} tokens for "
                f"grid_size={(rows, columns)} and num_prefix_tokens={num_prefix_tokens}. "
                f"Received: maps of {maps.shape[-1]} tokens"
            )
    return maps


def _patch_centres(grid_size: Any, patch_size: Any) -> np.ndarray:
    """`[rows * columns, 2]` in pixels, in the order of the tokens; only differences matter."""
    rows, columns = as_pair(grid_size, "grid_size")
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1)
    return grid.reshape(-1, 2) * np.array(as_pair(patch_size, "patch_size"), "float64")
