"""Data that were in order when a run began and are damaged now: which file, and why.

What a run does then is in `test_survives.py`.
"""

from __future__ import annotations

import shutil

import pytest
import tensorflow as tf
from support.colour_photos import write_photos

from keras_vit.data import from_folder, from_records, from_tfds, write_records
from keras_vit.data.damage import data_errors


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("damage") / "photos", 4, ending="jpg")


@pytest.fixture(scope="module")
def records(photos):
    return write_records(photos, photos.parent / "records", shards=2)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def changed(content: bytes) -> bytes:
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


def assert_finds(data, path, damage, reason):
    """There is no damage, and after `damage` (`None`: the file goes) it is found and explained."""
    assert data.find_damage() is None
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    assert data.find_damage() == (str(path), reason)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "Truncated File Read"),
        (lambda content: bytes(300), "cannot identify image file"),
        (lambda content: b"", "the file is empty"),
        (None, "No such file or directory"),
    ],
    ids=["cut", "zeros", "empty", "gone"],
)
def test_photos(photos, tmp_path, damage, reason):
    shutil.copytree(photos, tmp_path / "photos")
    data = from_folder(tmp_path / "photos", 16, 2)
    path = tmp_path / "photos" / "green" / "2.jpg"
    assert_finds(data, path, damage, reason)


def test_a_photo_that_became_another_kind_of_file(photos, tmp_path, monkeypatch):
    from keras_vit.data import image_files

    shutil.copytree(photos, tmp_path / "photos")
    data = from_folder(tmp_path / "photos", 16, 2)
    path = tmp_path / "photos" / "red" / "1.jpg"
    check = image_files._check
    monkeypatch.setattr(
        image_files,
        "_check",
        lambda p: image_files.Photo(p, by_pillow=True) if p == path else check(p),
    )
    assert data.find_damage() == (str(path), "it is another kind of file than before")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "it ends after 2 of its 5 records"),
        (changed, "record 1 of 5: corrupted record at 12"),
        (lambda content: b"", "it ends after 0 of its 5 records"),
        (None, "No such file or directory"),
    ],
    ids=["cut", "changed", "empty", "gone"],
)
def test_records(records, tmp_path, damage, reason):
    shutil.copytree(records, tmp_path / "records")
    data = from_records(tmp_path / "records", 16, 2)
    path = tmp_path / "records" / "train-00000-of-00002.tfrecord"
    assert_finds(data, path, damage, reason)
    # Also where the records that are left could be read as if they were all.
    with pytest.raises(tf.errors.OpError):
        list(data.training().take(data.steps_per_epoch + 1))


def test_a_record_that_holds_no_image(records, tmp_path):
    shutil.copytree(records, tmp_path / "records")
    path = tmp_path / "records" / "train-00000-of-00002.tfrecord"
    examples = [example.numpy() for example in tf.data.TFRecordDataset(str(path))]
    example = tf.train.Example.FromString(examples[2])
    example.features.feature["image/encoded"].bytes_list.value[0] = b"nothing"
    examples[2] = example.SerializeToString()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            writer.write(example)
    found = from_records(tmp_path / "records", 16, 2).find_damage()
    assert found[0] == str(path)
    assert found[1].startswith("record 3 of 5: Unknown image file format")


def test_a_data_set_of_tfds(tmp_path):
    pytest.importorskip("tensorflow_datasets", reason="needs tensorflow-datasets")
    from support.tiny_pets import TinyPets

    assert TinyPets.name == "tiny_pets"
    data = from_tfds("tiny_pets", 8, 4, data_dir=tmp_path)
    (path,) = tmp_path.rglob("*-test.tfrecord*")
    path.write_bytes(changed(path.read_bytes()))
    folder, reason = data.find_damage()
    assert path.parent.as_posix() == folder
    assert reason == "example 1 of 'test': corrupted record at 12"
    path.write_bytes(changed(path.read_bytes()))
    assert data.find_damage() is None


def test_what_no_file_has_caused_is_raised_as_it_is(photos):
    data = from_folder(photos, 16, 2)
    with pytest.raises(tf.errors.InvalidArgumentError), data_errors(data):
        tf.debugging.assert_equal(1, 2)
