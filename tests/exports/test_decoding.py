"""Image files to pixels inside a graph: every kind, upright, and no file that fails the others."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps
from support.small_exports import encode, picture

from keras_vit.data.image_ops import fit_to_size
from keras_vit.exports.saved_model import decoding

SIZE = (20, 28)
MAX_PIXELS = 400_000


def by_pillow(file, **options):
    with Image.open(io.BytesIO(file)) as image:
        upright = ImageOps.exif_transpose(image)
        assert upright is not None
        return fit_to_size(np.asarray(upright.convert("RGB")), SIZE, **options).numpy()


@pytest.fixture(scope="module")
def decode():
    """Image files to (pixels, statuses), in a graph that is traced once."""
    function = tf.function(
        lambda files: decoding.decode_batch(files, SIZE, max_pixels=MAX_PIXELS),
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )

    def decode(files):
        images, statuses = function(tf.constant(files, tf.string))
        return images.numpy(), [status.decode() for status in statuses.numpy()]

    return decode


MODES = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "bmp": ("L", "P", "RGB", "RGBA"),
    "gif": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "webp": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK"),
    "jpeg": ("1", "L", "RGB", "CMYK"),
}


def test_every_mode_of_every_kind(decode):
    cases = [(kind, mode) for kind, modes in MODES.items() for mode in modes]
    files = [encode(picture(mode), kind) for kind, mode in cases]
    images, statuses = decode(files)
    assert statuses == ["ok"] * len(files)
    for case, file, image in zip(cases, files, images, strict=True):
        # The decoders of WebP differ a little.
        atol = 4 if case[0] == "webp" else 1e-3
        np.testing.assert_allclose(image, by_pillow(file), atol=atol, err_msg=str(case))


def test_variants(decode):
    frames = [picture(), Image.new("RGB", (61, 43))]
    files = [
        encode(picture(), "webp", lossless=True),
        encode(picture(), "jpeg", progressive=True),
        encode(picture(), "png", bits=2),
        encode(frames[0], "gif", save_all=True, append_images=frames[1:]),
    ]
    images, statuses = decode(files)
    assert statuses == ["ok"] * len(files)
    for file, image in zip(files, images, strict=True):
        np.testing.assert_allclose(image, by_pillow(file), atol=4)


def test_sixteen_bits_become_eight(decode):
    levels = np.full((20, 28), 257 * 100, "uint16")
    images, _ = decode([encode(Image.fromarray(levels), "png")])
    np.testing.assert_array_equal(images, 100)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_exif_orientation(decode, kind):
    files = []
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x010E] = "a tag before it"
        exif[0x0112] = orientation
        files.append(encode(picture(), kind, exif=exif))
    images, _ = decode(files)
    for file, image in zip(files, images, strict=True):
        np.testing.assert_allclose(image, by_pillow(file), atol=4)
    for other in images[1:]:
        assert np.abs(other - images[0]).max() > 100


def test_exif_behind_other_metadata(decode):
    plain = encode(picture())
    turned = with_exif(plain, tiff(6))
    other = b"\xff\xe1\xff\xff" + b"\xff" * 65533  # of bytes that UTF-8 does not have
    images, _ = decode([turned, turned[:2] + 2 * other + turned[2:]])
    np.testing.assert_array_equal(images[0], images[1])
    assert np.abs(images[0] - by_pillow(plain)).max() > 100


def tiff(value, order="little", offset=8, count=1):
    """EXIF data with an orientation."""
    entries = ((0x0112, 2), (3, 2), (1, 4), (value, 2), (0, 2))  # tag, type, length, value
    header = {"little": b"II", "big": b"MM"}[order]
    numbers = ((42, 2), (offset, 4), (count, 2), *entries)
    return header + b"".join(n.to_bytes(width, order) for n, width in numbers)


def with_exif(jpeg, data):
    segment = b"Exif\0\0" + data
    return jpeg[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + jpeg[2:]


def test_exif_in_either_byte_order_and_broken(decode):
    plain = encode(picture())
    (upright, big, little, *broken), statuses = decode(
        [
            plain,
            with_exif(plain, tiff(6, "big")),
            with_exif(plain, tiff(6, "little")),
            with_exif(plain, tiff(9)),
            with_exif(plain, tiff(0)),
            with_exif(plain, tiff(6, offset=2**32 - 1)),
            with_exif(plain, tiff(1, count=65535)),
            with_exif(plain, tiff(6)[:9]),
            with_exif(plain, b""),
        ]
    )
    assert set(statuses) == {"ok"}
    np.testing.assert_array_equal(big, little)
    assert np.abs(big - upright).max() > 100
    for image in broken:
        np.testing.assert_array_equal(image, upright)


def test_bad_files_do_not_harm_the_others(decode):
    good_picture, other = picture(), picture("L")
    good = encode(good_picture)
    huge = b"\x00\x0f\xff\xff" * 2  # rows and columns, as a PNG writes them
    cases = {
        b"": "empty",
        b"no image": "not a JPEG",
        b"\0" * 500: "not a JPEG",
        good[: len(good) // 2]: "damaged",
        encode(picture(), "png")[:60]: "damaged",
        encode(picture(), "webp")[:60]: "damaged",
        encode(picture("1"), "bmp"): "unusual kind",
        encode(good_picture, "webp", save_all=True, append_images=[other]): "unusual kind",
        b"\xff\xd8\xff": "damaged",
        b"GIF89a": "damaged",
        b"BM": "damaged",
        b"RIFF1234WEBP": "damaged",
        encode(picture(), "png")[:16] + huge + bytes(40): "more than 400000 pixels",
        encode(picture(), "bmp")[:18] + huge[::-1] + bytes(40): "more than 400000 pixels",
    }
    images, statuses = decode([*cases, good])
    for status, expected in zip(statuses, cases.values(), strict=False):
        assert expected in status
    assert statuses[-1] == "ok"
    assert not images[:-1].any()
    np.testing.assert_array_equal(images[-1], decode([good])[0][0])
    assert "ok" not in decode([*cases])[1]
    assert decode([])[0].shape == (0, *SIZE, 3)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, {}) for kind in MODES),
        ("webp", {"lossless": True}),
        ("webp", {"exif": tiff(1)}),
    ],
)
def test_large_images_are_refused(decode, kind, options):
    sizes = ((800, 500), (801, 500))
    _, statuses = decode([encode(picture(size=size), kind, **options) for size in sizes])
    assert statuses == ["ok", "the image has more than 400000 pixels"]


def test_damaged_files_do_not_raise(decode):
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    good = [encode(picture(), kind) for kind in MODES]
    good += [encode(picture(), kind, exif=exif) for kind in ("jpeg", "png", "webp")]
    files = []
    for i in range(1000):
        file = bytearray(good[i % len(good)])
        for place in rng.integers(0, min(len(file), 200), rng.integers(1, 9)):
            file[place] = rng.integers(256)
        files.append(bytes(file[: rng.integers(1, 2 * len(file))]))
    _, statuses = decode(files)
    assert len(set(statuses)) >= 4
    assert statuses.count("ok") > 50


def test_bicubic():
    file = encode(picture(), "png")
    images, _ = decoding.decode_batch(tf.constant([file]), SIZE, interpolation="bicubic")
    expected = by_pillow(file, interpolation="bicubic")
    np.testing.assert_allclose(images[0], expected, atol=1e-3)
    assert np.abs(expected - by_pillow(file)).max() > 5


def test_grey_levels():
    images, _ = decoding.decode_batch(tf.constant([encode(picture("L"), "png")]), SIZE, channels=1)
    assert images.shape == (1, *SIZE, 1)
    expected = by_pillow(encode(picture("L"), "png"))[..., :1]
    np.testing.assert_allclose(images[0], expected, atol=0.1)
