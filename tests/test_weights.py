from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from local_server import LocalServer

from keras_vit import download as download_module
from keras_vit import weights as weights_module
from keras_vit.checkpoints import manifest
from keras_vit.download import DownloadError
from keras_vit.variants import VARIANTS, ViTConfig
from keras_vit.weights import (
    RELEASED,
    ReleasedFile,
    available,
    cache_folder,
    download_weights,
    fetch,
    find,
)

B16 = "B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0"
B16_384 = f"{B16}--imagenet2012-steps_20k-lr_0.03-res_384"
NAMES = [f"{file.variant}-{file.name}" for file in RELEASED]


# The table.


def test_a_name_means_one_file():
    assert len(set(NAMES)) == len(RELEASED)
    assert len({file.path for file in RELEASED}) == len(RELEASED)


@pytest.mark.parametrize("variant", sorted(set(VARIANTS) - {"R26_ViT_B32"}))
def test_every_variant_but_one_has_a_file_for_transfer(variant):
    file = find(variant, "imagenet21k")
    assert file.classes == 21843
    assert file.zero_head == (variant in ("ViT_L32", "ViT_H14", "R50_ViT_B16"))
    with pytest.raises(ValueError, match="no weights for R26_ViT_B32"):
        find("R26_ViT_B32", "imagenet21k")


@pytest.mark.parametrize("file", RELEASED, ids=NAMES)
def test_file_names_and_columns_agree(file):
    folder, _, name = file.path.partition("/")
    assert file.file_name == name
    kind, trained_on, *size = file.name.split("-")
    assert file.source.startswith({"augreg": "AugReg", "original": "ViT", "sam": "SAM"}[kind])
    assert file.classes == {"imagenet21k": 21843, "imagenet": 1000}[trained_on]
    assert [str(file.image_size)] == (size or ["224"])
    if kind == "augreg":
        # The same row again, made from the name alone.
        model = file.variant.removeprefix("ViT_")
        made_up = find(file.variant, name.replace("-300ep", "-299ep", 1))
        assert made_up.path == file.path.replace("-300ep", "-299ep", 1)
        assert (made_up.classes, made_up.image_size) == (file.classes, file.image_size)
        letters = re.sub(r"(\d+)$", r"_\1", model.replace("_ViT", ""))  # R50_ViT_L32 -> R50_L_32
        assert name.startswith(f"{letters}-i21k-300ep-lr_0.001-")
    else:
        assert name.startswith(_paper_name(file.variant))
        assert (
            folder
            == {
                "original-imagenet21k": "imagenet21k",
                "original-imagenet": "imagenet21k+imagenet2012",
                "sam-imagenet": "sam",
            }[f"{kind}-{trained_on}"]
        )
    original_head = file.name == "original-imagenet21k"
    assert file.zero_head == original_head
    assert file.representation_size == (VARIANTS[file.variant].width if original_head else None)


def _paper_name(variant):
    """`R50_ViT_B16` -> `R50+ViT-B_16`, as the tables of the original code have it."""
    title = VARIANTS[variant].title  # "R50+ViT-B/16"
    return title.replace("/", "_")


@pytest.mark.parametrize("file", RELEASED, ids=NAMES)
def test_sizes_are_those_of_the_original_code(file, shared):
    counts = json.loads((shared / "golden" / "tables" / "param_counts.json").read_text())["vit"]
    model = _paper_name(file.variant)
    column = "1000" if file.classes == 1000 else "21843"
    column += "_at_384" if file.image_size == 384 else ""
    column += "_with_pre_logits(hidden)" if file.representation_size else ""
    assert file.num_parameters == counts[model][column]
    assert file.payload_bytes == 4 * file.num_parameters


# From the table of recommended checkpoints in the README of google-research/vision_transformer.
README = [
    ("ViT_L16", 1243, 85.59),
    ("R50_ViT_L32", 1337, 85.99),
    ("R26_ViT_S32", 170, 83.85),
    ("R_Ti16", 40, 75.40),
    ("ViT_B16", 391, 85.49),
    ("ViT_S16", 115, 83.73),
    ("ViT_Ti16", 37, 78.22),
    ("ViT_B32", 398, 83.59),
    ("ViT_S32", 118, 79.58),
]


