"""Files and folders appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from keras_vit.utils import files
from keras_vit.utils.files import (
    check_target,
    check_writable,
    new_folder,
    replacing,
    write_csv,
    write_json,
)

ERRORS = [KeyboardInterrupt, RuntimeError, OSError(errno.ENOSPC, "No space left on device")]


def contents(folder: Path) -> dict[str, str]:
    """All files below a folder, hidden ones too; and folders without any."""
    paths = [path for path in folder.rglob("*") if path.is_file() or not any(path.iterdir())]
    return {
        str(path.relative_to(folder)): path.read_text("utf-8") if path.is_file() else "folder"
        for path in paths
    }


def make_folder(path: Path, text: str) -> None:
    path.mkdir()
    (path / "a").write_text(text)


# --- a file ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a b.txt", "ä.txt", ".hidden", "plain"])
def test_a_file_appears_at_the_end(tmp_path, name):
    path = tmp_path / name
    with replacing(path) as temporary:
        assert temporary.name == name  # some writers go by the ending
        temporary.write_text("new")
        assert not path.exists()
    assert contents(tmp_path) == {name: "new"}
    (tmp_path / "by hand").write_text("")
    assert path.stat().st_mode == (tmp_path / "by hand").stat().st_mode


def test_a_file_that_is_there_stays_until_the_end(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert contents(tmp_path) == {"a": "new"}


@pytest.mark.parametrize("error", ERRORS, ids=str)
@pytest.mark.parametrize("place", [None, "place"])
def test_an_interrupted_file_leaves_what_was_there(tmp_path, error, place):
    path = tmp_path / "a"
    for before in ({}, {"a": "old"}):
        for name, text in before.items():
            (tmp_path / name).write_text(text)
        with (
            pytest.raises(type(error) if isinstance(error, OSError) else error),
            replacing(path, place and tmp_path / place) as temporary,
        ):
            temporary.write_text("half")
            raise error
        assert contents(tmp_path) == before


@pytest.mark.parametrize("sync", [False, True])
def test_a_full_disk_when_the_name_is_given(tmp_path, monkeypatch, sync):
    """The disk says so at the last moment: when the bytes are brought to it, or at the rename."""

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a").write_text("old")
    monkeypatch.setattr(*((files.os, "fsync") if sync else (Path, "replace")), full)
    with pytest.raises(OSError, match="No space"), replacing(tmp_path / "a", sync=sync) as t:
        t.write_text("new")
    assert contents(tmp_path) == {"a": "old"}


def test_the_bytes_are_on_the_disk_before_the_name(tmp_path, monkeypatch):
    synced = []

    def fsync(descriptor):
        synced.append((os.path.realpath(f"/proc/self/fd/{descriptor}"), path.exists()))

    path = tmp_path / "a"
    monkeypatch.setattr(files.os, "fsync", fsync)
    with replacing(path, tmp_path / "place", sync=True) as temporary:
        temporary.write_text("new")
    folder = os.path.realpath(tmp_path)
    assert synced == [(f"{folder}/place", False), (folder, True)]


def test_a_place_of_its_own_is_emptied_first(tmp_path):
    for make in (lambda path: path.write_text("rest"), lambda path: make_folder(path, "rest")):
        make(tmp_path / "place")
        with replacing(tmp_path / "a", tmp_path / "place") as temporary:
            assert not temporary.exists()
            temporary.write_text("new")
        assert contents(tmp_path) == {"a": "new"}


def test_nothing_written_is_an_error_and_leaves_what_was_there(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        pass
    assert contents(tmp_path) == {"a": "old"}


def test_tables_and_json(tmp_path):
    write_csv(tmp_path / "t.csv", [["a", "b"], [1, 'x, "y"'], (2.5, "ä")])
    write_json(tmp_path / "t.json", {"a": [1, "ä"]})
    assert (tmp_path / "t.csv").read_bytes() == 'a,b\r\n1,"x, ""y"""\r\n2.5,ä\r\n'.encode()
    assert json.loads((tmp_path / "t.json").read_text("utf-8")) == {"a": [1, "ä"]}
    before = contents(tmp_path)
    with pytest.raises(TypeError):
        write_json(tmp_path / "t.json", {"a": object()})
    with pytest.raises(ZeroDivisionError):
        write_csv(tmp_path / "t.csv", ([1 / (3 - n)] for n in range(9)))
    assert contents(tmp_path) == before


# --- a folder -------------------------------------------------------------------------------


