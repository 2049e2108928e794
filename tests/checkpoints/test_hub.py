"""Checkpoints of the Hub, `hf://OWNER/NAME`, from a Hub on this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from keras import ops
from safetensors.numpy import load_file, save_file
from support.hub_server import HubServer

import keras_vit
from keras_vit.checkpoints.hub import local_file

constants = pytest.importorskip("huggingface_hub.constants", reason="the extra hub")
pytestmark = pytest.mark.any_backend

TINY = keras_vit.ViTConfig(4, 12, 2, 3, 20)
ADDRESS = f"hf://{HubServer.REPO}"
# What `save_weights` writes beside the arrays.
BESIDE = ("config.json", "preprocessor_config.json")


@pytest.fixture(scope="module")
def model():
    made = TINY.build(16, **TINY.architecture, classes=5, gelu="exact", norm_epsilon=1e-3)
    random = np.random.default_rng(0)
    for variable in made.variables:
        variable.assign(random.normal(0, 0.3, variable.shape))
    return made


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory) -> Path:
    """What `save_pretrained` writes: a `config.json` with the heads and the epsilon, the arrays."""
    path = tmp_path_factory.mktemp("hub") / "tiny"
    keras_vit.save_weights(model, path, format="huggingface")
    arrays = load_file(path / "model.safetensors")
    save_file(arrays, path / "model.safetensors")  # without what we write into a file of ours
    return path


@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    """A Hub with the model beside a pickle and a card, and an empty cache."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    server = HubServer({**files, "pytorch_model.bin": b"\x80", "README.md": b"# tiny"})
    # The package reads HF_ENDPOINT and HF_HUB_CACHE once, when it is imported.
    monkeypatch.setattr(constants, "ENDPOINT", server.root)
    url = f"{server.root}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield server
    server.close()


def logits(model):
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    return ops.convert_to_numpy(model(x))


def test_a_model_of_the_hub_opens(hub, model, capsys):
    loaded = keras_vit.from_checkpoint(ADDRESS)
    np.testing.assert_allclose(logits(loaded), logits(model), atol=1e-6)
    assert HubServer.COMMIT in capsys.readouterr().out
    assert set(hub.fetched) == {*BESIDE, "model.safetensors"}


def test_the_pixels_are_those_that_the_repository_says(hub):
    """DINO has the names of Google's ViT, and only this file tells its pixels."""
    pixels = {"do_normalize": True, "image_mean": [0.485, 0.456, 0.406]}
    pixels["image_std"] = [0.229, 0.224, 0.225]
    hub.files["preprocessor_config.json"] = json.dumps(pixels).encode()
    loaded = keras_vit.from_checkpoint(ADDRESS)
    np.testing.assert_allclose(loaded.get_layer("normalisation").mean, pixels["image_mean"])


def test_without_a_network_the_cache_is_enough(hub, model, monkeypatch):
    path = local_file(ADDRESS)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert local_file(ADDRESS) == path
    assert local_file(f"{ADDRESS}@{HubServer.COMMIT}") == path
    with pytest.raises(ConnectionError, match=r"connect to the network.*the path of their folder"):
        local_file(f"{ADDRESS}@v1")


def test_a_revision(hub, capsys):
    path = local_file(f"{ADDRESS}@v1")
    assert Path(path).parent.name == HubServer.COMMIT
    assert f"hf://timm/tiny@{HubServer.COMMIT}" in capsys.readouterr().out
    assert local_file(f"{ADDRESS}@{HubServer.COMMIT}") == path
    assert capsys.readouterr().out == ""  # it is in the address


def test_a_model_in_shards(hub, folder, model, tmp_path):
    arrays = load_file(folder / "model.safetensors")
    names = sorted(arrays)
    shards = {"model-00001-of-00002.safetensors": names[::2]}
    shards["model-00002-of-00002.safetensors"] = names[1::2]
    for shard, part in shards.items():
        save_file({name: arrays[name] for name in part}, tmp_path / shard)
        hub.files[shard] = (tmp_path / shard).read_bytes()
    places = {name: shard for shard, part in shards.items() for name in part}
    index = json.dumps({"weight_map": places}).encode()
    hub.files["model.safetensors.index.json"] = index
    del hub.files["model.safetensors"]
    loaded = keras_vit.from_checkpoint(ADDRESS)
    np.testing.assert_allclose(logits(loaded), logits(model), atol=1e-6)
    assert set(hub.fetched) == {*shards, "model.safetensors.index.json", *BESIDE}


