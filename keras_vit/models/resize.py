"""Changes the image size (paper, section 3.2) and the patch size of a built model."""

from __future__ import annotations

import copy
from typing import Any

import keras

from keras_vit.layers import PatchEmbed, PositionEmbedding
from keras_vit.layers.patch_embed import patches_along
from keras_vit.layers.patch_resampling import resample_patch_kernel
from keras_vit.layers.position_embedding import resample_position_embedding
from keras_vit.models.lora import merged
from keras_vit.models.parts import positions_of
from keras_vit.utils.backend import ops
from keras_vit.utils.checks import as_pair, check_counts


def resize_model(
    model: keras.Model, image_size: int | tuple[int, int], patch_size: int | None = None
) -> keras.Model:
    """Rebuilds a model for another image size, with its weights.

    Learned positions are resampled as for a checkpoint; rotary ones are computed. All other
    weights are copied, also those of your own layers after the Vision Transformer. Frozen layers
    stay frozen, and updates of LoRA are added to their kernels. The result is not compiled. A
    model without positions that takes images of any size gets one size.

    Args:
        model: A functional model with one image input whose layers include `PatchEmbed`, and
            `PositionEmbedding` or `RotaryEmbedding`; or of an input of any size, `(None, None,
            3)`. Trained or not.
        image_size: Pixels, one number or (rows, columns).
        patch_size: Side of a patch in pixels. Default: the model's. For another, the kernel is
            resampled as by FlexiViT (arXiv 2212.08013), by the `interpolation` of the positions.

    Returns:
        A new model; `model` is left as it is.

    Raises:
        ValueError: If `model` is no such model, or a size is out of range.
    """
    size = as_pair(image_size, "image_size")
    if patch_size is not None:
        check_counts(1, patch_size=patch_size)
    kinds = {type(layer) for layer in getattr(model, "layers", [])}
    has_grid = PatchEmbed in kinds and positions_of(model) is not None
    inputs = getattr(model, "inputs", None) or []  # a Sequential that is not built has none
    of_any_size = patch_size is None and len(inputs) == 1 and None in inputs[0].shape[1:]
    if len(inputs) != 1 or not (has_grid or of_any_size):
        raise ValueError(
            "`model` must be a functional model with one input whose own layers include "
            "PatchEmbed, and PositionEmbedding or RotaryEmbedding. Without `patch_size` it may "
            "also be one that takes images of any size. Resize a Vision Transformer before you "
            f"wrap it into another model. Received: model={model!r}, patch_size={patch_size!r}"
        )
    if any(layer.quantization_mode == "float8" for layer in model._flatten_layers()):
        raise ValueError(
            "Keras makes the variables of float8 layers in another order when it rebuilds them. "
            "Resize the model first and call `quantize` on the result. Received: "
            f"model={model.name!r} with float8 layers"
        )
    model = merged(model)
    # First with the old grid, to ask its `PatchEmbed` how many patches the new size has.
    resized = _rebuild(model, size, None, patch_size)
    if has_grid:
        patch_embed: Any = next(layer for layer in resized.layers if isinstance(layer, PatchEmbed))
        rows, columns = (
            patches_along(side, patch_embed.patch_size, patch_embed.border)
            for side in patch_embed.input.shape[1:3]
        )
        resized = _rebuild(model, size, (rows, columns), patch_size)
    for old, new in zip(model.layers, resized.layers, strict=True):
        if isinstance(old, PositionEmbedding):
            embedding = resample_position_embedding(
                ops.convert_to_numpy(old.embedding.value),
                old.grid_size,
                new.grid_size,
                old.num_prefix_tokens,
                old.interpolation,
            )
            new.embedding.assign(embedding)
        elif isinstance(old, PatchEmbed) and old.patch_size != new.patch_size:
            kernel = ops.convert_to_numpy(ops.cast(old.projection.kernel, "float32"))
            kernel = resample_patch_kernel(kernel, new.patch_size, old.interpolation)
            for target, value in zip(new.weights, [kernel, *old.weights[1:]], strict=True):
                target.assign(value)
        else:
            for source, target in zip(old.weights, new.weights, strict=True):
                target.assign(source)
    resized.dtype_policy = model.dtype_policy
    return resized


def _rebuild(
    model: Any,
    image_size: tuple[int, int],
    grid_size: tuple[int, int] | None,
    patch_size: int | None,
) -> keras.Model:
    """The same layers for another input, with new weights."""
    config = copy.deepcopy(model.get_config())  # `from_config` takes it apart
    # What the model was built with, whatever Keras's setting is now.
    channels_first = any(layer.name == "channels_last" for layer in model.layers)
    for layer in config["layers"]:
        if layer["class_name"] == "InputLayer":
            batch, *rest = layer["config"]["batch_shape"]
            shape = (rest[0], *image_size) if channels_first else (*image_size, rest[2])
            layer["config"]["batch_shape"] = (batch, *shape)
        elif layer["class_name"] == "PositionEmbedding" and grid_size is not None:
            layer["config"]["grid_size"] = grid_size
        elif layer["class_name"] == "PatchEmbed" and patch_size is not None:
            layer["config"]["patch_size"] = patch_size
    return type(model).from_config(config)
