"""What becomes of an image file: decoded, upright, of the model's size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps, features

from keras_vit import data
from keras_vit.data import image_files, image_ops, write_records
from keras_vit.exports.saved_model.decoding import decode_batch


def read(path: Path) -> np.ndarray:
    """One file through the check and the decoder."""
    photos, unreadable = image_files.check_images([path], progress=False)
    assert not unreadable
    dataset = image_files.photo_dataset(photos).map(
        lambda path, orientation, by_pillow, _: image_files.read_photo(path, orientation, by_pillow)
    )
    (image,) = dataset.as_numpy_iterator()
    return image


MODES = {  # what Pillow writes
    "png": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "bmp": ("1", "L", "P", "RGB", "RGBA"),
    "gif": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "webp": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK"),
    "jpg": ("1", "L", "RGB", "CMYK"),
}


@pytest.mark.parametrize(
    ("ending", "mode"), [(ending, mode) for ending, modes in MODES.items() for mode in modes]
)
def test_every_mode_becomes_rgb(tmp_path, mode, ending):
    image = Image.new("RGB", (24, 16), (250, 10, 10))
    image.paste((10, 10, 250), (0, 0, 12, 16))
    image = image.convert("RGBA").convert(mode) if mode == "LA" else image.convert(mode)
    image.save(tmp_path / f"a.{ending}")
    result = read(tmp_path / f"a.{ending}")
    with Image.open(tmp_path / f"a.{ending}") as saved:
        expected = np.asarray(saved.convert("RGB"))
    assert result.dtype == np.uint8
    assert result.shape == (16, 24, 3)
    # All but WebP, whose decoders differ, are exact.
    np.testing.assert_allclose(result.astype(int), expected, atol=4 if ending == "webp" else 0)


def test_jpegs_are_decoded_as_pillow_does(tmp_path):
    """From a folder, TFRecords and an exported graph: TensorFlow's fast transform is levels off."""
    levels = np.random.default_rng(0).integers(0, 256, (9, 11, 3), "uint8")
    photo = Image.fromarray(levels).resize((64, 48), Image.Resampling.BICUBIC)
    paths = []
    for name, mode in (("colour", "RGB"), ("grey", "L")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for subsampling in range(3):  # 4:4:4, 4:2:2, 4:2:0
            paths.append(tmp_path / "photos" / name / f"{subsampling}.jpg")
            photo.convert(mode).save(paths[-1], quality=75, subsampling=subsampling)
    expected = []
    for path in paths:
        with Image.open(path) as saved:
            expected.append(np.asarray(saved.convert("RGB")))
        fast = tf.io.decode_image(path.read_bytes(), channels=3).numpy()
        assert np.abs(fast.astype(int) - expected[-1]).max() >= 2
        np.testing.assert_array_equal(read(path), expected[-1])
    pixels, _ = decode_batch(tf.constant([path.read_bytes() for path in paths]), (48, 64))
    np.testing.assert_array_equal(pixels, expected)
    records = write_records(tmp_path / "photos", tmp_path / "records", progress=False)
    found = data.open(records).prepare((48, 64))
    images = [*found.validation.unbatch(), *found.train_in_order.unbatch()]
    assert {x.numpy().astype("uint8").tobytes() for x, _ in images} == {
        x.tobytes() for x in expected
    }


def test_sixteen_bits_become_eight(tmp_path):
    levels = np.array([[0, 257 * 100, 65535]], "uint16")
    Image.fromarray(levels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png")[0, :, 0], [0, 100, 255])


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_pillow_reads_what_tensorflow_does_not(tmp_path):
    # Browsers save such files under the name that the address had.
    Image.new("RGB", (24, 16), (250, 10, 10)).save(tmp_path / "a.avif")
    (tmp_path / "a.avif").rename(tmp_path / "a.jpg")
    np.testing.assert_allclose(read(tmp_path / "a.jpg").mean(axis=(0, 1)), (250, 10, 10), atol=4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    pixels = np.arange(3 * 5 * 3, dtype="uint8").reshape(3, 5, 3)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as saved:
        expected = np.asarray(ImageOps.exif_transpose(saved))
    np.testing.assert_array_equal(read(tmp_path / "a.png"), expected)


def coordinates(rows: int, columns: int) -> np.ndarray:
    """An image that says where each pixel is: red its column, green its row, in [0, 255]."""
    image = np.zeros((rows, columns, 3), "float32")
    image[..., 0] = np.linspace(0, 255, columns)
    image[..., 1] = np.linspace(0, 255, rows)[:, None]
    return image


@pytest.mark.parametrize("size", [(20, 30), (90, 70)])
@pytest.mark.parametrize("interpolation", image_ops.INTERPOLATIONS)
def test_squash_is_antialiased_as_pillow_does(interpolation, size):
    image = np.random.default_rng(0).uniform(0, 255, (47, 61, 3)).astype("float32")
    result = image_ops.fit_to_size(image, size, interpolation=interpolation).numpy()
    for channel in range(3):
        expected = Image.fromarray(image[..., channel]).resize(
            size[::-1], Image.Resampling[interpolation.upper()]
        )  # of floats, which may leave [0, 255]
        np.testing.assert_allclose(result[..., channel], np.clip(expected, 0, 255), atol=1e-2)


@pytest.mark.parametrize("size", [(31, 17), (17, 131), (131, 1)])
@pytest.mark.parametrize("interpolation", image_ops.INTERPOLATIONS)
def test_rows_and_columns_are_resized_as_tensorflow_does(interpolation, size):
    image = np.random.default_rng(0).integers(0, 256, (47, 61, 3), "uint8")
    expected = tf.image.resize(image, size, interpolation, antialias=True)
    result = image_ops.fit_to_size(image, size, interpolation=interpolation)
    np.testing.assert_allclose(result, np.clip(expected, 0, 255), atol=1e-4)


def test_bicubic_by_hand():
    """Keys' cubic with a = -1/2: a step, twice as large, sampled at 1/4 and 3/4."""
    step = np.repeat(np.array([0, 0, 0, 0, 200, 200, 200, 200], "float32"), 3).reshape(1, 8, 3)
    result = image_ops.fit_to_size(step, (1, 16), interpolation="bicubic").numpy()[0, :, 0]

    def cubic(x):
        x = abs(x)
        return 1.5 * x**3 - 2.5 * x**2 + 1 if x < 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2

    # Output 7 lies at 3.25: of its neighbours 2, 3, 4, 5 the last two are 200.
    assert result[7] == pytest.approx(200 * (cubic(0.75) + cubic(1.75)), abs=1e-2)
    assert result[8] == pytest.approx(200 * (cubic(0.25) + cubic(1.25)), abs=1e-2)
    assert result[6] == 0  # 200 * cubic(1.25) is negative
    assert result[9] == pytest.approx(min(200 * (1 - cubic(1.25)), 255), abs=1e-2)


@pytest.mark.parametrize("rows_columns", [(64, 128), (128, 64), (64, 64)])
def test_crop_keeps_proportions_and_the_middle(rows_columns):
    result = image_ops.fit_to_size(coordinates(*rows_columns), (28, 28), "crop").numpy()
    assert result.shape == (28, 28, 3)
    short = min(rows_columns)
    for channel, side in ((0, rows_columns[1]), (1, rows_columns[0])):
        span = result[..., channel].max() - result[..., channel].min()
        # 224/256 of the short side, less half an output pixel at either end.
        assert span / 255 * side == pytest.approx(0.875 * short, abs=3.5)
        assert result[..., channel].mean() == pytest.approx(127.5, abs=1.5)
