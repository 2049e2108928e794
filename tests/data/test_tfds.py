"""Data sets by name, with small ones that are generated on the spot."""

from __future__ import annotations

import io
import traceback

import numpy as np
import pytest
from PIL import Image
from support.tiny_pets import grey_levels, levels_of, tfds

from keras_vit import runs
from keras_vit.data import from_tfds
from keras_vit.evaluate import open_data
from keras_vit.runs import from_settings


def test_names_splits_and_images(tmp_path):
    data = from_tfds("tiny_pets", 8, 4, data_dir=tmp_path)
    assert data.class_names == ("cat", "dog")
    assert (data.num_train, data.num_validation, data.name) == (20, 6, "tiny_pets")
    assert grey_levels(data.train) == levels_of(range(20))
    assert grey_levels(data.validation) == levels_of(range(6))


def test_a_tenth_is_held_out_where_there_is_nothing_else(tmp_path):
    data = from_tfds("tiny_grey_pets", 8, 4, data_dir=tmp_path)
    assert (data.num_train, data.num_validation) == (36, 4)
    levels = grey_levels(data.train) + grey_levels(data.validation)
    assert sorted(levels) == levels_of(range(40))


def test_splits_of_ones_own(tmp_path):
    data = from_tfds(
        "tiny_pets", 8, 4, train_split="train[:8]", validation_split="test", data_dir=tmp_path
    )
    assert (data.num_train, data.num_validation) == (8, 6)


@pytest.mark.parametrize(
    ("name", "splits", "message"),
    [
        ("no_such_pets", {}, "neither a folder nor a TensorFlow data set called 'no_such_pets'"),
        ("photos/of/pets/", {}, r"no folder 'photos/of/pets/', and .*[^:]$"),
        ("tiny_pets", {"validation_split": "dev"}, r"splits \['test', 'train'\].*'dev'"),
        ("tiny_grey_pets", {"train_split": "train[:8]"}, "name both `train_split` and"),
        ("tiny_unlabelled", {}, "one class label each.*tiny_unlabelled"),
    ],
)
def test_what_cannot_be_loaded(tmp_path, name, splits, message):
    with pytest.raises(ValueError, match=message):
        from_tfds(name, 8, 4, data_dir=tmp_path, **splits)


def test_a_run_finds_a_data_set_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
    data = from_settings.data_for(runs.settings_for("tiny_pets", image_size=8))
    assert (data.name, data.image_size) == ("tiny_pets", (8, 8))


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_a_split_to_evaluate_on(tmp_path, file_format):
    if file_format == "array_record":
        pytest.importorskip("array_record", reason="needs array_record")
    tfds.builder("tiny_imagenet", data_dir=tmp_path, file_format=file_format).download_and_prepare()
    data = open_data("tiny_imagenet", 8, data_dir=tmp_path)
    images, labels, numbers = zip(*data.dataset.as_numpy_iterator(), strict=True)
    levels = {int(n): (int(label), round(float(x.mean()))) for x, label, n in
              zip(images, labels, numbers, strict=True)}  # fmt: skip
    assert levels == {0: (0, 0), 19: (1, 101), 20: (0, 2)}
    assert (data.count, data.class_names) == (3, ("n01440764", "n01443537"))
    assert data.find_damage() is None
    with pytest.raises(ValueError, match=r"splits \['train', 'validation'\].*'dev'"):
        open_data("tiny_imagenet", 8, split="dev", data_dir=tmp_path)


def test_the_split_to_evaluate_on_is_said_or_clear(tmp_path):
    assert open_data("tiny_pets", 8, data_dir=tmp_path).count == 6
    some = open_data("tiny_pets", 8, split="train[:5]", data_dir=tmp_path)
    assert (some.count, some.name) == (5, "tiny_pets, train[:5]")
    assert len(list(some.dataset)) == 5
    assert open_data("tiny_grey_pets", 8, data_dir=tmp_path).count == 40


def test_without_a_network(tmp_path, monkeypatch):
    """A sentence and three ways out, with nothing behind it; an error of the disk stays."""
    disk = OSError(28, "No space left on device")
    reset, no_host = ConnectionResetError(104, "reset"), OSError("HTTPSConnectionPool: no\x1b host")
    errors = iter([reset, reset, no_host, no_host, disk])

    def fails(*_, **__):
        raise next(errors)

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fails)
    for find in (from_tfds, open_data, from_tfds, open_data):
        with pytest.raises(OSError, match="'tiny_pets', perhaps there is no network") as raised:
            find("tiny_pets", 8, data_dir=tmp_path)
        text = str(raised.value)
        assert len(text.splitlines()) == 5 and "\x1b" not in text
        assert "".join(traceback.format_exception(raised.value)).count("Traceback") == 1
    with pytest.raises(OSError, match="No space") as raised:
        from_tfds("tiny_pets", 8, data_dir=tmp_path)
    assert raised.value is disk


def test_the_files_are_compared_when_a_run_is_taken_up(tmp_path):
    data = from_tfds("tiny_pets", 8, 4, data_dir=tmp_path)
    assert data.fingerprint is not None
    before = data.fingerprint(False), data.fingerprint(True)
    again = from_tfds("tiny_pets", 8, 4, data_dir=tmp_path)
    assert again.fingerprint is not None
    assert (again.fingerprint(False), again.fingerprint(True)) == before
    path = next(tmp_path.rglob("*train*.tfrecord*"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert again.fingerprint(False) == before[0] and again.fingerprint(True) != before[1]


def test_jpegs_are_decoded_as_pillow_does(tmp_path):
    builder = tfds.builder("tiny_photos", data_dir=tmp_path)
    builder.download_and_prepare()
    decoders = {"image": tfds.decode.SkipDecoding()}
    files = builder.as_dataset(split="test", decoders=decoders, shuffle_files=False)
    found = open_data("tiny_photos", (24, 32), data_dir=tmp_path).dataset
    for example, (image, _, _) in zip(files, found, strict=True):
        with Image.open(io.BytesIO(example["image"].numpy())) as photo:
            np.testing.assert_array_equal(image, np.asarray(photo.convert("RGB")))
