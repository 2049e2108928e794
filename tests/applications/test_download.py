from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest
from support.local_server import LocalServer

from keras_vit.applications import download as module
from keras_vit.applications.download import DownloadError, download

BODY = bytes(range(251)) * 8000  # 2 MB, and no two places look alike to a shifted copy
SHA256 = hashlib.sha256(BODY).hexdigest()
HALF = len(BODY) // 2


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "WAITS", (0.01, 0.01))
    server = LocalServer({"weights.npz": BODY})
    yield server
    server.close()


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "cache" / "weights.npz"


def get(server: LocalServer, target: Path, **options) -> Path:
    return download(f"{server.root}/weights.npz", target, progress=False, **options)


def names(target: Path) -> list[str]:
    """The files beside the target, without the lock."""
    return sorted(p.name for p in target.parent.iterdir() if p.suffix != ".lock")


def test_brings_the_file_and_leaves_nothing_else(server, target):
    seen = []

    def check(path):
        assert not target.exists()
        seen.append(path.read_bytes())

    assert get(server, target, sha256=SHA256.upper(), check=check) == target
    assert target.read_bytes() == BODY
    assert seen == [BODY]
    assert names(target) == ["weights.npz"]


def test_does_not_ask_for_what_is_there(server, target):
    get(server, target)
    get(server, target, sha256=SHA256)
    assert len(server.requests) == 1


def test_goes_on_after_the_connection_ends_early(server, target):
    server.cut = [HALF, 1000]
    get(server, target, sha256=SHA256)
    ranges = [r for _, r in server.requests]
    assert ranges == [None, f"bytes={HALF}-", f"bytes={HALF + 1000}-"]


def test_a_body_that_is_always_cut_is_an_error_and_is_continued_by_the_next_call(server, target):
    server.cut = [HALF, 0, 0]
    with pytest.raises(DownloadError, match=rf"ended after {HALF} of {len(BODY)} bytes.*again"):
        get(server, target)
    assert names(target) == ["weights.npz.partial", "weights.npz.partial.json"]
    get(server, target, sha256=SHA256)
    assert server.requests[-1] == ("/weights.npz", f"bytes={HALF}-")
    assert names(target) == ["weights.npz"]


def interrupt(server, target):
    server.cut = [HALF, 0, 0]
    with pytest.raises(DownloadError):
        get(server, target)


def test_a_file_that_changed_on_the_server_is_not_mixed(server, target):
    interrupt(server, target)
    server.etag, server.files["weights.npz"] = '"two"', BODY[::-1]
    get(server, target)
    assert target.read_bytes() == BODY[::-1]
    assert len(server.requests) == 4  # the server saw the old validator and sent all of it


def test_a_server_that_ignores_the_condition_is_not_trusted(server, target):
    interrupt(server, target)
    partial = target.with_name("weights.npz.partial")
    note = json.loads(partial.with_name(partial.name + ".json").read_text())
    # The server compares nothing and answers with the rest of the new file.
    server.etag, server.files["weights.npz"] = note["etag"], BODY[::-1] + b"more"
    get(server, target)
    assert target.read_bytes() == BODY[::-1] + b"more"
    assert [r for _, r in server.requests][-2:] == [f"bytes={HALF}-", None]


def test_a_file_that_became_shorter_starts_afresh(server, target):
    interrupt(server, target)
    server.files["weights.npz"] = BODY[:1000]
    get(server, target)
    assert target.read_bytes() == BODY[:1000]


@pytest.mark.parametrize("spoil", ["no ranges", "no validator", "note", "other url"])
def test_starts_afresh_when_it_cannot_go_on(server, target, spoil):
    if spoil == "no validator":
        server.etag = None
    if spoil == "no ranges":
        server.ranges = False
    if spoil == "other url":
        server.files["mirror/weights.npz"] = BODY
        server.cut = [HALF, 0, 0]
        with pytest.raises(DownloadError):
            download(f"{server.root}/mirror/weights.npz", target, progress=False)
    else:
        interrupt(server, target)
    if spoil == "note":
        target.with_name("weights.npz.partial.json").write_text('{"url": ')
    get(server, target)
    assert target.read_bytes() == BODY
    if spoil != "no ranges":
        assert server.requests[3:] == [("/weights.npz", None)]


def test_a_body_of_unknown_length(server, target):
    server.length = False
    get(server, target, sha256=SHA256)
    assert names(target) == ["weights.npz"]


def test_not_found_is_said_at_once(server, target):
    url = f"{server.root}/other.npz"
    with pytest.raises(DownloadError, match=rf"{url}: the server answered 404"):
        download(url, target, progress=False)
    assert len(server.requests) == 1
    assert names(target) == []


def test_a_busy_server_is_asked_again(server, target):
    server.statuses = [503, 429]
    get(server, target, sha256=SHA256)
    assert len(server.requests) == 3


