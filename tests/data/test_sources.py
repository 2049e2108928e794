"""The input pipelines: what a folder may hold, what becomes of an image, and what is random."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_vit.data import digits, from_arrays, from_folder
from keras_vit.data.sources.folders import hold_out

COLOURS = {"cat": (200, 40, 40), "dog": (40, 200, 40), "eel": (40, 40, 200)}


def paint(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (20, 12)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of 4, 6 and 10 plain images, one colour each."""
    for (name, colour), count in zip(COLOURS.items(), (4, 6, 10), strict=True):
        for i in range(count):
            paint(tmp_path / "photos" / name / f"{i}.png", colour)
    return tmp_path / "photos"


def collect(dataset: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.concatenate(pixels), np.concatenate(labels)


# --- what a folder is -----------------------------------------------------------------------


def test_class_folders_become_sorted_labels(folder):
    data = from_folder(folder, (8, 10), 4, validation_share=0.5, seed=3)
    assert data.class_names == ("cat", "dog", "eel")
    assert (data.num_train, data.num_validation) == (10, 10)
    assert data.name == "photos"
    for dataset, count in ((data.validation, 10), (data.train_as_validation, 10), (data.train, 8)):
        pixels, labels = collect(dataset)
        assert pixels.shape == (count, 8, 10, 3)
        assert pixels.dtype == np.float32
        assert labels.dtype == np.int32
        expected = np.array(list(COLOURS.values()))[labels]
        np.testing.assert_allclose(pixels.mean(axis=(1, 2)), expected, atol=1e-3)
    # Half of every class is held out.
    np.testing.assert_array_equal(np.bincount(collect(data.validation)[1]), [2, 3, 5])


@pytest.mark.parametrize(
    ("folders", "validation"),
    [
        (("train", "test"), "test"),
        (("train", "val", "test"), "val"),
        (("train", "validation", "val"), "validation"),
        (("Train", "Test"), "Test"),
    ],
)
def test_train_and_validation_folders(tmp_path, folders, validation):
    for split in folders:
        for name, colour in COLOURS.items():
            for i in range(3 if split == validation else 2):
                paint(tmp_path / split / name / f"{i}.png", colour)
    data = from_folder(tmp_path, 8, 2)
    assert (data.num_train, data.num_validation) == (6, 9)


def test_train_without_validation_folder_holds_out(tmp_path):
    for name, colour in COLOURS.items():
        for i in range(5):
            paint(tmp_path / "train" / name / f"{i}.png", colour)
    data = from_folder(tmp_path, 8, 2, validation_share=0.2)
    assert data.class_names == tuple(COLOURS)
    assert (data.num_train, data.num_validation) == (12, 3)


def test_a_class_may_be_called_train(tmp_path):
    for name in ("bus", "train"):
        for i in range(2):
            paint(tmp_path / name / f"{i}.png", COLOURS["cat"])
    assert from_folder(tmp_path, 8, 2).class_names == ("bus", "train")


def test_splits_must_hold_the_same_classes(tmp_path):
    for split, names in (("train", ("cat", "dog")), ("test", ("cat", "eel"))):
        for name in names:
            paint(tmp_path / split / name / "0.png", COLOURS[name])
    with pytest.raises(ValueError, match=r"Only in train: \['dog'\]; only in test: \['eel'\]"):
        from_folder(tmp_path, 8, 2)


def test_what_is_no_image_is_passed_over(folder):
    for name in (".DS_Store", "Thumbs.db", "labels.txt", "._0.png", ".cache/1.png"):
        path = folder / "cat" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"not an image")
    (folder / "README.md").write_text("about these photos")
    (folder / ".git").mkdir()
    (folder / "__MACOSX").mkdir()
    paint(folder / "cat" / "more" / "UPPER.JPEG", COLOURS["cat"])
    data = from_folder(folder, 8, 4)
    assert data.class_names == tuple(COLOURS)
    assert data.num_train + data.num_validation == 20 + 1


def test_pictures_of_unsupported_kinds_are_not_dropped_silently(folder):
    (folder / "cat" / "a.HEIC").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"1 files in .*cat are left out, as .heic .*a.HEIC"):
        from_folder(folder, 8, 4)


def test_missing_folder(tmp_path):
    with pytest.raises(ValueError, match=r"no folder .*photoz"):
        from_folder(tmp_path / "photoz")


def test_zip_file_says_how_to_unzip(tmp_path):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cat/1.jpg", b"")
    with pytest.raises(ValueError, match=r"Unzip it first: unzip .*photos.zip -d .*photos$"):
        from_folder(path)


def test_a_file_is_no_folder(tmp_path):
    paint(tmp_path / "a.png", COLOURS["cat"])
    with pytest.raises(ValueError, match=r"a.png is a file; expected a folder of class folders.$"):
        from_folder(tmp_path / "a.png")