def test_into_a_model_and_by_a_constructor(hub, model, monkeypatch):
    other = TINY.build(16, **TINY.architecture, classes=5, gelu="exact", norm_epsilon=1e-3)
    keras_vit.load_weights(other, ADDRESS)
    np.testing.assert_array_equal(logits(other), logits(model))
    monkeypatch.setitem(keras_vit.VARIANTS, "ViT_Ti16", TINY)
    built = keras_vit.ViT_Ti16(weights=ADDRESS, classifier_activation=None)
    np.testing.assert_allclose(logits(built), logits(model), atol=1e-6)
    monkeypatch.setitem(keras_vit.VARIANTS, "ViT_Ti16", keras_vit.ViTConfig(4, 24, 2, 3, 20))
    with pytest.raises(ValueError, match=r"keras_vit\.from_checkpoint"):
        keras_vit.ViT_Ti16(weights=ADDRESS)


def test_convert_fetches_once(hub, model, tmp_path, capsys):
    done = keras_vit.checkpoints.convert.convert(ADDRESS, tmp_path / "tiny.keras")
    assert done.source_format == "Hugging Face, ViT"
    assert capsys.readouterr().out.count(HubServer.COMMIT) == 2  # the line, and how to pin it
    converted = keras_vit.from_checkpoint(tmp_path / "tiny.keras")
    np.testing.assert_allclose(logits(converted), logits(model), atol=1e-6)


def test_only_pickles_are_not_fetched(hub):
    del hub.files["model.safetensors"]
    with pytest.raises(ValueError, match=r"no 'model\.safetensors'.*can run any code"):
        local_file(ADDRESS)
    assert set(hub.fetched) == set(BESIDE)


def test_a_file_of_another_name(hub, folder):
    hub.files["visual/open.safetensors"] = hub.files.pop("model.safetensors")
    with pytest.raises(ValueError, match=r"It has \['visual/open\.safetensors'\]: put '/'"):
        local_file(ADDRESS)
    path = Path(local_file(f"{ADDRESS}@main/visual/open.safetensors"))
    assert path.parts[-3:] == (HubServer.COMMIT, "visual", "open.safetensors")
    assert path.read_bytes() == (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("address", "refuse", "error", "words"),
    [
        ("hf://timm/other", None, FileNotFoundError, r"no 'timm/other' on the Hub, or it is priv"),
        (ADDRESS, (404, "RepoNotFound"), FileNotFoundError, r"no 'timm/tiny' on the Hub"),
        (f"{ADDRESS}@v2", None, FileNotFoundError, r"no revision 'v2': take one from .*/commits"),
        (f"{ADDRESS}@refs%2Fpr%2F1", None, FileNotFoundError, r"no revision 'refs/pr/1'"),
        (ADDRESS, (401, "GatedRepo"), PermissionError, r"gated: accept .* `hf auth login`"),
        (ADDRESS, (403, "GatedRepo"), PermissionError, r"gated: accept .* `hf auth login`"),
        (ADDRESS, (403, ""), PermissionError, r"gated: accept"),
        (ADDRESS, (500, ""), ConnectionError, r"Cannot fetch .* The reason: .*500"),
    ],
)
def test_what_cannot_be_fetched(hub, address, refuse, error, words):
    hub.refuse = refuse
    with pytest.raises(error, match=words) as raised:
        keras_vit.from_checkpoint(address)
    assert repr(address) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert hub.fetched == []


@pytest.mark.parametrize(
    "address",
    ["hf://", "hf://tiny", "hf:///timm/tiny", "hf://timm/tiny@", "hf://timm/tiny/", "hf://../tiny",
     "hf://timm/tiny/model.bin", "hf://timm/tiny/../model.safetensors", "hf://timm/tiny@a..%2Fb@c",
     "hf://timm/tiny@../x", "hf://timm/tiny\n"],
)  # fmt: skip
def test_a_malformed_address(address):
    with pytest.raises(ValueError, match=r"'hf://OWNER/NAME@REVISION'.*Received: 'hf:/"):
        keras_vit.from_checkpoint(address)


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"keras-vit-applications\[hub\]"):
        keras_vit.from_checkpoint(ADDRESS)


def test_a_path_stays_a_path(tmp_path):
    for path in (tmp_path, str(tmp_path), "hf:/timm/tiny"):
        assert local_file(path) is path
