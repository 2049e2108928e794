"""What an exported file computes: a function of a batch of images, and its variables.

A ViT is folded, also behind the stem of a hybrid and before layers of the user's own; all else
(BiT, Mixer, blocks that were changed) is the Keras model itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vit.checkpoints.model_variables import layers_of, model_variables
from keras_vit.data.preprocessing import preprocess_input
from keras_vit.exports.classifier import PixelClassifier
from keras_vit.exports.tflite.fold import Arrays, fold, merge_tokens
from keras_vit.exports.tflite.folded_vit import ACTIVATIONS, FoldedConfig, FoldedViT
from keras_vit.layers import TokenPooling, TransformerBlock
from keras_vit.utils.backend import ops

# The layers that `ViT` builds, in order; the optional ones in brackets. What is before them is a
# stem, what is after them a tail.
_LAYERS = (
    "patch_embed", "[class_token]", "position_embedding", "[registers]", "embedding_dropout",
    "blocks", "[encoder_norm]", "pooling", "[pooled_norm]",
)  # fmt: skip

# What may come before all; none of it is part of a folded model.
_INPUT_LAYERS = ("channels_last", "preprocessing")


@dataclasses.dataclass(frozen=True)
class Network:
    """A model, ready for a converter.

    Attributes:
        module: Holds the variables; what is saved. TensorFlow's own ones and not the Keras
            model: behind that the converter finds variables that are not there, and its file
            gives NaN without an error.
        call: float32 `[B, rows, columns, C]`, B known, to `[B, classes]`.
        arrays: Of the folded ViT; empty where there is none.
        config: Likewise, or `None`.
    """

    module: tf.Module
    call: Callable[[Any], Any]
    arrays: Arrays
    config: FoldedConfig | None


def network(
    classifier: PixelClassifier,
    pixels: bool,
    change: Callable[[Arrays, FoldedConfig], Arrays] | None = None,
) -> Network:
    """Folds a model, or wraps it.

    Args:
        classifier: The model.
        pixels: Whether the images are to be in [0, 255] in place of [-1, 1]; they are where the
            model has its own preprocessing.
        change: What else to do to the arrays of a folded ViT.
    """
    model = classifier.model
    module: Any = tf.Module()
    config = folded_config(model)
    arrays: Arrays = {}
    if config is None:
        run: Any = model
        module.v = [variable.value for variable in model.variables]
        scale = pixels and not classifier.takes_pixels
    else:
        arrays = {
            name: np.asarray(ops.convert_to_numpy(variable), "float32")
            for name, variable in model_variables(model).items()
        }
        # The zeros that pad an image are of the scaled one, and a stem is not linear.
        scale = pixels and (config.stem is not None or config.padding == "SAME")
        arrays = merge_tokens(fold(arrays, config.num_heads, pixels and not scale))
        if change is not None:
            arrays = change(arrays, config)
        run = FoldedViT(arrays, config)
        ends = [part for part in (config.stem, config.tail) if part is not None]
        module.folded = run
        module.v = [variable.value for part in ends for variable in part.variables]

    def call(images: Any) -> Any:
        if scale:
            images = preprocess_input(images)
        if config is not None:
            return run(images)
        if classifier.channels_first:
            images = tf.transpose(images, (0, 3, 1, 2))
        return run(images, training=False)

    return Network(module, call, arrays, config)


def folded_config(model: Any) -> FoldedConfig | None:
    """What the arrays of a ViT do not say; `None` for a model that cannot be folded."""
    layers = {
        layer.name: layer
        for layer in model.layers
        if not isinstance(layer, keras.layers.InputLayer)
    }
    parts = _parts(list(layers), [block.name for block in layers_of(model, TransformerBlock)])
    if parts is None:
        return None
    before, after = parts
    norms = [name for name in ("encoder_norm", "pooled_norm") if name in layers]
    cut, pooling = layers["patch_embed"], layers["pooling"]
    if not isinstance(pooling, TokenPooling) or pooling.pooling == "max" or len(norms) != 1:
        return None
    blocks = layers_of(model, TransformerBlock)
    epsilons = {layers[norms[0]].epsilon, *(block.epsilon for block in blocks)}
    gelus = {block.gelu for block in blocks} or {"tanh"}
    if len(epsilons) != 1 or len(gelus) != 1:
        return None
    stem = tail = None
    first = [name for name in _INPUT_LAYERS if name in layers]
    if before[: len(first)] != first:
        return None
    if before != first:
        stem = keras.Model(layers[first[-1]].output if first else model.input, cut.input)
    activation = getattr(getattr(layers[after[-1]], "activation", None), "__name__", "")
    if after not in (["head"], ["pre_logits", "head"]) or activation not in ACTIVATIONS:
        last = pooling if norms[0] == "encoder_norm" else layers["pooled_norm"]
        tail = keras.Model(last.output, model.output)
    return FoldedConfig(
        patch_size=cut.projection.kernel_size[0],
        num_heads=blocks[0].num_heads if blocks else 1,
        gelu=gelus.pop(),
        epsilon=epsilons.pop(),
        pooling=pooling.pooling,
        norm_after_pooling=norms[0] == "pooled_norm",
        padding="SAME" if cut.projection.padding == "same" else "VALID",
        activation=activation,
        stem=stem,
        tail=tail,
    )


def _parts(names: list[str], blocks: list[str]) -> tuple[list[str], list[str]] | None:
    """The layers before and after those of `ViT`; `None` if others are between."""
    if "patch_embed" not in names or blocks != [f"block_{i}" for i in range(len(blocks))]:
        return None
    start = names.index("patch_embed")
    rest = names[start:]
    for expected in _LAYERS:
        if expected == "blocks":
            if rest[: len(blocks)] != blocks:
                return None
            rest = rest[len(blocks) :]
        elif rest and rest[0] == expected.strip("[]"):
            rest = rest[1:]
        elif not expected.startswith("["):
            return None
    return (names[:start], rest) if rest else None
