"""RandAugment: the operations against the original code and Pillow, and what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from keras_vit.data.augment import randaugment_ops
from keras_vit.data.augment.augmentation import AUGMENTATIONS, Augmentation, as_augmentation
from keras_vit.data.augment.randaugment import (
    OPERATIONS,
    SIGNED,
    apply_operation,
    draw,
    randaugment,
    strengths,
)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """uint8 [37, 31, 3] with the detail of a photo, and all levels."""
    rng = np.random.default_rng(3)
    noise = Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype="uint8"))
    smooth = np.asarray(noise.resize((31, 37), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(smooth + rng.integers(-9, 10, smooth.shape), 0, 255).astype("uint8")


# --- the operations -------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_the_original_ones(golden, name):
    arrays = golden("randaugment").arrays
    row, column = arrays["centre"]
    keys = [key for key in arrays if key.startswith(f"{name}/")]
    assert keys
    for key in keys:
        level = key.split("/")[1]
        image = arrays["flat" if level == "flat" else "image"]
        magnitude = 10.0 if level == "flat" else float(level)
        sign = -1.0 if magnitude < 0 else 1.0
        got = apply_operation(name, tf.constant(image), abs(magnitude), sign, row, column)
        assert got.dtype == tf.uint8
        difference = np.abs(got.numpy().astype(int) - arrays[key])
        if name == "Sharpness":
            # The original's sum in float32 falls below a whole number now and then.
            assert (difference > 0).mean() < 0.01
            assert difference.max() <= np.ceil(abs(strengths(magnitude)[name] - 1))
        else:
            assert difference.max() == 0, key


POINTWISE = {
    "AutoContrast": (lambda im, _: ImageOps.autocontrast(im), 1),
    "Equalize": (lambda im, _: ImageOps.equalize(im), 0),
    "Invert": (lambda im, _: ImageOps.invert(im), 0),
    "Posterize": (lambda im, strength: ImageOps.posterize(im, strength), 0),
    "Solarize": (lambda im, strength: ImageOps.solarize(im, strength), 0),
    "Brightness": (lambda im, strength: ImageEnhance.Brightness(im).enhance(strength), 1),
    "Color": (lambda im, strength: ImageEnhance.Color(im).enhance(strength), 1),
    "Sharpness": (lambda im, strength: ImageEnhance.Sharpness(im).enhance(strength), 1),
}


@pytest.mark.parametrize("magnitude", [3, 5, 9])
@pytest.mark.parametrize("name", POINTWISE)
def test_operations_are_those_of_pillow(picture, name, magnitude):
    by_pillow, tolerance = POINTWISE[name]
    strength = strengths(magnitude)[name]
    expected = np.asarray(by_pillow(Image.fromarray(picture), strength)).astype(int)
    got = apply_operation(name, tf.constant(picture), magnitude).numpy()
    assert np.abs(got - expected).max() <= tolerance


@pytest.mark.parametrize(
    ("name", "matrix"),
    [
        ("ShearX", lambda s: (1, s, 0, 0, 1, 0)),
        ("ShearY", lambda s: (1, 0, 0, s, 1, 0)),
        ("TranslateX", lambda s: (1, 0, s, 0, 1, 0)),
        ("TranslateY", lambda s: (1, 0, 0, 0, 1, s)),
    ],
)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_transforms_are_those_of_pillow(picture, name, matrix, sign):
    data = matrix(sign * strengths(1)[name])  # 10 pixels, or a slope of .03
    expected = Image.fromarray(picture).transform(
        (31, 37), Image.Transform.AFFINE, data, fillcolor=(128, 128, 128)
    )
    got = apply_operation(name, tf.constant(picture), 1, sign).numpy()
    # Pillow takes the middle of a pixel for where it is: that shifts the steps of a shear.
    share = (got != np.asarray(expected)).any(-1).mean()
    assert share == 0 if name.startswith("Translate") else share < 0.1


def test_rotation_is_about_the_middle(picture):
    square = tf.constant(picture[:31])
    np.testing.assert_array_equal(randaugment_ops.rotate(square, 90.0), np.rot90(picture[:31]))
    np.testing.assert_array_equal(randaugment_ops.rotate(square, -90.0), np.rot90(picture[:31], 3))


def test_contrast_turns_about_the_number_of_pixels(picture):
    # 37 * 31 / 256 = 4.48; Pillow's would be the mean level.
    expected = np.clip(4 + 2.8 * (picture.astype("float32") - 4), 0, 255).astype("uint8")
    np.testing.assert_array_equal(apply_operation("Contrast", tf.constant(picture), 15), expected)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (11, 23), (36, 30)])
def test_cutout_is_a_grey_square(picture, row, column):
    expected = picture.copy()
    expected[max(0, row - 4) : row + 4, max(0, column - 4) : column + 4] = 128
    got = apply_operation("Cutout", tf.constant(picture), 1, row=row, column=column)
    np.testing.assert_array_equal(got, expected)


def test_strengths_are_the_documented_ones():
    got = strengths(15)
    assert tuple(got) == OPERATIONS
    assert [name for name, value in got.items() if value is None] == [
        "AutoContrast",
        "Equalize",
        "Invert",
    ]
    expected = {"Rotate": 45, "Posterize": 6, "Solarize": 384, "SolarizeAdd": 165, "Cutout": 60}
    expected |= dict.fromkeys(("Color", "Contrast", "Brightness", "Sharpness"), 2.8)
    expected |= {"ShearX": 0.45, "ShearY": 0.45, "TranslateX": 150, "TranslateY": 150}
    assert {name: got[name] for name in expected} == pytest.approx(expected)
    assert strengths(0)["Color"] == pytest.approx(0.1)


# --- what is drawn --------------------------------------------------------------------------


def test_operations_and_signs_are_drawn_alike():
    count = 16_000
    numbers = tf.data.Dataset.range(count)
    drawn = numbers.map(lambda n: draw(tf.stack([np.int64(7), n]), 2, (20, 10))).batch(count)
    index, sign, row, column = next(drawn.as_numpy_iterator())
    for layer in range(2):
        counts = np.bincount(index[:, layer], minlength=16)
        # Chi square with 15 degrees of freedom: above 37.7 once in a thousand.
        assert ((counts - count / 16) ** 2 / (count / 16)).sum() < 37.7
    assert len(np.bincount(index.ravel())) == 16
    assert abs((sign > 0).mean() - 0.5) < 0.01
    assert set(np.unique(sign)) == {-1.0, 1.0}
    assert abs(np.corrcoef(index.T)[0, 1]) < 0.03  # the layers do not depend on each other
    assert (row.min(), row.max(), column.min(), column.max()) == (0, 19, 0, 9)
    assert np.bincount(column.ravel()).min() > 0.9 * 2 * count / 10


def test_the_drawn_operations_are_applied_in_turn(picture):
    apply = tf.function(lambda seed: randaugment(tf.constant(picture), seed, 3, 10))
    for number in range(12):
        seed = tf.constant([5, number], tf.int64)
        expected = tf.constant(picture)
        for index, sign, row, column in zip(*draw(seed, 3, (37, 31)), strict=True):
            name = OPERATIONS[int(index)]
            expected = apply_operation(name, expected, 10, sign, row, column)
        np.testing.assert_array_equal(apply(seed), expected)
        np.testing.assert_array_equal(apply(seed), apply(seed))


def test_images_of_any_size_in_a_pipeline(picture):
    sizes = tf.data.Dataset.range(5, 25)
    images = sizes.map(lambda n: (tf.fill(tf.stack([n, n + 3, 3]), tf.constant(9, tf.uint8)), n))
    augmented = images.map(lambda image, n: randaugment(image, tf.stack([n, n]), 2, 15))
    for n, image in enumerate(augmented, 5):
        assert image.shape == (n, n + 3, 3)
        assert image.dtype == tf.uint8


def test_no_layers_change_nothing(picture):
    np.testing.assert_array_equal(randaugment(picture, (0, 0), 0, 10), picture)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_layers": -1}, "`num_layers` must be an integer.*num_layers=-1"),
        ({"num_layers": 1.5}, "num_layers=1.5"),
        ({"magnitude": 31}, r"`magnitude` .*\[0, 30\].*magnitude=31"),
        ({"magnitude": "strong"}, "magnitude='strong'"),
    ],
)
def test_options_out_of_range(picture, options, message):
    with pytest.raises(ValueError, match=message):
        randaugment(picture, (0, 0), **options)


def test_only_bytes(picture):
    with pytest.raises(ValueError, match=r"must be uint8 \[H, W, 3\].*dtype=float32"):
        randaugment(picture.astype("float32"), (0, 0))


# --- the rows of AugReg ---------------------------------------------------------------------


def test_rows_of_augreg():
    rows = {name: (row.layers, row.magnitude, row.mixup) for name, row in AUGMENTATIONS.items()}
    assert rows == {
        "none": (0, 0, 0),
        "light1": (2, 0, 0),
        "light2": (2, 10, 0.2),
        "medium1": (2, 15, 0.2),
        "medium2": (2, 15, 0.5),
        "strong1": (2, 20, 0.5),
        "strong2": (2, 20, 0.8),
        "mixup": (0, 0, 0.1),  # not AugReg's
    }
    assert all(row.name == name for name, row in AUGMENTATIONS.items())
    assert as_augmentation(None) is AUGMENTATIONS["none"]
    own = Augmentation("own", 1, 5, 0.0, cutmix=1.0, erasing=0.25)
    assert as_augmentation(own) is own


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixup": -0.1}, "`mixup`.*mixup=-0.1"),
        ({"cutmix": float("nan")}, "`cutmix`.*cutmix=nan"),
        ({"erasing": 2.0}, "`erasing`.*erasing=2.0"),
        ({"layers": -1}, "num_layers=-1"),
    ],
)
def test_augmentations_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**{"name": "own", "layers": 0, "magnitude": 0, "mixup": 0.0, **options})


def test_unknown_augmentation():
    with pytest.raises(ValueError, match=r"one of none, light1.*augmentation='heavy'"):
        as_augmentation("heavy")


def test_signed_operations_go_both_ways(picture):
    for name in SIGNED:
        there, back = (apply_operation(name, tf.constant(picture), 2, sign) for sign in (1.0, -1.0))
        assert not np.array_equal(there, back)