@pytest.mark.parametrize("variant, mebibytes, top1", README)
def test_sizes_and_accuracies_of_the_readme(variant, mebibytes, top1):
    assert abs(find(variant, "imagenet21k").payload_bytes / 2**20 - mebibytes) < 1
    assert find(variant, "imagenet", 384).top1 == top1


def test_accuracies_of_the_papers():
    accuracies = {name: f.top1 for name, f in zip(NAMES, RELEASED, strict=True)}
    assert accuracies["ViT_B16-original-imagenet-384"] == 83.97
    assert accuracies["ViT_B32-original-imagenet-384"] == 81.28
    assert accuracies["ViT_L16-original-imagenet-384"] == 85.15
    assert accuracies["ViT_L32-original-imagenet-384"] == 80.99
    assert accuracies["ViT_B16-original-imagenet-224"] == 81.2
    assert accuracies["ViT_L16-original-imagenet-224"] == 82.7
    assert accuracies["ViT_B16-sam-imagenet-224"] == 80.25
    assert accuracies["ViT_B32-sam-imagenet-224"] == 73.70


def test_addresses_are_encoded():
    url = find("ViT_B16", "original-imagenet-384").url
    root = "https://storage.googleapis.com/vit_models"
    assert url == f"{root}/imagenet21k%2Bimagenet2012/ViT-B_16.npz"
    assert find("ViT_B16", "augreg-imagenet-384").url == f"{root}/augreg/{B16_384}.npz"


# Finding.


def test_available():
    assert available("ViT_B16") == [
        "augreg-imagenet21k",
        "augreg-imagenet-224",
        "augreg-imagenet-384",
        "original-imagenet21k",
        "original-imagenet-224",
        "original-imagenet-384",
        "sam-imagenet-224",
    ]
    assert available("ViT_H14") == ["original-imagenet21k"]


@pytest.mark.parametrize(
    "variant, weights, image_size, name",
    [
        ("ViT_B16", "imagenet21k", None, "augreg-imagenet21k"),
        ("ViT_L32", "imagenet21k", (384, 384), "original-imagenet21k"),
        ("ViT_B16", "imagenet", None, "augreg-imagenet-224"),
        ("ViT_B16", "imagenet", (224, 224), "augreg-imagenet-224"),
        ("ViT_B16", "imagenet", 384, "augreg-imagenet-384"),
        ("ViT_B16", "imagenet", (512, 512), "augreg-imagenet-384"),
        ("ViT_B16", "imagenet", (64, 96), "augreg-imagenet-224"),
        ("ViT_B16", "imagenet", (200, 520), "augreg-imagenet-384"),  # the area of 322 x 322
        ("ViT_B8", "imagenet", (384, 384), "augreg-imagenet-224"),
        ("ViT_L32", "imagenet", None, "original-imagenet-384"),
        ("ViT_L32", "imagenet", (224, 224), "original-imagenet-384"),
        ("ViT_B32", "sam-imagenet-224", (384, 384), "sam-imagenet-224"),
        ("ViT_B16", B16_384, None, "augreg-imagenet-384"),
        ("ViT_B16", f"{B16_384}.npz", None, "augreg-imagenet-384"),
        ("ViT_B16", f"augreg/{B16}", None, "augreg-imagenet21k"),
        ("ViT_B16", f"augreg/{B16}.npz", None, "augreg-imagenet21k"),
        ("ViT_H14", "imagenet21k/ViT-H_14.npz", None, "original-imagenet21k"),
    ],
)
def test_find(variant, weights, image_size, name):
    found = find(variant, weights, image_size)
    assert found in RELEASED
    assert (found.variant, found.name) == (variant, name)


