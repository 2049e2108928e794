"""MixUp, CutMix and random erasing in a `tf.data` pipeline; the same seed has the same result.

Pixels are in [0, 255]. big_vision scales them to [-1, 1] before it mixes; that makes no difference,
because mixing is linear.
"""

from __future__ import annotations

import math
from typing import Any

from keras_vit.data.seeds import fold
from keras_vit.utils.checks import as_shares, check_numbers


def mixup(images: Any, labels: Any, seed: Any, alpha: float) -> tuple[Any, Any]:
    """Fades every image of a batch into the one before it.

    The batch has one share a ~ Beta(alpha, alpha), a = max(a, 1 - a). The first image is mixed with
    the last. Source: `get_mixup` of big_vision (`big_vision/utils.py`); paper arXiv 1710.09412.

    Args:
        images: float32 `[B, H, W, 3]`.
        labels: float32 `[B, classes]`, shares of the classes (one-hot).
        seed: int `[2]`.
        alpha: Positive. With .2 most batches are mixed a little; with 1 all shares are equally
            likely.

    Returns:
        Images and labels of the same shapes: `a` times the own plus `1 - a` times the other.
    """
    import tensorflow as tf

    _check(images, labels, alpha)
    share = _beta(seed, alpha)
    share = tf.maximum(share, 1.0 - share)
    return (
        share * images + (1.0 - share) * tf.roll(images, 1, 0),
        share * labels + (1.0 - share) * tf.roll(labels, 1, 0),
    )


def cutmix(images: Any, labels: Any, seed: Any, alpha: float) -> tuple[Any, Any]:
    """Puts a box of the image before it into every image of a batch.

    The batch has one share a ~ Beta(alpha, alpha) and one box. The box has the proportions of the
    image and 1 - a of its area. Its middle is anywhere, so a part of it may lie outside. Labels are
    mixed by the areas that remain. Source: paper arXiv 1905.04899, which draws the other image;
    here it is the one before, as in `mixup`.

    Args:
        images: float32 `[B, H, W, 3]`.
        labels: float32 `[B, classes]`, shares of the classes (one-hot).
        seed: int `[2]`.
        alpha: Positive; 1 in the paper.

    Returns:
        Images and labels, of the same shapes.
    """
    import tensorflow as tf

    _check(images, labels, alpha)
    rows, columns = tf.unstack(tf.shape(images)[1:3])
    height = tf.cast(rows, tf.float32)
    width = tf.cast(columns, tf.float32)
    half = tf.sqrt(1.0 - _beta(fold(seed, 0), alpha)) / 2.0
    middle = tf.random.stateless_uniform((2,), fold(seed, 1))
    inside = _inside(rows, middle[0] * height, half * height)[:, None]
    inside &= _inside(columns, middle[1] * width, half * width)[None, :]  # [H, W]
    share = 1.0 - tf.reduce_mean(tf.cast(inside, tf.float32))
    return (
        tf.where(inside[None, :, :, None], tf.roll(images, 1, 0), images),
        share * labels + (1.0 - share) * tf.roll(labels, 1, 0),
    )


def mix(
    images: Any, labels: Any, seed: Any, mixup_alpha: float, cutmix_alpha: float
) -> tuple[Any, Any]:
    """MixUp or CutMix; if both are on, each batch gets one of them with equal probability."""
    import tensorflow as tf

    if not cutmix_alpha:
        return mixup(images, labels, seed, mixup_alpha) if mixup_alpha else (images, labels)
    if not mixup_alpha:
        return cutmix(images, labels, seed, cutmix_alpha)
    return tf.cond(
        tf.random.stateless_uniform((), fold(seed, 2)) < 0.5,
        lambda: mixup(images, labels, seed, mixup_alpha),
        lambda: cutmix(images, labels, seed, cutmix_alpha),
    )


def random_erasing(
    image: Any,
    seed: Any,
    probability: float = 0.25,
    area: tuple[float, float] = (0.02, 1 / 3),
    aspect: float = 0.3,
) -> Any:
    """Replaces a rectangle of one image by noise.

    Source: paper arXiv 1708.04896, with random values, which it finds best. A rectangle that is
    larger than the image is cut to it; the paper draws again.

    Args:
        image: uint8 or float32 `[H, W, 3]` in [0, 255].
        seed: int `[2]`.
        probability: Probability that a part of the image is erased, in [0, 1].
        area: Least and largest share of the image's area that is erased.
        aspect: The rectangle's height over its width is between this and its inverse, evenly on
            a logarithmic scale.

    Returns:
        An image of the same shape and dtype.

    Raises:
        ValueError: If an option is out of its range.
    """
    import tensorflow as tf

    check_numbers("[0, 1]", probability=probability)
    area = as_shares(area, "area")
    check_numbers("(0, 1]", aspect=aspect)
    image = tf.convert_to_tensor(image)
    uniform = tf.random.stateless_uniform((5,), fold(seed, 0))

    def erased() -> Any:
        size = tf.cast(tf.shape(image)[:2], tf.float32)
        pixels = (area[0] + uniform[1] * (area[1] - area[0])) * size[0] * size[1]
        ratio = tf.exp((2.0 * uniform[2] - 1.0) * math.log(1.0 / aspect))
        sides = tf.sqrt(tf.stack([pixels * ratio, pixels / ratio]))  # height, width
        # At least one pixel, also in a tiny image.
        sides = tf.clip_by_value(tf.round(sides), 1.0, size)
        begin = tf.floor(uniform[3:] * (size - sides + 1.0))
        middle, half = begin + sides / 2.0, sides / 2.0
        rows, columns = tf.unstack(tf.shape(image)[:2])
        inside = _inside(rows, middle[0], half[0])[:, None, None]
        inside &= _inside(columns, middle[1], half[1])[None, :, None]
        noise = tf.random.stateless_uniform(tf.shape(image), fold(seed, 1), 0, 256, dtype=tf.int32)
        return tf.where(inside, tf.cast(noise, image.dtype), image)

    result = tf.cond(uniform[0] < probability, erased, lambda: image)
    return tf.ensure_shape(result, image.shape)


def _inside(count: Any, middle: Any, half: Any) -> Any:
    """Which of `count` pixels have their centre within `half` of `middle`; bool `[count]`."""
    import tensorflow as tf

    return tf.abs(tf.cast(tf.range(count), tf.float32) + 0.5 - middle) < half


def _beta(seed: Any, alpha: Any) -> Any:
    """A float32 scalar from Beta(alpha, alpha)."""
    import tensorflow as tf

    # In float64, because with a small alpha both numbers are often too small for float32.
    pair = tf.random.stateless_gamma((2,), seed, alpha, dtype=tf.float64)
    return tf.cast(pair[0] / tf.reduce_sum(pair), tf.float32)


def _check(images: Any, labels: Any, alpha: float) -> None:
    check_numbers("(0, inf)", alpha=alpha)
    if len(images.shape) != 4 or len(labels.shape) != 2:
        raise ValueError(
            "Expected images [B, H, W, 3] and one-hot labels [B, classes]. Received: shapes "
            f"{tuple(images.shape)} and {tuple(labels.shape)}"
        )
