"""tools/convert.py: what a person gets who moves weights from one library to another."""

from __future__ import annotations

import os
import re
import sys

import keras
import numpy as np
import pytest
from support.child_memory import printed_bytes

import keras_vit
from keras_vit.checkpoints import convert as convert_module
from keras_vit.checkpoints.convert import convert, moves_page

TI16 = {"patch_size": 16, "width": 192, "depth": 12, "num_heads": 3, "mlp_dim": 768}


@pytest.mark.filterwarnings("default::UserWarning")  # as the tool shows them
def test_there_and_back_in_two_commands(tool, tmp_path, monkeypatch):
    """A ViT-Ti/16 to timm and back: bit for bit, with a table of what went where."""
    monkeypatch.chdir(tmp_path)
    model = keras_vit.ViT(**TI16, classes=10)
    model.get_layer("head").kernel.assign(np.random.default_rng(0).normal(size=(192, 10)))
    keras_vit.save_weights(model, tmp_path / "a.npz")
    code, out, err = tool("convert", "a.npz", "b.safetensors", "--format", "timm")
    assert code == 0, err
    assert "a.npz: ViT_Ti16 (Google, Vision Transformer)" in out
    assert re.search(
        r"MlpBlock_3/Dense_0/kernel \(192, 768\) +-> +blocks\.0\.mlp\.fc1\.weight \(768, 192\)",
        out,
    )
    assert "and 176 more of the same kinds" in out
    assert "differ by 0.0e+00" in out
    assert "'gelu': 'exact'" in err  # timm's code has another GELU
    code, out, err = tool("convert", "b.safetensors", "c.npz", "--model", "ViT_Ti16", "--all")
    assert code == 0, err
    assert "blocks.11.mlp.fc2.bias (192,)" in out
    with np.load(tmp_path / "a.npz") as before, np.load(tmp_path / "c.npz") as after:
        assert set(before) == set(after)
        assert all(before[name].tobytes() == after[name].tobytes() for name in before)

    for arguments, message in (
        (("a.npz", "c.npz"), "error: There is something at 'c.npz' already"),
        (("a.npz", "d.npz", "--model", "ViT_S16"), "is not a ViT_S16.*which is ViT_Ti16"),
        (("a.npz", "d.safetensors"), "which library"),
        (("missing.npz", "d.npz"), "error: There is no file 'missing.npz'"),
        (("a.npz", "d.npz", "--photo", "x.jpg"), "There is no photo 'x.jpg'"),
    ):
        code, _, err = tool("convert", *arguments)
        assert code == 2
        assert re.search(message, err), err
    assert sorted(os.listdir(tmp_path)) == ["a.npz", "b.safetensors", "c.npz"]


@pytest.fixture
def small(tmp_path):
    model = keras_vit.ViT(32, 8, 32, 3, 4, 48, classes=5)
    random = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(random.normal(0, 0.3, variable.shape))
    keras_vit.save_weights(model, tmp_path / "small.npz")
    return tmp_path / "small.npz"


def test_another_size_and_a_folder(small, tmp_path):
    done = convert(small, tmp_path / "large.keras", image_size=(48, 64))
    assert (done.image_size, done.difference) == ((48, 64), 0.0)
    model = keras.models.load_model(tmp_path / "large.keras")
    assert tuple(model.input_shape) == (None, 48, 64, 3)
    done = convert(small, tmp_path / "hf", format="huggingface")
    assert done.target_format == "Hugging Face, ViT"
    assert sorted(os.listdir(tmp_path / "hf")) == [
        "config.json", "model.safetensors", "preprocessor_config.json"
    ]  # fmt: skip
    assert "Vision Transformer, {'patch_size': 8" in done.model
    every = str(moves_page(done.moves, every_block=True)).splitlines()
    assert len(str(moves_page(done.moves)).splitlines()) < len(every) == len(done.moves)


