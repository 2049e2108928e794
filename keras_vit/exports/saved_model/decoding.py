"""Decodes a batch of image files inside a graph; a bad file fails alone.

An operation that fails ends the whole request, and a graph cannot catch errors. A `tf.data`
pipeline can: `ignore_errors` drops the elements that raised. Each image goes through it with its
index, so that those that are missing afterwards are known.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_vit.data.image_ops import decode, fit_to_size, turn_upright
from keras_vit.exports.saved_model import image_headers

MAX_PIXELS = 100_000_000
_THREADS = 16
# Indices into `statuses`.
_OK, _EMPTY, _UNKNOWN, _TOO_LARGE, _DAMAGED = range(5)


def statuses(max_pixels: int) -> list[str]:
    """What the status of an image can be; "ok" comes first."""
    return [
        "ok",
        "the image is empty: 0 bytes",
        "not a JPEG, PNG, BMP, GIF or WebP image",
        f"the image has more than {max_pixels} pixels",
        "the image cannot be decoded: it is damaged, incomplete or of an unusual kind",
    ]


def decode_batch(
    files: Any,
    image_size: tuple[int, int],
    channels: int = 3,
    resize: str = "squash",
    max_pixels: int = MAX_PIXELS,
    interpolation: str = "bilinear",
) -> tuple[Any, Any]:
    """Decodes, turns upright and resizes.

    Args:
        files: string `[B]`, image files.
        image_size: (rows, columns) in pixels.
        channels: 3, or 1 for grey levels.
        resize: As in `keras_vit.data.image_ops.fit_to_size`.
        max_pixels: Larger images are refused before they are decoded.
        interpolation: As in `keras_vit.data.image_ops.fit_to_size`.

    Returns:
        float32 `[B, rows, columns, channels]` in [0, 255], zeros where a file is bad; and the
        status of each, string `[B]`.
    """
    rows, columns = image_size
    shape = (rows, columns, channels)
    count = tf.size(files, out_type=tf.int64)

    def one(index: Any, data: Any) -> tuple[Any, Any, Any]:
        kind = image_headers.kind_of(data)
        status = tf.where(kind == image_headers.UNKNOWN, _UNKNOWN, _OK)
        status = tf.where(tf.strings.length(data) == 0, _EMPTY, status)
        pixels = image_headers.pixels_of(data, kind)
        status = tf.where(pixels > max_pixels, _TOO_LARGE, status)
        image = tf.cond(
            status == _OK,
            lambda: fit_to_size(
                _decode(data, kind), image_size, resize, interpolation=interpolation
            ),
            lambda: tf.zeros((rows, columns, 3)),
        )
        if channels == 1:
            image = tf.image.rgb_to_grayscale(image)
        return index, tf.ensure_shape(image, shape), status

    decoded = tf.data.Dataset.from_tensor_slices((tf.range(count), files))
    decoded = decoded.map(one, num_parallel_calls=_THREADS, deterministic=False)
    decoded = decoded.ignore_errors()
    # The batch must not be empty; this one goes to the row behind the last and is cut off.
    extra = tf.data.Dataset.from_tensors((count, tf.zeros(shape), _OK))
    batch = decoded.concatenate(extra).batch(count + 1)
    options = tf.data.Options()
    # They pay in a pipeline that runs for minutes; this one lives for one request.
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    indices, images, codes = batch.with_options(options).get_single_element()
    indices = indices[:, None]
    images = tf.scatter_nd(indices, images, tf.stack([count + 1, *shape]))[:-1]
    codes = tf.tensor_scatter_nd_update(tf.fill([count + 1], _DAMAGED), indices, codes)[:-1]
    images = tf.ensure_shape(images, (None, *shape))
    return images, tf.gather(tf.constant(statuses(max_pixels)), codes)


def _decode(data: Any, kind: Any) -> Any:
    """uint8 `[H, W, 3]`, upright."""
    image = tf.cond(
        kind == image_headers.BMP,
        lambda: _decode_bmp(data),
        lambda: decode(data),
    )
    image.set_shape((None, None, 3))
    return tf.cond(
        image_headers.may_be_turned(data, kind),
        lambda: turn_upright(image, image_headers.orientation_of(data, kind)),
        lambda: image,
    )


def _decode_bmp(data: Any) -> Any:
    """TensorFlow takes the indices into the palette of a BMP for grey levels; looks them up."""
    image = decode(data)
    numbers = image_headers.Numbers(data)
    bits = numbers.read(28, 2, True)
    palette_start = 14 + numbers.read(14, 4, True)

    def look_up() -> Any:
        colours = palette_start + 4 * tf.range(256, dtype=tf.int64)[:, None]  # blue, green, red, 0
        palette = numbers.read(colours + tf.constant([2, 1, 0], tf.int64), 1)  # [256, 3]
        return tf.gather(tf.cast(palette, tf.uint8), tf.cast(image[..., 0], tf.int32))

    return tf.cond(bits == 8, look_up, lambda: image)
