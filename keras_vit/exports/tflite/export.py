"""A TFLite file for phones: one XNNPACK partition, weights once, whatever the batch.

signature  batch_1, batch_4, ...  by `batch_sizes`; they share the weights
input      image   float32 [B, rows, columns, channels], or uint8 with `uint8_input`
output     output  float32 [B, classes], what the Keras model gives; several by their names
metadata   TFLite's: what the image must be; `labels.txt` and `input.json`, which any unzip finds
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vit.exports.classifier import PixelClassifier, check_backend
from keras_vit.exports.comparison import ROUGH_TOLERANCE, TOLERANCE, check_same, example_pixels
from keras_vit.exports.photos import photos_of
from keras_vit.exports.tflite.flatbuffer import finish
from keras_vit.exports.tflite.fold import Arrays, rotate
from keras_vit.exports.tflite.folded_vit import FoldedConfig
from keras_vit.exports.tflite.network import Network, network
from keras_vit.exports.tflite.quantize import check_quantize, quantize_file
from keras_vit.exports.tflite.runtime import runner
from keras_vit.models.input_range import PIXELS
from keras_vit.utils.checks import check_counts
from keras_vit.utils.files import check_target, replacing


def export_tflite(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    class_names: Sequence[str] | None = None,
    image_size: int | tuple[int, int] | None = None,
    input_range: tuple[float, float] | None = None,
    scores: str | None = None,
    resize: str = "squash",
    interpolation: str = "bilinear",
    uint8_input: bool = False,
    batch_sizes: Sequence[int] = (1, 4),
    quantize: str | None = None,
    calibration: str | os.PathLike[str] | np.ndarray | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a TFLite file and checks it against the model.

    Args:
        model: A model around what keras_vit built: any family, head, dtype policy, data format,
            with or without a scaling of pixels. A mixed-precision one is exported in float32.
        path: Ends with `.tflite`.
        class_names: Written into the metadata. Default: as in `export_saved_model`.
        image_size: Pixels, one number or (rows, columns). Default: the model's.
        input_range: (low, high), the values of black and white for the model. Default: found by
            running the model on grey images.
        scores: As in `export_saved_model`; with `"none"` the file has no labels. It does not
            change the outputs, which are those of the model.
        resize: How photos get the size of the image: as in `export_saved_model`. The photos to
            calibrate with are resized like this, and `input.json` in the file says how.
        interpolation: How photos are resampled: as in `export_saved_model`.
        uint8_input: Whether the file takes uint8 images in [0, 255] and scales them itself. By
            default it takes float32 images as the model does. Channels come last in both.
        batch_sizes: The file has one signature for each.
        quantize: `None` for float32, or one of `quantizations.QUANTIZATIONS`: "float16",
            "dynamic_int8", "int8", "int4".
        calibration: For "int8" and "int4", photos like those that the model will see: a folder,
            or uint8 `[N, rows, columns, channels]`. 64 are enough, and take a minute or two for
            a ViT-B/16.
        overwrite: Whether a file at `path` may be replaced.

    Returns:
        `path`.

    Raises:
        ValueError: If the model or an argument does not fit, or the file gives something else
            than the model. Then no file is written.
        FileExistsError: If there is a file and not `overwrite`.
        ImportError: If ai-edge-litert, or to quantise ai-edge-quantizer, is not installed.
    """
    check_backend()
    check_quantize(quantize, calibration)
    path = check_target(path, ".tflite", overwrite)
    batch_sizes = list(dict.fromkeys(batch_sizes))
    check_counts(1, **{"len(batch_sizes)": len(batch_sizes)})
    for batch in batch_sizes:
        check_counts(1, batch_size=batch)
    classifier = PixelClassifier(
        model, image_size, class_names, input_range, scores, resize, interpolation
    )
    photos = _calibration_photos(calibration, classifier)
    images = _batches(photos, classifier, uint8_input, batch_sizes[0])
    change = _rotate if quantize not in (None, "float16") else None
    made = network(classifier, PIXELS if uint8_input else classifier.input_range, change)
    flatbuffer = convert(made, classifier, batch_sizes, uint8_input)
    if quantize is not None:
        flatbuffer = quantize_file(flatbuffer, quantize, images, progress=sys.stdout.isatty())
    with replacing(path) as temporary:
        temporary.write_bytes(finish(flatbuffer, classifier, uint8_input))
        # Quantised for photos, noise is not what it is for.
        pixels = example_pixels(classifier) if photos is None else photos[:4]
        tolerance = TOLERANCE if quantize is None else ROUGH_TOLERANCE
        check_same(runner(temporary)(pixels), classifier.expected(pixels), "TFLite file", tolerance)
    return path


def _rotate(arrays: Arrays, config: FoldedConfig) -> Arrays:
    # A tail of the user's own reads the channels as they were.
    return arrays if config.tail is not None else rotate(arrays)


def _calibration_photos(calibration: Any, classifier: PixelClassifier) -> np.ndarray | None:
    """uint8 `[N, rows, columns, channels]`."""
    if calibration is None:
        return None
    if isinstance(calibration, (str, os.PathLike)):
        pixels, _ = photos_of(
            calibration,
            classifier.image_size,
            resize=classifier.resize,
            interpolation=classifier.interpolation,
        )
    else:
        pixels = np.asarray(calibration)
    shape = (*classifier.image_size, classifier.channels)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != shape or not len(pixels):
        raise ValueError(
            f"`calibration` must be a folder of photos, or a uint8 array [N, {shape[0]}, "
            f"{shape[1]}, {shape[2]}] of pixels. Received: {pixels.dtype} {pixels.shape}"
        )
    return pixels


def _batches(
    pixels: np.ndarray | None, classifier: PixelClassifier, uint8_input: bool, batch: int
) -> list[np.ndarray]:
    """The photos as the file's first signature takes them."""
    if pixels is None:
        return []
    images = pixels if uint8_input else classifier.input_range.of_pixels(pixels.astype("float32"))
    # The last batch is filled up from the beginning.
    count = -(-len(images) // batch)
    return list(np.resize(images, (count, batch, *images.shape[1:])))


def convert(
    made: Network, classifier: PixelClassifier, batch_sizes: Sequence[int], uint8_input: bool
) -> bytes:
    """The converter's file of a network, in float32."""

    def signature(batch: int) -> Any:
        shape = (batch, *classifier.image_size, classifier.channels)
        spec = tf.TensorSpec(shape, tf.uint8 if uint8_input else tf.float32, "image")
        function = tf.function(lambda image: made.call(tf.cast(image, tf.float32)), autograph=False)
        return function.get_concrete_function(spec)

    signatures = {f"batch_{batch}": signature(batch) for batch in batch_sizes}
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(made.module, folder, signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=list(signatures)
        )
        # Only these: an operation of TensorFlow itself is in no phone's runtime.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return bytes(converter.convert())
