"""The cache and the download of released files."""

from __future__ import annotations

import socket
import traceback
import urllib.error
from pathlib import Path

import numpy as np
import pytest
from support.colour_photos import write_photos
from support.local_server import LocalServer

import keras_vit
from keras_vit.applications import download as download_module
from keras_vit.applications import download_weights
from keras_vit.applications.download import DownloadError
from keras_vit.applications.manifest import manifest
from keras_vit.applications.released_files import ReleasedFile
from keras_vit.applications.weights import cache_folder, fetch, find
from keras_vit.cli.main import main
from keras_vit.models import VARIANTS, BiTConfig, MixerConfig, ViTConfig

B16 = "B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0"
B16_384 = f"{B16}--imagenet2012-steps_20k-lr_0.03-res_384"


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_VIT_CACHE", raising=False)
    monkeypatch.delenv("KERAS_HOME", raising=False)
    assert cache_folder() == tmp_path / ".keras" / "models" / "keras_vit"
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    assert cache_folder() == tmp_path / "keras" / "models" / "keras_vit"
    monkeypatch.setenv("KERAS_VIT_CACHE", "~/weights")
    assert cache_folder() == tmp_path / "weights"


@pytest.fixture
def tiny(monkeypatch, tmp_path) -> tuple[ReleasedFile, bytes]:
    """A released file small enough for a test, with the `+` in its path that Google's have."""
    monkeypatch.setenv("KERAS_VIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download_module, "WAITS", (0.01,))
    monkeypatch.setitem(VARIANTS, "ViT_Tiny", ViTConfig(8, 16, 2, 2, 32))
    file = ReleasedFile("ViT_Tiny", "tiny", "a+b/tiny.npz", 10, 32, "this test")
    arrays = {
        name: np.zeros(shape, "float32")
        for name, shape in manifest(VARIANTS["ViT_Tiny"], 32, 10).items()
    }
    assert file.payload_bytes == sum(array.nbytes for array in arrays.values())
    path = tmp_path / "tiny.npz"
    np.savez(path, **arrays)
    return file, path.read_bytes()


@pytest.fixture
def mirror(tiny, monkeypatch):
    server = LocalServer({"mirror/a+b/tiny.npz": tiny[1]})
    monkeypatch.setenv("KERAS_VIT_WEIGHTS_URL", f"{server.root}/mirror/")
    yield server
    server.close()


def test_fetch_downloads_once_from_the_mirror(tiny, mirror):
    path = fetch(tiny[0])
    assert path == cache_folder() / "a+b" / "tiny.npz"
    assert path.read_bytes() == tiny[1]
    assert fetch(tiny[0]) == path
    assert mirror.requests == [("/mirror/a%2Bb/tiny.npz", None)]


@pytest.mark.parametrize(
    ("config", "variant", "path"),
    [
        (BiTConfig((1, 2), 0.5), "BiT_R50x1", "bit_models/BiT-S-R50x1.npz"),
        (MixerConfig(8, 16, 2, 5, 7), "Mixer_B16", "mixer_models/imagenet1k/Mixer-B_16.npz"),
        (ViTConfig(8, 16, 2, 2, 32), "ViT_B16", f"augreg/{B16}.npz"),
    ],
)
def test_a_mirror_of_every_bucket(config, variant, path, monkeypatch, tmp_path):
    """The files of ViT lie straight below a mirror, those of the others below their bucket."""
    monkeypatch.setenv("KERAS_VIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download_module, "WAITS", (0.01,))
    monkeypatch.setitem(VARIANTS, variant, config)
    released = find(variant, "imagenet21k" if variant == "ViT_B16" else "imagenet")
    shapes = manifest(config, released.image_size, released.classes)
    np.savez(tmp_path / "file.npz", **{k: np.zeros(s, "float32") for k, s in shapes.items()})
    name = next(name for name in shapes if "kernel" in name)
    broken = {k: np.zeros(s, "float32") for k, s in shapes.items() if k != name}
    np.savez(tmp_path / "broken.npz", **broken)
    server = LocalServer({f"mirror/{path}": (tmp_path / "broken.npz").read_bytes()})
    try:
        monkeypatch.setenv("KERAS_VIT_WEIGHTS_URL", f"{server.root}/mirror")
        with pytest.raises(ValueError, match=name):
            fetch(released)
        server.files[f"mirror/{path}"] = (tmp_path / "file.npz").read_bytes()
        assert fetch(released) == tmp_path / "cache" / path
        assert fetch(released).read_bytes() == server.files[f"mirror/{path}"]
        assert len(server.requests) == 2
    finally:
        server.close()


def test_fetch_from_a_folder(tiny, tmp_path, monkeypatch):
    (tmp_path / "a+b").mkdir()
    (tmp_path / "tiny.npz").rename(tmp_path / "a+b" / "tiny.npz")
    monkeypatch.setenv("KERAS_VIT_WEIGHTS_URL", f"file://{tmp_path}")
    assert fetch(tiny[0]).read_bytes() == tiny[1]


def test_fetch_checks_the_arrays(tiny, mirror):
    other_head = ReleasedFile("ViT_Tiny", "tiny", "a+b/tiny.npz", 11, 32, "this test")
    with pytest.raises(ValueError, match="head/kernel") as error:
        fetch(other_head)
    assert mirror.root in error.value.__notes__[0]
    assert not any(path.suffix != ".lock" for path in cache_folder().rglob("*.*"))
    fetch(tiny[0])


def test_fetch_checks_a_cut_file(tiny, mirror):
    """A server that announces the length of what it has left of the file."""
    mirror.files["mirror/a+b/tiny.npz"] = tiny[1][:-100]
    with pytest.raises(ValueError, match="cut off"):
        fetch(tiny[0])
    assert not (cache_folder() / tiny[0].path).exists()


def test_fetch_checks_a_pin(tiny, mirror):
    with pytest.raises(ValueError, match="SHA-256"):
        fetch(tiny[0], sha256="0" * 64)
    path = fetch(tiny[0])
    with pytest.raises(ValueError, match=r"SHA-256.*delete it first"):
        fetch(tiny[0], sha256="0" * 64)
    assert path.exists()


def test_fetch_says_how_to_go_on_without_a_server(tiny, mirror):
    mirror.files.clear()
    with pytest.raises(DownloadError, match="404") as error:
        fetch(tiny[0])
    assert "KERAS_VIT_WEIGHTS_URL" in str(error.value)


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    def unreachable(*args, **options):
        raise urllib.error.URLError(socket.gaierror(-2, "Name or service not known"))

    monkeypatch.setattr(download_module.urllib.request, "urlopen", unreachable)
    monkeypatch.setattr(download_module, "WAITS", ())
    monkeypatch.setenv("KERAS_VIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KERAS_VIT_WEIGHTS_URL", raising=False)


def assert_says_what_to_do(text: str, path: str) -> None:
    assert len(text.splitlines()) <= 8
    assert "perhaps there is no network" in text and "Name or service not known" in text
    for way in ("a path: ", "the cache folder: ", path, "a mirror: set KERAS_VIT_WEIGHTS_URL"):
        assert way in text


@pytest.mark.parametrize("variant", ["ViT_Ti16", "R50_ViT_B16", "BiT_R50x1", "Mixer_B16"])
def test_without_a_network(no_network, tmp_path, variant):
    """The message is all that Python shows: no error behind it, no error while handling one."""
    with pytest.raises(DownloadError) as error:
        getattr(keras_vit, variant)(weights="imagenet21k")
    assert_says_what_to_do(str(error.value), str(tmp_path / "cache"))
    shown = "".join(traceback.format_exception(error.value))
    assert shown.count("Traceback") == 1


def test_the_commands_without_a_network(no_network, tmp_path, capsys):
    photos = write_photos(tmp_path / "photos", 1)
    out = str(tmp_path / "out")
    for arguments in (
        ["predict", str(photos / "red" / "0.png"), "--model", "ViT_Ti16"],
        ["visualize", "ViT_Ti16", "--photos", str(photos), "--out", out],
    ):
        assert main(arguments) == 2
        assert_says_what_to_do(capsys.readouterr().err, str(tmp_path / "cache"))


def test_download_weights(ti16_path: Path, tmp_path, monkeypatch):
    """The real file, from a folder that is laid out as Google's bucket."""
    mirror = tmp_path / "mirror"
    (mirror / "augreg").mkdir(parents=True)
    (mirror / "augreg" / ti16_path.name).symlink_to(ti16_path)
    monkeypatch.setenv("KERAS_VIT_WEIGHTS_URL", f"file://{mirror}")
    monkeypatch.setenv("KERAS_VIT_CACHE", str(tmp_path / "cache"))
    pin = "b833dc0066138cf8d393c138c36fc0850e46cf4478f07a56c33e6c3c0acc889a"
    path = download_weights("ViT_Ti16", "imagenet", sha256=pin)
    assert path == tmp_path / "cache" / "augreg" / ti16_path.name
    assert path.stat().st_size - find("ViT_Ti16", "imagenet").payload_bytes in range(100_000)
    with pytest.raises(DownloadError, match="res_384"):
        download_weights("ViT_Ti16", "imagenet", image_size=384)