def test_a_silent_server_is_asked_again(server, target, monkeypatch):
    monkeypatch.setattr(module, "WAITS", (0.01,) * 20)  # a busy machine may need more than one
    server.stall = [module.CHUNK + 1]
    began = time.monotonic()
    get(server, target, sha256=SHA256, timeout=0.5)
    assert time.monotonic() - began < 20
    first, *others = [r for _, r in server.requests]
    assert first is None
    assert set(others) == {f"bytes={module.CHUNK}-"}


def test_no_server(target, monkeypatch):
    monkeypatch.setattr(module, "WAITS", (0.01,))
    server = LocalServer({})
    server.close()
    with pytest.raises(DownloadError, match="Connection refused"):
        get(server, target)
    assert names(target) == []


def test_wrong_bytes_are_deleted(server, target):
    server.files["weights.npz"] = BODY[:-1] + b"?"
    with pytest.raises(ValueError, match=f"Expected: sha256='{SHA256}'"):
        get(server, target, sha256=SHA256)
    assert names(target) == []
    server.files["weights.npz"] = BODY
    get(server, target, sha256=SHA256)
    assert server.requests[-1] == ("/weights.npz", None)


def test_what_the_check_rejects_is_deleted(server, target):
    def check(path):
        raise KeyError("no array 'cls'")

    with pytest.raises(KeyError, match="cls") as error:
        get(server, target, check=check)
    assert server.root in error.value.__notes__[0]
    assert names(target) == []


def test_a_cached_file_with_another_hash_stays(server, target):
    get(server, target)
    with pytest.raises(ValueError, match=rf"weights\.npz.* has the SHA-256 {SHA256}.*delete"):
        get(server, target, sha256="0" * 64)
    assert target.read_bytes() == BODY


def test_arguments(target):
    with pytest.raises(ValueError, match=r"must start with.*Received: url='ftp://host/file'"):
        download("ftp://host/file", target)
    with pytest.raises(ValueError, match=r"Received: url='/folder/file'"):
        download("/folder/file", target)
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        download("https://host/file", target, sha256="abc")
    assert not target.parent.exists()


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match=r"Cannot write to the folder .*file"):
        get(server, tmp_path / "file" / "weights.npz")
    assert server.requests == []


def test_too_little_space_is_said_before_the_body(server, target, monkeypatch):
    usage = namedtuple("usage", "free")(len(BODY) - 1)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(DownloadError, match="2 MiB are still to come"):
        get(server, target)
    assert names(target) == []


def test_a_full_disk(server, target, monkeypatch):
    def fsync(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", fsync)
    with pytest.raises(DownloadError, match=r"Cannot write to the folder .*no space left"):
        get(server, target)
    assert len(server.requests) == 1  # another try would not help
    assert not target.exists()


def test_a_file_system_without_locks(server, target, monkeypatch):
    def no_lock(self, **options):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(module.filelock.FileLock, "acquire", no_lock)
    seen = []
    get(server, target, sha256=SHA256, check=seen.append)
    assert seen == [target.with_name(f"weights.npz.{os.getpid()}.partial")]
    assert names(target) == ["weights.npz"]


def test_file_urls(tmp_path, target):
    (tmp_path / "a+b.npz").write_bytes(BODY)
    download(f"file://{tmp_path}/a%2Bb.npz", target, sha256=SHA256, progress=False)
    assert target.read_bytes() == BODY
    with pytest.raises(DownloadError, match="No such file"):
        download(f"file://{tmp_path}/missing.npz", tmp_path / "missing", progress=False)


def test_progress(server, target, capsys):
    get(server, target)
    assert capsys.readouterr() == ("", "")
    target.unlink()
    download(f"{server.root}/weights.npz", target)
    out, err = capsys.readouterr()
    assert out == ""
    assert "Downloading weights.npz (1.9 MiB)" in err
    assert "100 %" in err


# Other processes. They load the module from its file: it needs no Keras.

CHILD = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("download", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.download(sys.argv[2], sys.argv[3], sha256=sys.argv[4])
"""


def start_child(server: LocalServer, target: Path) -> subprocess.Popen:
    arguments = [module.__file__, f"{server.root}/weights.npz", str(target), SHA256]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], stderr=subprocess.PIPE, text=True
    )


def wait_until(condition) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("waited 30 seconds in vain")


def test_two_processes_at_once_download_once(server, target):
    server.stall = [HALF]
    first = start_child(server, target)
    wait_until(lambda: server.requests)
    second = start_child(server, target)
    assert "Waiting for another process" in second.stderr.readline()
    server.go.set()
    errors = [child.communicate(timeout=60)[1] for child in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], errors
    assert target.read_bytes() == BODY
    assert len(server.requests) == 1
    assert names(target) == ["weights.npz"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_process_leaves_no_target_and_no_lock(server, target):
    server.stall = [module.CHUNK + 1000]
    partial = target.with_name("weights.npz.partial")
    child = start_child(server, target)
    wait_until(lambda: partial.exists() and partial.stat().st_size == module.CHUNK)
    child.kill()
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    assert names(target) == ["weights.npz.partial", "weights.npz.partial.json"]

    get(server, target, sha256=SHA256)
    assert server.requests[-1] == ("/weights.npz", f"bytes={module.CHUNK}-")
    assert names(target) == ["weights.npz"]
