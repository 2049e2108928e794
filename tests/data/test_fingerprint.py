"""What of the data is noticed when a run is taken up: names and sizes, or every byte."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.colour_photos import write_photos

from keras_vit.data import digits, from_arrays, from_folder, from_records, write_records
from keras_vit.data.fingerprint import of_files


def write(folder: Path, **contents: str) -> Path:
    folder.mkdir()
    for name, text in contents.items():
        (folder / name).write_text(text)
    return folder


def test_of_files(tmp_path):
    def both(folder):
        fingerprint = of_files(folder, folder.iterdir())
        return fingerprint(False), of_files(folder, folder.iterdir())(True)

    names, bytes_ = both(write(tmp_path / "one", a="xx", b="yyy"))
    assert re.fullmatch(r"2 files of 5 bytes, [0-9a-f]{16}", names)
    assert names != bytes_
    # The folder may be another; the order on the disk too.
    assert both(write(tmp_path / "two", b="yyy", a="xx")) == (names, bytes_)
    renamed = both(write(tmp_path / "three", a="xx", c="yyy"))
    longer = both(write(tmp_path / "four", a="xx", b="yyyy"))
    moved = both(write(tmp_path / "five", a="xxy", b="yy"))
    assert len({names, renamed[0], longer[0], moved[0]}) == 4
    touched = both(write(tmp_path / "six", a="xx", b="yyz"))
    assert touched[0] == names and touched[1] != bytes_


def test_folders_and_records(tmp_path):
    photos = write_photos(tmp_path / "photos", 3)
    records = write_records(photos, tmp_path / "records", shards=1)
    for make, folder in ((from_folder, photos), (from_records, records)):

        def prints(make=make, folder=folder):
            found = make(folder, 6, 2)
            return found.fingerprint(False), found.fingerprint(True)

        before = prints()
        assert prints() == before
        moved = shutil.copytree(folder, tmp_path / f"{folder.name} moved")
        assert make(moved, 6, 2).fingerprint(True) == before[1]
    path = photos / "red" / "0.png"
    shutil.copy(photos / "green" / "0.png", path)
    assert from_folder(photos, 6, 2).fingerprint(True) != prints()[1]
    os.rename(path, photos / "red" / "9.png")
    assert len({from_folder(folder, 6, 2).fingerprint(False) for folder in (
        photos, tmp_path / "photos moved")}) == 2  # fmt: skip


def test_arrays():
    pixels, labels = np.zeros((4, 5, 6, 3), "uint8"), np.array([0, 1, 0, 1])

    def prints(pixels, labels=labels):
        found = from_arrays((pixels, labels), (pixels[:2], labels[:2]), ("a", "b"), 5, 2)
        assert found.fingerprint is not None
        return found.fingerprint(False), found.fingerprint(True)

    before = prints(pixels)
    assert before == prints(pixels.copy())
    other = prints(pixels + np.uint8(1))
    assert other[0] == before[0] and other[1] != before[1]
    assert prints(pixels, 1 - labels)[1] != before[1]
    turned = prints(pixels.transpose(0, 2, 1, 3))
    assert turned[0] != before[0] and turned[1] != before[1]
    assert digits().fingerprint(True) == digits().fingerprint(True)


@pytest.mark.skipif(os.name != "posix", reason="needs names of any bytes")
def test_names_that_are_no_utf8(tmp_path):
    """Class folders and photos of any name are found, read, written as records and compared."""
    photos = write_photos(tmp_path / "photos", 2)
    strange = [photos / os.fsdecode(b"caf\xe9"), photos / "two\nlines", photos / "\x1b[31m$^$"]
    for old, new in zip(sorted(photos.iterdir()), strange, strict=True):
        (old / "0.png").rename(old / os.fsdecode(b"\xff\n.png"))
        old.rename(new)
    data = from_folder(photos, 6, 2, validation_share=0.5)
    assert set(data.class_names) == {path.name for path in strange}
    again = from_records(write_records(photos, tmp_path / os.fsdecode(b"rec\xff")), 6, 2)
    assert again.class_names == data.class_names
    for found in (data, again):
        assert sum(len(labels) for _, labels in found.validation) == 3
        assert found.fingerprint(True) != found.fingerprint(False)
    # A file that cannot be read is named in one line of the message.
    (strange[1] / "b\x1b\nroken.png").write_bytes(b"")
    with pytest.raises(ValueError, match="cannot be read") as error:
        from_folder(photos, 6, 2)
    assert str(error.value).splitlines()[1:] == [
        r"  two\u000alines/b\u001b\u000aroken.png: the file is empty"
    ]