@pytest.mark.parametrize(
    "variant, ending, classes, image_size",
    [
        ("ViT_S16", "S_16-i1k-300ep-{}-sd_0.1", 1000, 224),
        ("ViT_S16", "S_16-i21k-30ep-{}-sd_0.1--cifar10-steps_10k-lr_0.003-res_384", 10, 384),
        ("ViT_S16", "S_16-i21k-30ep-{}-sd_0.1--cifar100-steps_2.5k-lr_0.01-res_224", 100, 224),
        (
            "ViT_Ti16",
            "Ti_16-i1k-300ep-{}-sd_0.0--oxford_iiit_pet-steps_0k-lr_0.01-res_384",
            37,
            384,
        ),
        ("ViT_B32", "B_32-i1k-300ep-{}-sd_0.0--imagenet2012-steps_20k-lr_0.01-res_384", 1000, 384),
        ("ViT_B8", "B_8-i21k-300ep-{}-sd_0.0--kitti-steps_10k-lr_0.01-res_384", None, 384),
    ],
)
def test_any_augreg_file(variant, ending, classes, image_size):
    name = ending.format("lr_0.001-aug_strong2-wd_0.03-do_0.1")
    file = find(variant, name)
    assert file == find(variant, f"augreg/{name}.npz")
    assert file not in RELEASED
    assert (file.variant, file.classes, file.image_size) == (variant, classes, image_size)
    assert file.path == f"augreg/{name}.npz"
    assert file.source == "AugReg, arXiv 2106.10270"
    assert not file.zero_head
    assert (file.payload_bytes is None) == (classes is None)


@pytest.mark.parametrize(
    "variant, weights, message",
    [
        ("ViT_B16", "jft300m", "never released.*JFT.*imagenet21k"),
        ("ViT_B16", "JFT", "never released"),
        ("ViT_H14", "imagenet", r"only \['original-imagenet21k'\].*Received: weights='imagenet'"),
        ("ViT_B16", "imagnet21k", "Did you mean 'imagenet21k'.*sam-imagenet-224.*'imagnet21k'"),
        ("ViT_B16", "augreg-imagenet-448", "Did you mean 'augreg-imagenet-384'"),
        ("ViT_H14", "augreg-imagenet21k", r"'imagenet21k'.* There are \['original-imagenet21k'\]"),
        ("ViT_S16", B16, r"holds a ViT_B16, not a ViT_S16.*keras_vit\.ViT_B16\(weights='B_16"),
        ("ViT_B32", "imagenet21k/ViT-B_16.npz", "holds a ViT_B16"),
        ("ViT_B16", B16.replace("B_16", "B_99"), r"none of \['B_16'.*weights='B_99-i21k"),
        ("ViT_B16", B16.replace("wd_0.1", "wd_"), "named like"),
        ("ViT_B16", f"{B16}--imagenet2012", "named like"),
        ("ViT_B16", f"{B16}/../../secret", "named like"),
        ("ViT_B16", f"{B16}\n", "named like"),
        ("ViT_B16", "", "no released weights of that name"),
        ("ViT-B16", "imagenet", "Did you mean 'ViT_B16'.*Received: variant='ViT-B16'"),
    ],
)
def test_find_says_what_is_wrong(variant, weights, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        find(variant, weights)


def test_imagenet_is_never_sam(monkeypatch):
    monkeypatch.setattr(weights_module, "RELEASED", (find("ViT_B16", "sam-imagenet-224"),))
    with pytest.raises(ValueError, match="no ViT_B16 that is fine-tuned on ImageNet-2012"):
        find("ViT_B16", "imagenet")
    monkeypatch.setattr(weights_module, "RELEASED", ())
    with pytest.raises(ValueError, match="Google released no weights for ViT_B16"):
        find("ViT_B16", "imagenet21k")


def test_find_wants_a_string():
    with pytest.raises(TypeError, match="Received: weights=21"):
        find("ViT_B16", 21)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="image_size"):
        find("ViT_B16", "imagenet", (224, 224, 3))  # type: ignore[arg-type]


# The cache and the download.


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
    with pytest.raises(ValueError, match=r"SHA-256.*delete the file first"):
        fetch(tiny[0], sha256="0" * 64)
    assert path.exists()


def test_fetch_says_how_to_go_on_without_a_server(tiny, mirror):
    mirror.files.clear()
    with pytest.raises(DownloadError, match="404") as error:
        fetch(tiny[0])
    assert "KERAS_VIT_WEIGHTS_URL" in error.value.__notes__[-1]


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