def test_folder_without_class_folders(tmp_path):
    with pytest.raises(ValueError, match="holds no class folders"):
        from_folder(tmp_path)
    paint(tmp_path / "a.png", COLOURS["cat"])
    with pytest.raises(ValueError, match="holds 1 images but no class folders"):
        from_folder(tmp_path)


def test_one_class_only(tmp_path, folder):
    with pytest.raises(ValueError, match=r"holds one class only, 'photos'.*Did you mean .*photos"):
        from_folder(tmp_path)  # one level too high
    paint(tmp_path / "one" / "cat" / "a.png", COLOURS["cat"])
    with pytest.raises(ValueError, match="holds one class only, 'cat'") as error:
        from_folder(tmp_path / "one")
    assert "Did you mean" not in str(error.value)


def test_empty_class(folder):
    (folder / "fox").mkdir()
    (folder / "fox" / "notes.txt").write_text("no photo yet")
    with pytest.raises(ValueError, match=r"class folder .*fox has no image.* holds no images"):
        from_folder(folder, 8, 4)


# --- images that cannot be read -------------------------------------------------------------


def break_images(folder: Path) -> None:
    (folder / "cat" / "empty.jpg").write_bytes(b"")
    (folder / "dog" / "text.png").write_text("this is no image")
    photo = folder / "eel" / "cut.jpg"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 40, 3)).astype("uint8")).save(photo)
    photo.write_bytes(photo.read_bytes()[:500])


def test_every_unreadable_image_is_named(folder):
    break_images(folder)
    with pytest.raises(ValueError, match=r"3 images in .* cannot be read") as error:
        from_folder(folder, 8, 4)
    for name in ("cat/empty.jpg: the file is empty", "dog/text.png", "eel/cut.jpg"):
        assert name in str(error.value).replace("\\", "/")


def test_unreadable_images_are_skipped(folder):
    break_images(folder)
    with pytest.warns(UserWarning, match=r"(?s)3 images .*left out.*empty.jpg.*text.png.*cut.jpg"):
        data = from_folder(folder, 8, 4, on_error="skip")
    assert data.num_train + data.num_validation == 20
    assert len(data.unreadable) == 3
    assert len(collect(data.validation)[1]) == data.num_validation


@pytest.mark.filterwarnings("ignore:2 images in")
def test_a_class_without_readable_images(folder):
    for i in range(2):
        (folder / "fox").mkdir(exist_ok=True)
        (folder / "fox" / f"{i}.jpg").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"fox has no image to use: its files cannot be read"):
        from_folder(folder, 8, 4, on_error="skip")


def test_exif_orientation_reaches_the_batches(tmp_path):
    # Red above blue, stored lying on its side as a phone does (orientation 6).
    upright = Image.new("RGB", (16, 32), (255, 0, 0))
    upright.paste((0, 0, 255), (0, 16, 16, 32))
    exif = upright.getexif()
    exif[0x0112] = 6
    for name in ("cat", "dog"):
        for i in range(2):
            path = tmp_path / name / f"{i}.jpg"
            path.parent.mkdir(exist_ok=True)
            upright.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    data = from_folder(tmp_path, 8, 2, crop_area=(0.99, 1.0), flip=False)
    for pixels, _ in (*data.validation, *data.train):
        assert np.all(pixels[:, :3, :, 0] > 200)
        assert np.all(pixels[:, -3:, :, 2] > 200)


# --- what is random -------------------------------------------------------------------------


@pytest.fixture
def gradients(tmp_path: Path) -> Path:
    for label, name in enumerate(("cat", "dog")):
        for i in range(12):
            path = tmp_path / name / f"{i}.png"
            path.parent.mkdir(exist_ok=True)
            # Red and green say where a pixel is, blue which image it is.
            image = np.indices((30, 30, 1)).squeeze().transpose(1, 2, 0) * 8
            image[..., 2] = 100 * label + i
            Image.fromarray(image.astype("uint8")).save(path)
    return tmp_path


def test_the_seed_decides(gradients):
    def two_epochs(seed):
        data = from_folder(gradients, 8, 8, validation_share=0.3, seed=seed)
        return [collect(data.train)[0], collect(data.train)[0], collect(data.validation)[0]]

    first, again, other = two_epochs(1), two_epochs(1), two_epochs(2)
    for one, same, different in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, different)
    assert not np.array_equal(first[0], first[1])  # the next epoch is another one


def test_repeated_epochs_differ_as_separate_ones_do(gradients):
    data = from_folder(gradients, 8, 8, seed=5)
    epochs = np.concatenate([collect(data.train)[0], collect(data.train)[0]])
    repeated = collect(from_folder(gradients, 8, 8, seed=5).train.repeat(2))[0]
    np.testing.assert_array_equal(epochs, repeated)


