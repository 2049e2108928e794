"""TFRecord and array_record files: written, read, counted, and taken up in the middle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support.colour_photos import write_photos

from keras_vit.data import digits, from_folder, from_records, from_tfds, write_records
from keras_vit.data.sources.records import count_records


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("records") / "photos", 8)


@pytest.fixture(scope="module")
def records(folder: Path) -> Path:
    return write_records(folder, folder.parent / "records", shards=3)


def collect(dataset) -> list[tuple[bytes, int]]:
    return sorted(
        (image.tobytes(), int(label))
        for pixels, labels in dataset.as_numpy_iterator()
        for image, label in zip(pixels, labels, strict=True)
    )


def test_records_hold_what_the_folder_holds(folder, records):
    assert sorted(path.name for path in records.iterdir()) == [
        "info.json",
        *(f"train-{i:05}-of-00003.tfrecord" for i in range(3)),
        *(f"validation-{i:05}-of-00003.tfrecord" for i in range(3)),
    ]
    of_folder, of_records = from_folder(folder, 12, 4), from_records(records, 12, 4)
    assert of_records.class_names == of_folder.class_names
    assert of_records.name == "records"
    for field in ("num_train", "num_validation"):
        assert getattr(of_records, field) == getattr(of_folder, field)
    for field in ("validation", "train_as_validation"):
        assert collect(getattr(of_records, field)) == collect(getattr(of_folder, field))
    pixels, labels = next(iter(of_records.train))
    assert (pixels.shape, labels.dtype) == ((4, 12, 12, 3), tf.int32)
    # Every file is a sample of all classes, not one of them.
    assert json.loads((records / "info.json").read_text("utf-8"))["train"] == 18


def test_a_run_goes_on_as_if_uninterrupted(records):
    def steps(start, count):
        data = from_records(records, 12, 4)  # with random crops
        return list(data.training(start).take(count).as_numpy_iterator())

    run = steps(0, 9)  # two epochs of four batches, and one batch
    tf.random.set_seed(5)
    for start in (1, 4, 6):
        for one, other in zip(run[start:], steps(start, 9 - start), strict=True):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])
    assert not np.array_equal(run[0][1], run[4][1])


def test_records_of_others(tmp_path):
    for split, count in (("train", 4), ("val", 2)):
        with tf.io.TFRecordWriter(str(tmp_path / f"{split}-0")) as writer:
            for i in range(count):
                image = tf.io.encode_jpeg(np.full((9, 9, 3), 40 * i, "uint8")).numpy()
                features = {
                    "jpg": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
                    "y": tf.train.Feature(int64_list=tf.train.Int64List(value=[1 + i % 2])),
                }
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())
    options = {"validation": tmp_path / "val-*", "image_key": "jpg", "label_key": "y"}
    names = ["odd", "even"]
    data = from_records(tmp_path / "train-*", 8, 2, class_names=names, first_label=1, **options)
    assert (data.num_train, data.num_validation) == (4, 2)
    ((pixels, labels),) = data.validation.as_numpy_iterator()
    np.testing.assert_array_equal(labels, [0, 1])
    assert np.abs(pixels.mean((1, 2, 3)) - [0, 40]).max() < 2
    wrong = from_records(tmp_path / "train-*", 8, 2, class_names=names, **options)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"A label is not in \[0, 2\)"):
        list(wrong.validation)


def test_photos_lie_as_they_did(tmp_path):
    photo = Image.new("RGB", (8, 16), (255, 0, 0))
    photo.paste((0, 0, 255), (0, 8, 8, 16))
    exif = photo.getexif()
    exif[0x0112] = 6
    for name in ("cat", "dog"):
        for i in range(2):
            path = tmp_path / "photos" / name / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            photo.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    # TensorFlow reads a palette's indices; Pillow has to.
    Image.new("P", (8, 8), 3).save(tmp_path / "photos" / "cat" / "palette.bmp")
    out = write_records(tmp_path / "photos", tmp_path / "records", validation_share=0.5)
    folder, records = from_folder(tmp_path / "photos", 8, 2), from_records(out, 8, 2)
    everything = [
        sorted(collect(data.validation) + collect(data.train_as_validation))
        for data in (folder, records)
    ]
    assert everything[0] == everything[1]


def test_data_become_records(tmp_path):
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    data = digits(8)
    out = write_records(data, tmp_path / "digits")
    again = from_records(out, 8, 64)
    assert (again.num_train, again.num_validation) == (1437, 360)
    assert again.class_names == data.class_names
    for (pixels, labels), (same, same_labels) in zip(
        data.validation, again.validation, strict=True
    ):
        np.testing.assert_allclose(pixels, same, atol=0.5)
        np.testing.assert_array_equal(labels, same_labels)
    assert len(list(out.glob("train-*"))) == 2


def test_nothing_is_overwritten_and_nothing_half_written(folder, records, tmp_path):
    with pytest.raises(ValueError, match=r"records exists already"):
        write_records(folder, records)
    with pytest.raises(ValueError, match="no folder"):
        write_records(tmp_path / "nowhere", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"`shards` must be a positive integer.*shards=0"):
        write_records(folder, tmp_path / "out", 0)


def test_files_that_are_cut_off(records, tmp_path):
    path = next(records.glob("train-*"))
    assert count_records(path) == 6
    cut = tmp_path / "train-0"
    for size in (path.stat().st_size - 1, 20, 5):
        cut.write_bytes(path.read_bytes()[:size])
        with pytest.raises(ValueError, match=r"train-0 is cut off after \d records, or is no"):
            count_records(cut)


@pytest.mark.parametrize(
    ("train", "options", "message"),
    [
        ("train-*", {}, "no folder of `write_records`.*validation=None"),
        ("train-*", {"validation": "v-*"}, "class_names=None"),
        (
            "nothing-*",
            {"validation": "train-*", "class_names": "ab"},
            "There are no files .*nothing",
        ),
        ("empty", {"validation": "empty", "class_names": "ab"}, "empty hold no examples"),
        ("", {"class_names": "ab"}, r"says itself .*class_names='ab'"),
    ],
)
def test_what_cannot_be_read(records, tmp_path, train, options, message):
    (tmp_path / "empty").touch()
    folder = tmp_path if train == "empty" else records
    options = {k: folder / v if k == "validation" else v for k, v in options.items()}
    with pytest.raises(ValueError, match=message):
        from_records(folder / train, 8, 2, **options)


# --- array_record ---------------------------------------------------------------------------


def test_tfds_in_array_record_files(tmp_path):
    pytest.importorskip("tensorflow_datasets", reason="needs tensorflow-datasets")
    pytest.importorskip("array_record", reason="needs array_record")
    from support.tiny_pets import TinyPets, grey_levels, levels_of

    assert TinyPets.name == "tiny_pets"

    def load():
        return from_tfds("tiny_pets", 8, 4, data_dir=tmp_path, file_format="array_record")

    data = load()
    assert list(tmp_path.rglob("*.array_record*"))
    assert (data.num_train, data.num_validation) == (20, 6)
    assert data.class_names == ("cat", "dog")
    assert grey_levels(data.train) == levels_of(range(20))
    assert grey_levels(data.validation) == levels_of(range(6))
    run = list(data.training().take(8).as_numpy_iterator())
    for one, other in zip(run[3:], load().training(3).take(5).as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_tfds_runs_go_on_as_if_uninterrupted(tmp_path):
    pytest.importorskip("tensorflow_datasets", reason="needs tensorflow-datasets")
    from support.tiny_pets import TinyPets

    assert TinyPets.name == "tiny_pets"

    def steps(start, count):
        data = from_tfds("tiny_pets", 8, 4, data_dir=tmp_path)
        return list(data.training(start).take(count).as_numpy_iterator())

    for one, other in zip(steps(0, 8)[3:], steps(3, 5), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_unknown_file_format(tmp_path):
    with pytest.raises(ValueError, match=r"`file_format` must be one of .*file_format='zip'"):
        from_tfds("tiny_pets", data_dir=tmp_path, file_format="zip")


def test_array_record_missing(monkeypatch):
    from keras_vit.data.sources import tfds

    monkeypatch.setitem(__import__("sys").modules, "array_record.python.array_record_module", None)
    with pytest.raises(ImportError, match="pip install array_record, or pass file_format"):
        tfds._require_array_record()
