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
from keras_vit.exports.classifier import PixelClassifier
from keras_vit.exports.tflite.fold import Arrays, fold, merge_tokens
from keras_vit.exports.tflite.folded_vit import ACTIVATIONS, FoldedConfig, FoldedViT
from keras_vit.layers import PatchEmbed, RotaryEmbedding, TokenPooling, TransformerBlock
from keras_vit.models.input_range import CENTRED, InputRange, before_first
from keras_vit.utils.backend import ops

# The layers that `ViT` builds, in order; the optional ones in brackets. What is before them is a
# stem, what is after them a tail.
_LAYERS = (
    "patch_embed", "[class_token]", "[distillation_token]", "[position_embedding]", "[registers]",
    "embedding_dropout", "[rotary_embedding]", "blocks", "[encoder_norm]", "pooling",
    "[pooled_norm]",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Network:
    """A model, ready for a converter.

    Attributes:
        module: Holds the variables; what is saved. TensorFlow's own ones and not the Keras
            model: behind that the converter finds variables that are not there, and its file
            gives NaN without an error.
        call: float32 `[B, rows, columns, C]`, B known, to the outputs by their names.
        arrays: Of the folded ViT; empty where there is none.
        config: Likewise, or `None`.
    """

    module: tf.Module
    call: Callable[[Any], dict[str, Any]]
    arrays: Arrays
    config: FoldedConfig | None


def network(
    classifier: PixelClassifier,
    taken: InputRange,
    change: Callable[[Arrays, FoldedConfig], Arrays] | None = None,
) -> Network:
    """Folds a model, or wraps it.

    Args:
        classifier: The model.
        taken: What the file is to take as black and white.
        change: What else to do to the arrays of a folded ViT.
    """
    model = classifier.model
    module: Any = tf.Module()
    config = folded_config(classifier)
    arrays: Arrays = {}
    # What has a stem takes images as the Keras model does, a folded ViT those in [-1, 1].
    as_keras = config is None or config.stem is not None
    if config is None:
        run: Any = model
        module.v = [variable.value for variable in model.variables]
    else:
        arrays = {
            name: np.asarray(ops.convert_to_numpy(variable), "float32")
            for name, variable in model_variables(model).items()
        }
        # The zeros that pad an image are of the scaled one.
        folds = not as_keras and config.padding == "VALID"
        rotary = layers_of(model, RotaryEmbedding)
        arrays = fold(arrays, config.num_heads, taken if folds else CENTRED, bool(rotary))
        arrays = merge_tokens(arrays)
        if rotary:
            arrays["rotation"] = rotary[0].table()
        if change is not None:
            arrays = change(arrays, config)
        run = FoldedViT(arrays, config)
        ends = [part for part in (config.stem, config.tail) if part is not None]
        module.folded = run
        module.v = [variable.value for part in ends for variable in part.variables]

    def call(images: Any) -> dict[str, Any]:
        if not as_keras:
            if config is not None and config.padding == "SAME":
                images = taken.centred(images)
            return {"output": run(images)}
        if taken != classifier.input_range:  # pixels then
            images = classifier.input_range.of_pixels(images)
        if classifier.channels_first:
            images = tf.transpose(images, (0, 3, 1, 2))
        outputs = run(images) if config is not None else run(images, training=False)
        return dict(zip(classifier.output_names, keras.tree.flatten(outputs), strict=True))

    return Network(module, call, arrays, config)


def folded_config(classifier: PixelClassifier) -> FoldedConfig | None:
    """What the arrays of a ViT do not say; `None` for a model that cannot be folded."""
    model = classifier.model
    if len(model.outputs) != 1:
        return None
    layers = {  # and operations, `x / 127.5` for example
        layer.name: layer
        for layer in model.operations
        if not isinstance(layer, keras.layers.InputLayer)
    }
    parts = _parts(list(layers), [block.name for block in layers_of(model, TransformerBlock)])
    if parts is None:
        return None
    after = parts
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
    if not _only_scales(classifier):
        stem = keras.Model(model.inputs[0], cut.input)
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


def _only_scales(classifier: PixelClassifier) -> bool:
    """Whether nothing happens before the patches but the scaling to [-1, 1]: that is folded."""
    shape = (1, *classifier.image_size, classifier.channels)
    values = np.random.default_rng(0).integers(0, 256, shape).astype("float32")
    images = classifier.input_range.of_pixels(values)
    expected = classifier.input_range.centred(images)
    if classifier.channels_first:
        images = images.transpose(0, 3, 1, 2)
    found = before_first(PatchEmbed, classifier.model, images)
    return (
        found is not None and found.shape == shape and bool(np.abs(found - expected).max() < 1e-5)
    )


def _parts(names: list[str], blocks: list[str]) -> list[str] | None:
    """The layers after those of `ViT`; `None` if others are between, or none are after."""
    if "patch_embed" not in names or blocks != [f"block_{i}" for i in range(len(blocks))]:
        return None
    rest = names[names.index("patch_embed") :]
    for expected in _LAYERS:
        if expected == "blocks":
            if rest[: len(blocks)] != blocks:
                return None
            rest = rest[len(blocks) :]
        elif rest and rest[0] == expected.strip("[]"):
            rest = rest[1:]
        elif not expected.startswith("["):
            return None
    return rest or None