def test_each_epoch_has_every_image_once(gradients):
    data = from_folder(gradients, 8, 6, validation_share=0.25)
    pixels, labels = collect(data.train)
    identity = pixels[..., 2].mean(axis=(1, 2)).round()
    assert len(set(identity)) == data.num_train == 18
    np.testing.assert_array_equal(identity >= 100, labels == 1)
    held_out = collect(data.validation)[0][..., 2].mean(axis=(1, 2)).round()
    assert set(held_out).isdisjoint(identity)
    assert len(held_out) == 6


def test_a_batch_larger_than_the_data_still_comes(gradients):
    data = from_folder(gradients, 8, 64)
    assert len(collect(data.train)[1]) == data.num_train


def test_hold_out_is_stratified_and_deterministic():
    examples = [
        (f"{label}/{i}", label) for label, n in ((0, 50), (1, 10), (2, 1)) for i in range(n)
    ]
    first, second = hold_out(examples, 0.2, seed=0)
    assert sorted(first + second) == sorted(examples)
    assert np.bincount([label for _, label in second], minlength=3).tolist() == [10, 2, 0]
    assert hold_out(examples, 0.2, seed=0) == (first, second)
    assert hold_out(examples, 0.2, seed=1) != (first, second)


def test_nothing_left_to_validate_on(tmp_path):
    for name in ("cat", "dog"):
        paint(tmp_path / name / "only.png", COLOURS[name])
    with pytest.raises(ValueError, match="Every class has one image only"):
        from_folder(tmp_path, 8, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 0}, "image_size"),
        ({"batch_size": 0}, "batch_size"),
        ({"crop_area": (0.5, 0.1)}, "crop_area"),
        ({"crop_area": 0.5}, "crop_area"),
        ({"crop_area": (0.5, 2)}, "crop_area"),
        ({"resize": "stretch"}, "resize"),
        ({"on_error": "ignore"}, "on_error"),
        ({"validation_share": 1.0}, "validation_share"),
    ],
)
def test_options_out_of_range(folder, options, message):
    with pytest.raises(ValueError, match=rf"`{message}`.*Received: {message}="):
        from_folder(folder, **options)


# --- the digits -----------------------------------------------------------------------------


def test_digits_split_is_fixed_and_stratified():
    data = digits()
    assert (data.num_train, data.num_validation) == (1437, 360)
    assert data.class_names == tuple("0123456789")
    pixels, labels = collect(data.validation)
    assert pixels.shape == (360, 40, 40, 3)
    assert pixels.min() == 0
    assert pixels.max() > 250
    assert np.bincount(labels).min() >= 35
    others, other_labels = collect(digits(seed=1).validation)
    np.testing.assert_array_equal(pixels, others)
    np.testing.assert_array_equal(labels, other_labels)
    # No image is on both sides.
    train = {image.tobytes() for image in collect(data.train_as_validation)[0]}
    assert len(train) == 1437
    assert not train & {image.tobytes() for image in pixels}


def test_arrays_as_keras_datasets_give_them():
    pixels = np.arange(4 * 6 * 6 * 3).reshape(4, 6, 6, 3).astype("uint8")
    labels = np.array([[0], [2], [1], [2]])
    data = from_arrays((pixels, labels), (pixels[:3], labels[:3]), "abc", 6, 2)
    images, found = (np.concatenate(x) for x in zip(*data.validation, strict=True))
    assert np.array_equal(images, pixels[:3].astype("float32"))
    assert found.tolist() == [0, 2, 1]
    assert (data.num_train, data.num_validation, data.class_names) == (4, 3, ("a", "b", "c"))
    assert next(iter(data.training(1)))[0].shape == (2, 6, 6, 3)


@pytest.mark.parametrize(
    ("pixels", "labels", "error", "words"),
    [
        (np.zeros((2, 6, 6, 3)), [0, 1], TypeError, "uint8 images.*Received: float64"),
        (np.zeros((2, 6, 6, 3), "uint8"), [0.0, 1.0], TypeError, "integer labels"),
        (np.zeros((2, 6, 6), "uint8"), [0, 1], ValueError, r"shapes \(2, 6, 6\) and \(2,\)"),
        (np.zeros((2, 6, 6, 3), "uint8"), [0], ValueError, r"\(1,\)"),
        (np.zeros((2, 6, 6, 3), "uint8"), [0, 3], ValueError, "0 to 2.*Received: 0 to 3"),
        (np.zeros((0, 6, 6, 3), "uint8"), np.zeros(0, int), ValueError, "Received: none"),
    ],
)
def test_arrays_that_do_not_fit(pixels, labels, error, words):
    with pytest.raises(error, match=f"`train` must.*{words}"):
        from_arrays((pixels, labels), (pixels, labels), "abc", 6, 2)
