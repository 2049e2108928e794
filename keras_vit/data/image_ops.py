"""Decodes, turns and resizes the tensor of one image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf

RESIZES = ("squash", "crop")
INTERPOLATIONS = ("bilinear", "bicubic")
# The share of the short side that a centre crop keeps: 224 of 256 pixels.
CENTRE_FRACTION = 0.875
# The EXIF orientations that want the image transposed, then mirrored left and right, then upside
# down.
_TRANSPOSED, _MIRRORED, _UPSIDE_DOWN = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)


def decode(file: Any) -> Any:
    """Decodes an image file; in a graph too.

    Grey, transparent, palette and CMYK images become RGB; an animation gives its first frame. A
    JPEG is decoded exactly, as Pillow and torchvision do. TensorFlow's default, the only way of
    `tf.io.decode_image`, is a faster transform that is up to 9 levels off.

    Args:
        file: string scalar, the bytes of a JPEG, PNG, GIF, BMP or WebP file.

    Returns:
        uint8 `[H, W, 3]`.
    """
    import tensorflow as tf

    image = tf.cond(
        tf.io.is_jpeg(file),
        lambda: tf.io.decode_jpeg(file, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(file, channels=3, expand_animations=False),
    )
    image.set_shape((None, None, 3))
    return image


def turn_upright(image: Any, orientation: Any) -> Any:
    """Undoes an EXIF orientation, 1 to 8, of `[H, W, 3]`: a transposition, then mirrorings."""
    import tensorflow as tf

    def when(values: Iterable[int], change: Any, image: Any) -> Any:
        return tf.cond(_is_one_of(orientation, values), lambda: change(image), lambda: image)

    image = when(_TRANSPOSED, lambda x: tf.transpose(x, (1, 0, 2)), image)
    image = when(_MIRRORED, lambda x: tf.reverse(x, [1]), image)
    image = when(_UPSIDE_DOWN, lambda x: tf.reverse(x, [0]), image)
    image.set_shape((None, None, 3))
    return image


def is_transposed(orientation: Any) -> Any:
    """Whether the rows of an upright image are the columns of its file; a bool tensor."""
    return _is_one_of(orientation, _TRANSPOSED)


def window_in_file(begin: Any, size: Any, shape: Any, orientation: Any) -> tuple[Any, Any]:
    """Where a window of the upright image lies in its file.

    Args:
        begin: int32 `[2]`, its first row and column.
        size: int32 `[2]`, its rows and columns.
        shape: int32 `[2]`, rows and columns of the upright image.
        orientation: EXIF orientation, 1 to 8.

    Returns:
        `begin` and `size` there.
    """
    import tensorflow as tf

    mirrored = [_is_one_of(orientation, values) for values in (_UPSIDE_DOWN, _MIRRORED)]
    begin = tf.where(mirrored, shape - begin - size, begin)
    transposed = is_transposed(orientation)
    return tf.where(transposed, begin[::-1], begin), tf.where(transposed, size[::-1], size)


def _is_one_of(orientation: Any, values: Iterable[int]) -> Any:
    import tensorflow as tf

    orientation = tf.convert_to_tensor(orientation)
    return tf.reduce_any(tf.equal(orientation, tf.constant(list(values), orientation.dtype)))


def fit_to_size(
    image: Any,
    image_size: tuple[int, int],
    resize: str = "squash",
    centre: float = CENTRE_FRACTION,
    interpolation: str = "bilinear",
) -> tf.Tensor:
    """Brings an image to the model's size, to predict.

    It resizes with antialiasing. The original resizes without it, which picks single pixels of a
    photo that is many times larger than the model's input. Both agree where nothing shrinks.

    Args:
        image: `[H, W, 3]` in [0, 255].
        image_size: (rows, columns) in pixels.
        resize: `"squash"` ignores the proportions, as the original evaluation does; `"crop"`
            keeps them and cuts out the middle.
        centre: The share of the short side that `"crop"` keeps, in (0, 1].
        interpolation: `"bilinear"`, as in Google's code, or `"bicubic"`, with which most of timm's
            and some of Hugging Face's models were trained and evaluated; as Pillow computes them.

    Returns:
        float32 `[rows, columns, 3]` in [0, 255].
    """
    import tensorflow as tf

    rows, columns = image_size
    if resize == "crop":
        size = tf.cast(tf.shape(image)[:2], "float32")
        # The largest window with the model's proportions, less its border.
        scale = tf.reduce_min(size / tf.constant([rows, columns], "float32")) * centre
        window = tf.cast(tf.maximum(tf.round(scale * [float(rows), float(columns)]), 1), "int32")
        top, left = tf.unstack((tf.shape(image)[:2] - window) // 2)
        image = tf.slice(image, tf.stack([top, left, 0]), tf.stack([window[0], window[1], 3]))
    return _resize(image, image_size, interpolation)


def _resize(image: Any, image_size: tuple[int, int], interpolation: str) -> tf.Tensor:
    """As `tf.image.resize`, but faster.

    TensorFlow adds up rows as vectors, but the columns of a row pixel by pixel. So columns are
    resized as rows of the transposed image.
    """
    import tensorflow as tf

    def resized(rows: Any, count: int) -> Any:  # [N, F] -> [count, F]
        rows = tf.image.resize(rows[:, None], (count, 1), method=interpolation, antialias=True)
        return rows[:, 0]

    rows, columns = image_size
    height, width = tf.unstack(tf.shape(image)[:2])
    image = resized(tf.reshape(image, (height, width * 3)), rows)
    image = tf.reshape(tf.transpose(image), (width, 3 * rows))
    image = tf.reshape(resized(image, columns), (columns * 3, rows))
    image = tf.reshape(tf.transpose(image), (rows, columns, 3))
    if interpolation == "bicubic":  # it overshoots at edges
        image = tf.clip_by_value(image, 0.0, 255.0)
    return image
