"""Scales pixels for the released models, and turns their predictions into class names."""

from __future__ import annotations

import functools
import gzip
import importlib.resources
import sys
from typing import Any

import keras
import numpy as np

from keras_vit.utils.checks import check_choice, check_counts

LABELLED_CLASSES = (1000, 21843)


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Scales pixels from [0, 255] to [-1, 1]: `(x - 127.5) / 127.5`, for every released model.

    Source: `vit_jax/input_pipeline.py`. `keras.applications` computes `x / 127.5 - 1`, which
    rounds twice, and overwrites a floating-point array of the caller; this does neither.

    Args:
        x: Images of any shape: an array, a tensor of Keras's backend or of TensorFlow (within
            `tf.data` under any backend), a Keras tensor, or what `numpy.asarray` takes.
        data_format: `"channels_last"`, `"channels_first"` or `None`, as in
            `keras.applications`. All channels are scaled alike, so it makes no difference.

    Returns:
        The same kind of array or tensor, of the same shape. A floating-point dtype is kept, any
        other becomes `keras.config.floatx()`.

    Raises:
        ValueError: If `data_format` is another value.
        TypeError: If `x` is not numeric.
    """
    check_choice("data_format", data_format, (None, "channels_last", "channels_first"))
    if not hasattr(x, "dtype"):
        x = np.asarray(x)
    if isinstance(x, np.ndarray) and x.dtype.kind not in "buif":
        raise TypeError(
            f"`x` must be pixels, numbers in [0, 255]. Received: dtype={x.dtype}, shape={x.shape}"
        )
    if not keras.backend.is_float_dtype(x.dtype):
        x = _cast(x, keras.config.floatx())
    return (x - 127.5) / 127.5


def _cast(x: Any, dtype: str) -> Any:
    if isinstance(x, np.ndarray):
        return x.astype(dtype)
    # Under another backend an input pipeline still maps TensorFlow's tensors.
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and tensorflow.is_tensor(x):
        return tensorflow.cast(x, dtype)
    return keras.ops.cast(x, dtype)


def decode_predictions(preds: Any, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """Names the classes with the highest scores.

    Args:
        preds: Probabilities or logits, `[B, 1000]` for ImageNet-2012 or `[B, 21843]` for
            ImageNet-21k in Google's order.
        top: How many classes to name per image, at least 1.

    Returns:
        A list per image of `(WordNet id, name, score)`, highest score first; for example
        `("n02504458", "African_elephant", 0.93)`.

    Raises:
        ValueError: If `preds` has another shape or `top` is below 1.
    """
    preds = np.asarray(keras.ops.convert_to_numpy(preds))
    if preds.ndim != 2 or preds.shape[1] not in LABELLED_CLASSES:
        raise ValueError(
            "`preds` must have the shape [B, 1000] (ImageNet-2012) or [B, 21843] (ImageNet-21k). "
            "For a model of your own classes use `numpy.argsort` and your own names. "
            f"Received: preds of shape {preds.shape}"
        )
    check_counts(1, top=top)
    names = labels(preds.shape[1])
    scores = preds.astype("float64")
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return [
        [(*names[i], float(row[i])) for i in order] for row, order in zip(scores, best, strict=True)
    ]


@functools.cache
def labels(classes: int) -> tuple[tuple[str, str], ...]:
    """The classes of a released head, in its order.

    Args:
        classes: 1000 (ImageNet-2012) or 21843 (ImageNet-21k).

    Returns:
        `(WordNet id, name)` per class. The name is the first WordNet lemma with underscores for
        spaces, which need not be unique: `crane` is a bird and a machine.

    Raises:
        ValueError: If `classes` is another number.
    """
    if classes not in LABELLED_CLASSES:
        raise ValueError(
            f"There are names for heads of {LABELLED_CLASSES} classes. For a model of your own "
            f"classes keep your own list of names. Received: classes={classes!r}"
        )
    head = "1k" if classes == 1000 else "21k"
    packed = importlib.resources.files("keras_vit") / "labels" / "imagenet.tsv.gz"
    rows = [
        line.split("\t")
        for line in gzip.decompress(packed.read_bytes()).decode().splitlines()
        if not line.startswith("#")
    ]
    # Both heads are in the order of the WordNet ids, and so is the file.
    return tuple(
        (wnid, lemma.replace(" ", "_")) for wnid, heads, lemma in rows if head in heads.split(",")
    )
