"""The random crop of training: where it lies, and that a file decoded in part is that part."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support.colour_photos import write_photos

from keras_vit import data
from keras_vit.data import image_files, image_ops
from keras_vit.data.random_crop import RandomCrop, decode_upright

ORIENTATIONS = range(1, 9)


def coordinates(rows: int, columns: int) -> np.ndarray:
    """An image that says where each pixel is: red its column, green its row, in [0, 255]."""
    image = np.zeros((rows, columns, 3), "float32")
    image[..., 0] = np.linspace(0, 255, columns)
    image[..., 1] = np.linspace(0, 255, rows)[:, None]
    return image


def crop_of(number: int, size=(16, 16), area=(0.05, 1.0), **options) -> RandomCrop:
    return RandomCrop(tf.constant([7, number], tf.int64), size, area, **options)


def photo(rows: int, columns: int) -> Image.Image:
    """Smooth noise."""
    levels = np.random.default_rng(0).integers(0, 256, (rows // 4, columns // 4, 3), "uint8")
    return Image.fromarray(levels).resize((columns, rows), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# --- where it lies ----------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", image_ops.INTERPOLATIONS)
def test_a_crop_of_the_whole_is_resampled_alike(interpolation):
    image = np.random.default_rng(0).uniform(0, 255, (40, 40, 3)).astype("float32")
    crop = crop_of(1, (15, 15), (1.0, 1.0), flip=False, interpolation=interpolation)
    expected = image_ops.fit_to_size(image, (15, 15), interpolation=interpolation)
    np.testing.assert_allclose(crop.finish(crop.cut(image)), expected, atol=1e-3)


@pytest.mark.parametrize("area", [(0.05, 1.0), (0.5, 0.6)])
def test_random_crops_have_the_area_asked_for(area):
    image = coordinates(100, 100)
    made = [crop_of(i, (32, 32), area) for i in range(200)]
    crops = np.stack([crop.finish(crop.cut(image)) for crop in made])
    spans = (crops.max(axis=(1, 2)) - crops.min(axis=(1, 2)))[..., :2] / 255  # [B, (x, y)]
    shares = spans.prod(axis=-1)
    assert shares.min() > 0.7 * area[0]
    assert shares.max() < 1.05 * area[1]
    assert shares.max() - shares.min() > 0.7 * (area[1] - area[0])
    stretch = spans[..., 0] / spans[..., 1]
    assert 0.65 < stretch.min() < 0.85
    assert 1.18 < stretch.max() < 1.5
    flipped = crops[:, 16, -1, 0] < crops[:, 16, 0, 0]
    assert 70 < flipped.sum() < 130
    assert np.all(crops[:, -1, 16, 1] > crops[:, 0, 16, 1])  # never upside down


def test_without_flip_nothing_is_mirrored():
    for i in range(30):
        crop = crop_of(i, flip=False)
        image = crop.finish(crop.cut(coordinates(50, 50)))
        assert image[8, -1, 0] > image[8, 0, 0]


# --- nothing else is decoded ------------------------------------------------------------------


@tf.function(autograph=False)
def both_ways(file, orientation, seed, size=(16, 16)):
    """A part that is decoded alone, and one that is cut out of the whole image."""
    crop = RandomCrop(seed, size)
    return decode_upright(file, orientation, crop), crop.cut(decode_upright(file, orientation))


def assert_a_part_is_the_part(file: bytes, orientation: int, number: int) -> None:
    part, expected = both_ways(
        tf.constant(file), tf.constant(orientation), tf.constant([3, number], tf.int64)
    )
    np.testing.assert_array_equal(part, expected)


KINDS = {
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "4:2:0": {"subsampling": 2},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 3},
    "grey": {"mode": "L"},
    "CMYK": {"mode": "CMYK"},
    "PNG": {"kind": "PNG"},
    "GIF": {"kind": "GIF", "mode": "P"},
}


@pytest.mark.parametrize("name", KINDS)
def test_a_part_is_that_of_the_whole_image(name):
    """Every orientation; sides that are no multiples of a JPEG's blocks."""
    options = dict(KINDS[name])
    file = encoded(
        photo(52, 76).crop((0, 0, 75, 49)).convert(options.pop("mode", "RGB")), **options
    )
    for orientation in ORIENTATIONS:
        for number in range(5):
            assert_a_part_is_the_part(file, orientation, 10 * orientation + number)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (17, 1)])
