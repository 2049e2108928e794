"""RandAugment as AugReg uses it, inside a `tf.data` pipeline: one uint8 image at a time.

Paper: arXiv 1909.13719. Source: `distort_image_with_randaugment` of big_vision
(`big_vision/pp/autoaugment.py`), which comes from the TensorFlow EfficientNet. Each layer draws one
of the sixteen operations, all with equal probability, and applies it at the given magnitude. It
also draws the direction of an operation that has one, and the place of a cutout. Nothing else is
random.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_vit.data.augment import randaugment_ops as ops
from keras_vit.utils.checks import check_counts, check_numbers

# Source: `_MAX_LEVEL`, and the `HParams` of `distort_image_with_randaugment`.
MAX_LEVEL = 10.0
TRANSLATE_PIXELS = 100.0
CUTOUT_PIXELS = 40

# In the order of the original.
OPERATIONS = (
    "AutoContrast",
    "Equalize",
    "Invert",
    "Rotate",
    "Posterize",
    "Solarize",
    "Color",
    "Contrast",
    "Brightness",
    "Sharpness",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Cutout",
    "SolarizeAdd",
)

# Operations with a direction, which is drawn.
SIGNED = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")


def strengths(magnitude: float) -> dict[str, float | int | None]:
    """The strength of each operation at a magnitude, before the sign is drawn.

    Args:
        magnitude: 0 to 30. The operations were made for 0 to 10. Beyond 10 some become stronger,
            and others start again: Solarize at 10 and 20 is Invert, see `randaugment_ops.py`. At 0
            some still change the image: Posterize leaves one bit, Solarize inverts, and Color,
            Contrast and Brightness leave a tenth.

    Returns:
        For each of `OPERATIONS`: degrees (Rotate), bits kept (Posterize), a threshold
        (Solarize), levels added (SolarizeAdd), a factor with 1 for no change (Color, Contrast,
        Brightness, Sharpness), a slope (Shear), pixels (Translate), half the side in pixels
        (Cutout), or `None` (no strength).
    """
    share = float(magnitude) / MAX_LEVEL
    factor = share * 1.8 + 0.1
    return {
        "AutoContrast": None,
        "Equalize": None,
        "Invert": None,
        "Rotate": share * 30.0,
        "Posterize": int(share * 4),
        "Solarize": int(share * 256),
        "Color": factor,
        "Contrast": factor,
        "Brightness": factor,
        "Sharpness": factor,
        "ShearX": share * 0.3,
        "ShearY": share * 0.3,
        "TranslateX": share * TRANSLATE_PIXELS,
        "TranslateY": share * TRANSLATE_PIXELS,
        "Cutout": int(share * CUTOUT_PIXELS),
        "SolarizeAdd": int(share * 110),
    }


def apply_operation(
    name: str, image: Any, magnitude: float, sign: Any = 1.0, row: Any = 0, column: Any = 0
) -> Any:
    """Applies one operation.

    Args:
        name: One of `OPERATIONS`.
        image: uint8 `[H, W, 3]`.
        magnitude: 0 to 30, see `strengths`.
        sign: 1 or -1, float32, for those in `SIGNED`.
        row: Row of the middle of the cutout in pixels, int32.
        column: Column of the middle of the cutout in pixels, int32.

    Returns:
        uint8 `[H, W, 3]`.
    """
    strength: Any = strengths(magnitude)[name]
    function: Callable = getattr(ops, _FUNCTIONS[name])
    if strength is None:
        return function(image)
    if name in SIGNED:
        return function(image, sign * strength)
    if name == "Cutout":
        return function(image, strength, row, column)
    return function(image, strength)


_FUNCTIONS = {
    "AutoContrast": "autocontrast",
    "Equalize": "equalize",
    "Invert": "invert",
    "Rotate": "rotate",
    "Posterize": "posterize",
    "Solarize": "solarize",
    "Color": "color",
    "Contrast": "contrast",
    "Brightness": "brightness",
    "Sharpness": "sharpness",
    "ShearX": "shear_x",
    "ShearY": "shear_y",
    "TranslateX": "translate_x",
    "TranslateY": "translate_y",
    "Cutout": "cutout",
    "SolarizeAdd": "solarize_add",
}


def draw(seed: Any, num_layers: int, image_shape: Any) -> tuple[Any, Any, Any, Any]:
    """The operations that `randaugment` applies for a seed.

    Args:
        seed: int `[2]`.
        num_layers: Number of operations.
        image_shape: int32 `[2]` or `[3]`, rows and columns first.

    Returns:
        Index into `OPERATIONS` (int32), sign (float32), row and column of a cutout (int32), each
        `[num_layers]`.
    """
    import tensorflow as tf

    uniform = tf.random.stateless_uniform((4, num_layers), seed)  # in [0, 1)
    size = tf.cast(image_shape, tf.float32)
    index = tf.cast(uniform[0] * len(OPERATIONS), tf.int32)
    sign = tf.where(uniform[1] < 0.5, -1.0, 1.0)
    row = tf.cast(uniform[2] * size[0], tf.int32)
    column = tf.cast(uniform[3] * size[1], tf.int32)
    return index, sign, row, column


def randaugment(image: Any, seed: Any, num_layers: int = 2, magnitude: float = 10) -> Any:
    """Applies random operations to one image.

    Args:
        image: uint8 `[H, W, 3]`, at the size of the model, because translations and cutouts are
            measured in pixels of this image.
        seed: int `[2]`; the same seed gives the same image.
        num_layers: Number of operations, one after the other; 0 for none.
        magnitude: Magnitude of all operations, 0 to 30.

    Returns:
        uint8 `[H, W, 3]`.

    Raises:
        ValueError: If an argument is out of its range, or the image is not uint8.
    """
    import tensorflow as tf

    check_randaugment(num_layers, magnitude)
    image = tf.convert_to_tensor(image)
    if image.dtype != tf.uint8 or image.shape.rank != 3:
        raise ValueError(
            "`image` must be uint8 [H, W, 3]; cast it before. Received: "
            f"dtype={image.dtype.name}, shape={image.shape}"
        )
    if num_layers == 0:
        return image
    index, sign, row, column = draw(seed, num_layers, tf.shape(image))
    for layer in range(num_layers):
        before, drawn = image, (sign[layer], row[layer], column[layer])
        # Only the branch that is drawn runs.
        image = tf.switch_case(
            index[layer],
            [_branch(name, before, magnitude, drawn) for name in OPERATIONS],
        )
        image = tf.ensure_shape(image, before.shape)
    return image


def _branch(name: str, image: Any, magnitude: float, drawn: tuple[Any, Any, Any]) -> Callable:
    return lambda: apply_operation(name, image, magnitude, *drawn)


def check_randaugment(num_layers: Any, magnitude: Any) -> None:
    """Raises a ValueError if an argument is out of its range."""
    check_counts(0, num_layers=num_layers)
    check_numbers("[0, 30]", magnitude=magnitude)
