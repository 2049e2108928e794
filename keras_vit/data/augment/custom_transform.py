"""Puts a Keras or KerasCV layer, or a function, into the input pipeline as a step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras

from keras_vit.data.seeds import fold

# Layers of Keras and KerasCV that mix images and their labels.
MIXING_LAYERS = ("MixUp", "CutMix", "FourierMix", "Mosaic")


def takes_labels(transform: Any) -> bool:
    """Whether a transform takes one-hot labels too.

    Layers that mix images do, and functions of two arguments.

    Raises:
        ValueError: If it is neither a layer nor a function of one or two arguments.
    """
    if transform is None:
        return False
    if isinstance(transform, keras.Layer):
        names = {base.__name__ for part in _layers(transform) for base in type(part).__mro__}
        return not names.isdisjoint(MIXING_LAYERS)
    count = 0
    if callable(transform):
        try:
            parameters = inspect.signature(transform).parameters.values()
        except (TypeError, ValueError):  # a built-in function has no signature
            return False
        count = sum(
            p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
            for p in parameters
        )
    if count not in (1, 2):
        raise ValueError(
            "`transform` must be a Keras layer, or a function of images [B, H, W, 3], or of images "
            f"and one-hot labels [B, classes]. Received: transform={transform!r}"
        )
    return count == 2


def _layers(layer: keras.Layer) -> list[Any]:
    """A layer and its inner layers: `keras.Sequential` and `keras.layers.Pipeline` have them."""
    return [layer, *(part for inner in getattr(layer, "layers", ()) for part in _layers(inner))]


def random_states(transform: Any) -> list[Any]:
    """The variables that determine what a layer draws next."""
    if not isinstance(transform, keras.Layer) or keras.backend.backend() != "tensorflow":
        return []
    states = [v for v in transform.variables if v.name == "seed_generator_state"]
    return states


def as_step(transform: Any) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """A function from images, labels and a seed, int64 `[2]`, to images and labels.

    With the TensorFlow backend, the random numbers of a Keras layer depend only on that seed, not
    on earlier ones. A function of your own must do the same by itself. KerasCV's layers draw from
    TensorFlow's own generators, which cannot be set: a resumed run gets other numbers than an
    uninterrupted one.
    """
    with_labels = takes_labels(transform)
    states = random_states(transform)

    def step(images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        for number, state in enumerate(states):
            drawn = fold(seed, number)
            drawn = tf.bitwise.bitwise_and(drawn, tf.constant(2**31 - 1, drawn.dtype))
            state.assign(tf.cast(drawn, state.dtype))
        if not isinstance(transform, keras.Layer):
            changed = transform(images, labels) if with_labels else transform(images)
            new_images, new_labels = changed if with_labels else (changed, labels)
        elif with_labels:
            both: Any = transform({"images": images, "labels": labels}, training=True)
            new_images, new_labels = both["images"], both["labels"]
        else:
            new_images, new_labels = transform(images, training=True), labels
        new_images = tf.cast(new_images, tf.float32)
        if not new_images.shape.is_compatible_with(images.shape):
            raise ValueError(
                "`transform` must keep the shape of the images, "
                f"{tuple(images.shape)}. Received: images of {tuple(new_images.shape)}"
            )
        return tf.ensure_shape(new_images, images.shape), tf.cast(new_labels, labels.dtype)

    return step
