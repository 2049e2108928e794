"""The features of images: what a frozen model computes before its head."""

from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np

from keras_vit.distribution import default_jit
from keras_vit.layers import AttentionPooling, TokenPooling
from keras_vit.models.flatten import flat
from keras_vit.utils.backend import ops
from keras_vit.utils.checks import check_counts
from keras_vit.utils.progress import Progress

# Layers that may follow the dense layer of a head.
_AFTER_HEAD = (keras.layers.Activation, keras.layers.Softmax, keras.layers.Dropout)

# A model that ends in one of these has no head: its outputs are features.
_POOLINGS = (
    AttentionPooling,
    TokenPooling,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.LayerNormalization,  # of ViTs that pool before the last norm
)


def feature_model(model: Any, layer: str | None = None) -> Any:
    """The part of a model that ends before its head.

    The features of a Vision Transformer are the class token (or the mean of the patches) after the
    last norm, and after the `pre_logits` layer with its tanh if it has one: what big_vision calls
    `pre_logits`. Those of a BiT and a Mixer are the pooled output.

    Args:
        model: A functional model of one image input and one output, or a `keras.Sequential`. It
            must end in a dense head, or in a pooling if it has no head. It may be wrapped, and
            need not be of `keras_vit`.
        layer: Name of the layer whose outputs, `[B, D]`, are the features. Default: the layer
            before the head, which is found automatically.

    Returns:
        A model from images, as `model` takes them, to `[B, D]`, with the weights of `model`.

    Raises:
        ValueError: If the layer before the head cannot be found, there is no layer of that name,
            or its outputs are not vectors.
    """
    if not isinstance(model, keras.Model) or len(getattr(model, "outputs", None) or ()) != 1:
        raise ValueError(
            "`model` must be a functional model of one output or a built keras.Sequential, as "
            "nothing is known of the layers of any other before it runs. Received: "
            f"model={getattr(model, 'name', model)!r}"
        )
    inner = flat(model)
    output = _before_head(inner) if layer is None else _output_of(inner, layer)
    if len(output.shape) != 2:
        raise ValueError(
            "Features must be vectors, [B, D]: build the model with `pooling='avg'`, or pass "
            f"`layer=` with the name of a layer behind its pooling. Received: {tuple(output.shape)}"
        )
    return keras.Model(inner.inputs[0], output, name=f"{model.name}_features")


def _before_head(model: Any) -> Any:
    layers = list(model.layers)
    while isinstance(layers[-1], _AFTER_HEAD):
        layers.pop()
    last: Any = layers[-1]
    if isinstance(last, keras.layers.Dense):
        return last.input
    if isinstance(last, _POOLINGS) and last is model.layers[-1]:
        return last.output
    output = model.outputs[0]
    if len(output.shape) != 2:
        return output  # a feature map: the caller raises
    raise ValueError(
        "It cannot be told which layer comes before the head: the model ends neither in a dense "
        "layer nor in a pooling. Pass `layer=` with the name of the layer whose outputs are the "
        f"features. Received: {model.name!r}, which ends in {last.name!r} "
        f"({type(last).__name__})"
    )


def _output_of(model: Any, name: str) -> Any:
    names = [layer.name for layer in model.layers]
    if name not in names:
        raise ValueError(
            f"There is no layer {name!r} in {model.name!r}. Its last ones are {names[-8:]}"
        )
    return model.get_layer(name).output


def extract_features(
    model: Any,
    images: Any,
    batch_size: int = 32,
    layer: str | None = None,
    progress: bool | None = None,
) -> np.ndarray:
    """The features of images.

    Args:
        model: As in `feature_model`.
        images: `[N, H, W, C]`, scaled as `model` expects.
        batch_size: Images per step.
        layer: As in `feature_model`.
        progress: Whether to show a progress bar. Default: when the output is a terminal.

    Returns:
        `[N, D]` float32. For any batch size the same, within the rounding of float32.

    Raises:
        ValueError: As in `feature_model`, or if there are no images.
    """
    if len(images) == 0:
        raise ValueError("`images` must hold at least one. Received: images of length 0")
    check_counts(1, batch_size=batch_size)
    starts = range(0, len(images), batch_size)
    batches = ((images[start : start + batch_size],) for start in starts)
    return _extract(feature_model(model, layer), batches, len(images), progress)[0]


def extract_labelled_features(
    model: Any,
    batches: Any,
    layer: str | None = None,
    total: int | None = None,
    progress: bool | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The features of a data set of images with labels, in its order.

    Args:
        model: As in `feature_model`.
        batches: A `tf.data.Dataset`, or any iterable, of (images `[B, H, W, C]`, labels `[B]`).
        layer: As in `feature_model`.
        total: Number of images, for the progress bar.
        progress: Whether to show the bar. Default: when the output is a terminal.

    Returns:
        `[N, D]` float32 and `[N]` int64.

    Raises:
        ValueError: As in `feature_model`, or if there are no images.
    """
    return _extract(feature_model(model, layer), batches, total, progress)


def _extract(model: Any, batches: Any, total: int | None, progress: bool | None) -> Any:
    show = sys.stdout.isatty() if progress is None else progress
    features: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    count = 0
    model.compile(jit_compile=default_jit())
    size = 0
    with Progress(total, 1, int(show), unit="image") as bar:
        for images, *of_batch in batches:
            images = ops.convert_to_numpy(images)
            size = size or len(images)
            # The last batch is filled up: another size would be compiled again.
            missing = max(size - len(images), 0)
            full = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
            found = model.predict_on_batch(full)[: len(images)]
            features.append(np.asarray(found, "float32"))
            labels += [np.asarray(ops.convert_to_numpy(label), "int64") for label in of_batch]
            count += len(images)
            bar.show(count)
    if not features:
        raise ValueError("There must be at least one image. Received: a data set without any")
    return np.concatenate(features), np.concatenate(labels) if labels else None


def checked_examples(
    features: Any, labels: Any, name: str, dtype: str = "float64"
) -> tuple[np.ndarray, np.ndarray]:
    """Features `[N, D]` and their labels `[N]`, as NumPy arrays.

    Raises:
        ValueError: If the shapes are others, a feature is not finite, or labels are not integers
            from 0 on.
    """
    features, labels = np.asarray(features, dtype), np.asarray(labels)
    if features.ndim != 2 or labels.shape != features.shape[:1] or 0 in features.shape:
        raise ValueError(
            f"Expected features [N, D] and labels [N] to {name} on, N and D at least 1. Received: "
            f"shapes {features.shape} and {labels.shape}"
        )
    if not np.isfinite(features).all():
        raise ValueError(
            f"The features to {name} on must be finite. Received: NaN or infinity in "
            f"{int((~np.isfinite(features)).any(axis=1).sum())} of {len(features)}"
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise ValueError(
            f"The labels to {name} on must be integers from 0 on. Received: {labels.dtype}, the "
            f"least {labels.min()}"
        )
    return features, labels.astype("int64")


def check_same_width(train: np.ndarray, test: np.ndarray) -> None:
    """Raises a ValueError if features to train and to test on differ in width."""
    if train.shape[1] != test.shape[1]:
        raise ValueError(
            "Features to train and to test on must be of the same width. Received: "
            f"{train.shape[1]} and {test.shape[1]}"
        )
