from __future__ import annotations

import os
import signal

import pytest

from keras_vit.utils import locks
from keras_vit.utils.locks import one_process


def test_a_second_one_is_refused_at_once_and_told_the_first(tmp_path):
    out = tmp_path / "run"
    with one_process(out):
        assert (tmp_path / "run.lock").is_file()
        for _ in range(2):  # the first refusal does not wipe out who holds it
            with (
                pytest.raises(ValueError, match=rf"writing '.*run': process {os.getpid()} on .*20"),
                one_process(out),
            ):
                pytest.fail("two at once")
        with one_process(tmp_path / "other"):
            pass
    assert list(tmp_path.iterdir()) == []
    with one_process(out):
        pass


def test_an_error_leaves_no_lock(tmp_path):
    with pytest.raises(KeyError), one_process(tmp_path / "run"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_process_leaves_no_lock_that_hinders(tmp_path):
    out = tmp_path / "run"
    ready, say = os.pipe()
    child = os.fork()
    if child == 0:
        with one_process(out):
            os.write(say, b"x")
            signal.pause()
    os.read(ready, 1)
    with pytest.raises(ValueError, match=f"process {child} on"), one_process(out):
        pytest.fail("two at once")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for descriptor in (ready, say):
        os.close(descriptor)
    assert (tmp_path / "run.lock").is_file()
    with one_process(out):
        assert f"{os.getpid()} on" in (tmp_path / "run.lock").read_text()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", [b"", b"\xff\x00", b"\x1b[31m" * 1000])
def test_what_the_file_says_is_not_trusted(tmp_path, text):
    with one_process(tmp_path / "run"):
        (tmp_path / "run.lock").write_bytes(text)
        with pytest.raises(ValueError, match="Another process") as error:
            one_process(tmp_path / "run").__enter__()
        assert "\x1b" not in str(error.value) and len(str(error.value)) < 1500


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def no_lock(self, **options):
        raise OSError("No locks available")

    monkeypatch.setattr(locks.filelock.FileLock, "acquire", no_lock)
    with one_process(tmp_path / "run"), one_process(tmp_path / "run"):
        pass