def test_a_folder_replaces_a_folder(tmp_path):
    make_folder(tmp_path / "1", "old")
    (tmp_path / "1" / "b").write_text("old")
    with replacing(tmp_path / "1") as temporary:
        make_folder(temporary, "new")
    assert contents(tmp_path) == {"1/a": "new"}


def test_a_folder_whose_name_cannot_be_given_leaves_the_old_one(tmp_path, monkeypatch):
    make_folder(tmp_path / "1", "old")
    rename = Path.rename

    def fail(path, target):
        if path.parent != tmp_path:  # the new one; the old one moves out of the way, and back
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "1") as temporary:
        make_folder(temporary, "new")
    assert contents(tmp_path) == {"1/a": "old"}


@pytest.mark.parametrize("made", ["file", "folder"])
def test_neither_kind_replaces_the_other(tmp_path, made):
    path = tmp_path / "a"
    if made == "file":
        make_folder(path, "old")
    else:
        path.write_text("old")
    before = contents(tmp_path)
    with pytest.raises(OSError), replacing(path) as temporary:
        if made == "file":
            temporary.write_text("new")
        else:
            make_folder(temporary, "new")
    assert contents(tmp_path) == before


# --- a new folder ---------------------------------------------------------------------------


def test_new_folder_appears_at_the_end(tmp_path):
    target = tmp_path / "runs" / "one"
    with new_folder(target) as folder:
        (folder / "a").write_text("a")
        assert not target.exists()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["one"]
    assert (target / "a").read_text() == "a"
    (tmp_path / "plain").mkdir()
    assert target.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_existing_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "one").mkdir()
    with (
        pytest.raises(ValueError, match=r"one exists already.*--overwrite"),
        new_folder(tmp_path / "one"),
    ):
        pytest.fail("the work was begun")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_overwrite_keeps_the_old_folder(tmp_path):
    for i in range(3):
        with new_folder(tmp_path / "one", overwrite=True) as folder:
            (folder / "a").write_text(str(i))
            if i > 0:
                assert (tmp_path / "one" / "a").read_text() == str(i - 1)
    held = {path.name: (path / "a").read_text() for path in tmp_path.iterdir()}
    assert held == {"one": "2", "one.old": "0", "one.old-2": "1"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_interrupted_work_leaves_no_folder(tmp_path, error):
    with pytest.raises(error), new_folder(tmp_path / "one"):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_interrupted_work_does_not_touch_the_old_folder(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "one", overwrite=True) as folder:
        (folder / "a").write_text("half")
        raise KeyboardInterrupt
    held = {path.name: (path / "a").read_text() for path in tmp_path.iterdir()}
    assert held == {"one": "old", "one.unfinished": "half"}


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="Cannot write in"), new_folder(tmp_path / "file" / "one"):
        pytest.fail("the work was begun")


def test_a_place_is_emptied_first_and_after_an_error(tmp_path):
    place = tmp_path / "run" / "results"
    place.mkdir(parents=True)
    (place / "rest").write_text("")
    with pytest.raises(RuntimeError), new_folder(tmp_path / "one", place=place) as folder:
        assert folder == place and not any(folder.iterdir())
        (folder / "a").write_text("half")
        raise RuntimeError
    assert contents(tmp_path) == {"run": "folder"}
    with new_folder(tmp_path / "one", place=place) as folder:
        (folder / "a").write_text("new")
    assert contents(tmp_path) == {"run": "folder", "one/a": "new"}


def test_check_writable(tmp_path):
    check_writable(tmp_path / "a b" / "c")
    assert contents(tmp_path) == {"a b/c": "folder"}
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="Cannot write in"):
        check_writable(tmp_path / "file")


def test_check_target(tmp_path):
    path = tmp_path / "a.png"
    assert check_target(str(path), ".png", overwrite=False) == path
    assert check_target(tmp_path / "folder", None, overwrite=False) == tmp_path / "folder"
    with pytest.raises(ValueError, match=r"must end with \.npz"):
        check_target(path, ".npz", overwrite=True)
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        check_target(tmp_path / "b" / "a.png", ".png", overwrite=False)
    path.write_text("")
    with pytest.raises(FileExistsError, match="--overwrite"):
        check_target(path, ".png", overwrite=False)
    check_target(path, ".png", overwrite=True)
    with pytest.raises(FileExistsError, match=r"Choose another name\.$"):
        check_target(tmp_path, None, overwrite=True)