def test_tiny_jpegs(size):
    file = encoded(Image.new("RGB", size, (200, 100, 50)))
    for orientation in (1, 6):
        assert_a_part_is_the_part(file, orientation, orientation)


@pytest.mark.parametrize("ratio", [1, 2, 4, 8])
def test_many_pixels_are_decoded_at_a_smaller_scale(ratio):
    """At least twice the rows and columns of the result are left, of the right place."""
    size, area = (7, 5), (0.9, 1.0)
    file = encoded(Image.fromarray(coordinates(22 * ratio, 22 * ratio).astype("uint8")))
    for orientation in ORIENTATIONS:
        crop = crop_of(orientation, size, area, flip=False)
        part, whole = decode_upright(file, orientation, crop), decode_upright(file, orientation)
        expected = crop.cut(whole)
        for axis in range(2):
            assert abs(part.shape[axis] - expected.shape[axis] / ratio) < 1
            assert part.shape[axis] >= 2 * size[axis]
        # Edges are rounded to a pixel: a quarter of a pixel of the result, which is 51 levels.
        np.testing.assert_allclose(crop.finish(part), crop.finish(expected), atol=13)


def test_smaller_scales_are_nearer_than_the_fast_transform(shared):
    """Why twice the rows and columns are enough: real photos."""
    differences = {"smaller": 0.0, "fast": 0.0}
    with zipfile.ZipFile(shared / "data" / "in1k_100_short256.zip") as archive:
        files = [archive.read(name) for name in archive.namelist() if name.endswith(".JPEG")][:20]
    for number, file in enumerate(files):
        exact, fast = decode_upright(file).numpy(), tf.io.decode_jpeg(file, channels=3).numpy()
        crop = crop_of(number, (24, 24), (0.6, 1.0))
        begin, size = (x.numpy() for x in crop.window(exact.shape[:2]))
        part = decode_upright(file, 1, crop)
        ratio = round(size[0] / part.shape[0])
        assert ratio in (2, 4)
        (top, left), (bottom, right) = ((x + ratio // 2) // ratio for x in (begin, begin + size))
        assert part.shape == (bottom - top, right - left, 3)
        window = np.s_[ratio * top : ratio * bottom, ratio * left : ratio * right]
        expected = crop.finish(exact[window])
        for name, found in (("smaller", part), ("fast", fast[window])):
            differences[name] += float(np.abs(crop.finish(found) - expected).mean())
    assert differences["smaller"] < 0.7 * differences["fast"]


def test_damage_in_the_part_is_an_error():
    file = encoded(photo(64, 64))[:-200]
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_upright(file, 1, crop_of(0, area=(1.0, 1.0)))


def test_what_pillow_decodes_is_cut_too(tmp_path):
    photo(32, 48).convert("P").save(tmp_path / "a.bmp")
    (found, _) = image_files.check_images([tmp_path / "a.bmp"], progress=False)
    assert found[0].by_pillow

    def read(path, orientation, by_pillow, _):
        crop, element = crop_of(0), (path, orientation, by_pillow)
        whole = image_files.read_photo(*element)
        return image_files.read_photo(*element, crop), crop.cut(whole)

    ((part, expected),) = image_files.photo_dataset(found).map(read).as_numpy_iterator()
    np.testing.assert_array_equal(part, expected)


def test_every_source_reads_parts(tmp_path):
    photos = write_photos(tmp_path / "photos", 5, classes=2)
    records = data.write_records(photos, tmp_path / "records", progress=False)
    for name in (photos, records, "digits"):
        found = data.open(name)
        element = next(iter(found.validation.dataset))
        crop = crop_of(0)
        part, label, _ = found.read(*element, crop=crop)
        whole, expected, _ = found.read(*element)
        np.testing.assert_array_equal(part, crop.cut(whole))
        assert int(label) == int(expected)
