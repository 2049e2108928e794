"""The sixteen operations of RandAugment on one uint8 image, as Google's code computes them.

Source: autoaugment.py of the TensorFlow EfficientNet, which big_vision and AugReg use
(big_vision `big_vision/pp/autoaugment.py`). Every function but `sharpness` returns the same bytes
as it does with TensorFlow 2.12 and NumPy 1.23 (`tests/golden/randaugment`). Where Pillow's
operation of the same name differs, the docstring says so.

It is faster than the original: operations on single pixel values are arithmetic on bytes, one pass
counts the histograms of the three channels, sums of neighbours are sums of shifted images, and an
affine transform moves whole pixels in one kernel that fills the outside. Rows of `3 W` numbers
instead of a last axis of three keep TensorFlow's broadcasting fast.

Images are uint8 `[H, W, 3]`, and so are the results.
"""

from __future__ import annotations

import math
from typing import Any

# The level of pixels outside the image and in a cutout: middle grey.
FILL = 128
# Four such bytes as one int32, which a float32 holds exactly.
_FILL_PIXEL = float(int.from_bytes(bytes([FILL] * 4), "little", signed=True))


def autocontrast(image: Any) -> Any:
    """Stretches every channel to 0 .. 255; `PIL.ImageOps.autocontrast`, within one level."""
    import tensorflow as tf

    low = tf.cast(tf.reduce_min(image, (0, 1)), tf.float32)  # [3]
    high = tf.cast(tf.reduce_max(image, (0, 1)), tf.float32)
    flat = high <= low
    scale = tf.where(flat, 1.0, 255.0 / tf.maximum(high - low, 1.0))
    offset = tf.where(flat, 0.0, -low * scale)
    columns = tf.shape(image)[1:2]
    stretched = tf.cast(_as_rows(image), tf.float32) * tf.tile(scale, columns)  # [H, 3 W]
    return _as_image(_to_bytes(stretched + tf.tile(offset, columns)), image)


def equalize(image: Any) -> Any:
    """Flattens the histogram of every channel; `PIL.ImageOps.equalize`."""
    import tensorflow as tf

    # One table of 3 x 256 entries: a channel is an offset into it.
    offsets = tf.tile(256 * tf.range(3), tf.shape(image)[1:2])
    indices = tf.cast(_as_rows(image), tf.int32) + offsets  # [H, 3 W]
    counts = tf.raw_ops.DenseBincount(
        input=tf.reshape(indices, [-1]), size=3 * 256, weights=tf.constant([], tf.int32)
    )
    counts = tf.reshape(counts, (3, 256))
    # The brightest level that occurs does not count for the step.
    last = tf.reduce_max(tf.where(counts > 0, tf.range(256)[None], 0), axis=1)
    step = (tf.reduce_sum(counts, 1) - tf.gather(counts, last, batch_dims=1)) // 255  # [3]
    divisor = tf.maximum(step, 1)[:, None]
    tables = (tf.cumsum(counts, axis=1, exclusive=True) + divisor // 2) // divisor
    tables = tf.where(step[:, None] > 0, tf.minimum(tables, 255), tf.range(256)[None])
    tables = tf.reshape(tf.cast(tables, tf.uint8), [-1])
    return _as_image(tf.gather(tables, indices), image)


def invert(image: Any) -> Any:
    """`PIL.ImageOps.invert`."""
    return 255 - image


def posterize(image: Any, bits: int) -> Any:
    """Keeps the upper `bits` of every byte; `PIL.ImageOps.posterize` for 1 to 8.

    0 bits keep one, and so do more than 8. The original's shift is a byte, in which -1 becomes 255,
    and TensorFlow shifts by 7 at most.
    """
    import tensorflow as tf

    shift = min((8 - bits) % 256, 7)
    return tf.bitwise.bitwise_and(image, tf.constant(255 >> shift << shift, tf.uint8))


def solarize(image: Any, threshold: int) -> Any:
    """Inverts the levels from `threshold` on; `PIL.ImageOps.solarize` below 256.

    The original's threshold is a byte: 256 and 512 become 0, which inverts the whole image.
    """
    import tensorflow as tf

    hit = tf.cast(image >= tf.constant(threshold % 256, tf.uint8), tf.uint8)
    return tf.bitwise.bitwise_xor(image, hit * 255)


def solarize_add(image: Any, addition: int) -> Any:
    """Adds to the levels below 128; Pillow has no such operation."""
    import tensorflow as tf

    low = tf.cast(image < 128, tf.uint8)
    return image + low * tf.minimum(255 - image, tf.constant(min(addition, 255), tf.uint8))


def color(image: Any, factor: float) -> Any:
    """Saturation, 0 for grey: `PIL.ImageEnhance.Color`, whose grey differs by a level at most."""
    import tensorflow as tf

    # Three equal columns, so that every channel gets the grey level.
    weights = tf.constant([[0.2989] * 3, [0.587] * 3, [0.114] * 3])
    pixels = tf.cast(tf.reshape(image, (-1, 3)), tf.float32)
    # `tf.image.rgb_to_grayscale` scales to [0, 1] and back in the same way.
    grey = tf.floor(tf.matmul(pixels * (1.0 / 255.0), weights) * 255.5)
    return _as_image(_blend(grey, pixels, factor), image)


def contrast(image: Any, factor: float) -> Any:
    """Multiplies the differences from a grey level.

    Pillow takes the mean level of the image. The original takes the number of pixels over 256, at
    most 255, which is 196 for 224 x 224 pixels.
    """
    import tensorflow as tf

    pixels = tf.cast(tf.reduce_prod(tf.shape(image)[:2]), tf.float32)
    grey = tf.floor(tf.minimum(pixels / 256.0, 255.0))
    return _blend(grey, tf.cast(image, tf.float32), factor)


def brightness(image: Any, factor: float) -> Any:
    """Multiplies all levels; `PIL.ImageEnhance.Brightness`."""
    import tensorflow as tf

    return _to_bytes(factor * tf.cast(image, tf.float32))


def sharpness(image: Any, factor: float) -> Any:
    """0 smoothes, above 1 sharpens; `PIL.ImageEnhance.Sharpness`, within one level as blended.

    The outermost pixels stay as they are. The smooth image is rounded down exactly. The original
    divides in float32, and is sometimes one level lower where the sum is a multiple of 13.
    """
    import tensorflow as tf

    pixels = tf.cast(image, tf.float32)
    middle = pixels[1:-1, 1:-1]
    rows = pixels[:-2] + pixels[1:-1] + pixels[2:]
    total = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] + 4.0 * middle
    smooth = tf.floor((total + 0.5) * (1.0 / 13.0))
    detail = tf.pad(middle - smooth, ((1, 1), (1, 1), (0, 0)))
    return _to_bytes((pixels - detail) + factor * detail)