def test_a_conversion_that_changes_the_model_leaves_nothing(small, tmp_path, monkeypatch):
    """A wrong layout somewhere shows on the photo, before anything has its final name."""
    save = convert_module.save_weights

    def wrong(model, path, format):
        kernel = model.get_layer("block_1").attention.query.kernel
        kernel.assign(np.asarray(kernel).T)
        save(model, path, format)

    monkeypatch.setattr(convert_module, "save_weights", wrong)
    with pytest.raises(ValueError, match=r"differs from .*small\.npz.*Nothing was written"):
        convert(small, tmp_path / "out.npz")
    assert os.listdir(tmp_path) == ["small.npz"]


def test_a_zero_head_does_not_hide_a_wrong_model(tmp_path, monkeypatch):
    """Google's ImageNet-21k files say zero whatever their features are."""
    model = keras_vit.ViT(32, 8, 32, 1, 4, 48, classes=5)
    keras_vit.save_weights(model, tmp_path / "zero.npz")
    save = convert_module.save_weights

    def wrong(model, path, format):
        model.get_layer("encoder_norm").gamma.assign(np.full(32, 2.0))
        save(model, path, format)

    monkeypatch.setattr(convert_module, "save_weights", wrong)
    with (
        pytest.warns(UserWarning, match="all zeros"),
        pytest.raises(ValueError, match="differs from"),
    ):
        convert(tmp_path / "zero.npz", tmp_path / "out.npz")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory as Linux counts it")
def test_memory_of_a_conversion(tmp_path):
    """At most 2.2 times the file beside what the program itself takes (a ViT of 100 MB)."""
    model = keras_vit.ViT(224, 16, 512, 8, 8, 2048, classes=10)
    keras_vit.save_weights(model, tmp_path / "a.npz")
    script = """
        import keras_vit
        from keras_vit.checkpoints.convert import convert

        tiny = keras_vit.ViT(224, 16, 64, 1, 1, 64, classes=10)
        keras_vit.save_weights(tiny, "tiny.npz")
        convert("tiny.npz", "tiny.safetensors", format="timm")  # what a first run allocates
        before = new_peak()
        convert("a.npz", "a.safetensors", format="timm")
        print(peak() - before)
    """
    (extra,) = printed_bytes(script, tmp_path)
    assert extra < 2.2 * (tmp_path / "a.npz").stat().st_size


@pytest.mark.filterwarnings("ignore:The model 'vit' has {'gelu':UserWarning")
def test_what_a_file_leaves_open_is_said_to_the_command(tool, tmp_path, monkeypatch):
    """A GELU that timm's files do not name, and how positions are resampled."""
    monkeypatch.chdir(tmp_path)
    model = keras_vit.ViT(32, 8, 64, 1, 1, 48, classes=5, gelu="tanh", classifier="gap")
    random = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(random.normal(0, 0.3, variable.shape))
    keras_vit.save_weights(model, "timm.safetensors", format="timm")
    given = ("--gelu", "tanh", "--classifier", "gap", "--position-interpolation", "bicubic")
    code, _, err = tool("convert", "timm.safetensors", "a.keras", *given, "--image-size", 48)
    assert code == 0, err
    expected = keras_vit.from_checkpoint(
        "timm.safetensors", 48, gelu="tanh", classifier="gap", interpolation="bicubic"
    )
    images = random.uniform(-1, 1, (2, 48, 48, 3)).astype("float32")
    converted = keras.models.load_model("a.keras")
    np.testing.assert_allclose(converted(images), expected(images), atol=1e-5)
    other = keras_vit.from_checkpoint("timm.safetensors", 48)
    assert np.abs(np.asarray(other(images)) - np.asarray(expected(images))).max() > 1e-3
    code, _, err = tool("convert", "timm.safetensors", "b.keras", "--patch-size", 16)
    assert code == 0, err
    assert keras.models.load_model("b.keras").get_layer("patch_embed").patch_size == 16

    keras_vit.save_weights(keras_vit.BiT(32, (1,), 0.5, classes=5), "bit.npz")
    code, _, err = tool("convert", "bit.npz", "bit.keras", "--gelu", "tanh")
    assert code == 2
    assert "Only a ViT has `gelu`. Leave it out. Received: gelu='tanh'" in err