def rotate(image: Any, degrees: Any) -> Any:
    """Rotates about the middle, by the nearest pixel; positive is anticlockwise on the screen."""
    import tensorflow as tf

    angle = degrees * (math.pi / 180.0)
    cos, sin = tf.cos(angle), tf.sin(angle)
    rows, columns = tf.unstack(tf.cast(tf.shape(image)[:2] - 1, tf.float32))
    x = (columns - (cos * columns - sin * rows)) / 2.0
    y = (rows - (sin * columns + cos * rows)) / 2.0
    return _transform(image, (cos, -sin, x, sin, cos, y))


def shear_x(image: Any, level: Any) -> Any:
    """Moves row y by `level * y` pixels to the left."""
    return _transform(image, (1.0, level, 0.0, 0.0, 1.0, 0.0))


def shear_y(image: Any, level: Any) -> Any:
    """Moves column x by `level * x` pixels up."""
    return _transform(image, (1.0, 0.0, 0.0, level, 1.0, 0.0))


def translate_x(image: Any, pixels: Any) -> Any:
    """Moves the image by `pixels` to the left."""
    return _transform(image, (1.0, 0.0, pixels, 0.0, 1.0, 0.0))


def translate_y(image: Any, pixels: Any) -> Any:
    """Moves the image by `pixels` up."""
    return _transform(image, (1.0, 0.0, 0.0, 0.0, 1.0, pixels))


def cutout(image: Any, half: int, row: Any, column: Any) -> Any:
    """Draws a grey square of `2 * half` pixels about (row, column), cut at the image's border."""
    import tensorflow as tf

    rows, columns = tf.unstack(tf.shape(image)[:2])
    top, bottom = tf.maximum(row - half, 0), tf.minimum(row + half, rows)
    left, right = tf.maximum(column - half, 0), tf.minimum(column + half, columns)
    grey = tf.fill(tf.stack([bottom - top, right - left, 3]), tf.constant(FILL, tf.uint8))
    band = tf.concat([image[top:bottom, :left], grey, image[top:bottom, right:]], 1)
    return tf.ensure_shape(tf.concat([image[:top], band, image[bottom:]], 0), image.shape)


def _as_rows(image: Any) -> Any:
    """`[H, 3 W]`."""
    import tensorflow as tf

    shape = tf.shape(image)
    return tf.reshape(image, tf.stack([shape[0], 3 * shape[1]]))


def _as_image(values: Any, like: Any) -> Any:
    import tensorflow as tf

    return tf.ensure_shape(tf.reshape(values, tf.shape(like)), like.shape)


def _blend(first: Any, second: Any, factor: float) -> Any:
    """`first + factor * (second - first)` of float32, as bytes."""
    return _to_bytes(first + factor * (second - first))


def _to_bytes(values: Any) -> Any:
    """Float32 as uint8: clipped, and rounded down as the original does."""
    import tensorflow as tf

    values = tf.raw_ops.ClipByValue(t=values, clip_value_min=0.0, clip_value_max=255.0)
    return tf.cast(values, tf.uint8)


def _transform(image: Any, matrix: tuple[Any, ...]) -> Any:
    """Takes pixel (x, y) of the result from x' = a x + b y + c, y' = d x + e y + f."""
    import tensorflow as tf

    row = [tf.cast(x, tf.float32) for x in matrix] + [tf.constant(0.0), tf.constant(0.0)]
    # One int32 for each pixel needs a third of the work.
    pixels = tf.bitcast(tf.pad(image, ((0, 0), (0, 0), (0, 1))), tf.int32)  # [H, W]
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=pixels[None, ..., None],
        transforms=tf.stack(row)[None],
        output_shape=tf.shape(image)[:2],
        fill_value=_FILL_PIXEL,
        interpolation="NEAREST",
        fill_mode="CONSTANT",
    )
    return tf.ensure_shape(tf.bitcast(moved[0, ..., 0], tf.uint8)[..., :3], image.shape)
