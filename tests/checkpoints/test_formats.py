"""Formats of checkpoints: detection from the names, both directions, what has no place."""

from __future__ import annotations

import json
import os

import h5py
import numpy as np
import pytest
from keras import ops
from support.format_files import SIZE, arrays_of, logits_of, random_vit

import keras_vit
from keras_vit.checkpoints.checkpoint import Checkpoint
from keras_vit.checkpoints.model_arrays import Arrays
from keras_vit.checkpoints.names.detect import detect
from keras_vit.checkpoints.names.formats import FORMATS
from keras_vit.checkpoints.names.keys import members
from keras_vit.checkpoints.names.templates import fill

RELEASED = [
    "vit_token", "vit_gap", "vit_token_rep24", "hybrid_token", "hybrid_stem_only", "bit", "mixer"
]  # fmt: skip


@pytest.mark.any_backend
@pytest.mark.parametrize("name", RELEASED)
def test_npz_to_keras_to_npz_is_bit_identical(golden, tmp_path, name):
    fixture = golden(name)
    for through in ("model.keras", "model.weights.h5"):
        model = keras_vit.from_checkpoint(fixture.checkpoint)
        keras_vit.save_weights(model, tmp_path / through)
        heads = {} if name in ("bit", "mixer") else {"num_heads": 4}
        again = keras_vit.from_checkpoint(tmp_path / through, **heads)
        keras_vit.save_weights(again, tmp_path / "again.npz")
        before, after = arrays_of(fixture.checkpoint), arrays_of(tmp_path / "again.npz")
        assert before.keys() == after.keys()
        for key, array in before.items():
            assert (array.dtype, array.shape) == (after[key].dtype, after[key].shape), key
            assert array.tobytes() == after[key].tobytes(), key


@pytest.mark.one_backend
@pytest.mark.any_backend
@pytest.mark.parametrize("container", [".npz", ".safetensors"])
@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("google", {}),
        ("google", {"classifier": "gap"}),
        ("google", {"representation_size": 9}),
        ("google", {"registers": 2}),
        ("big_vision", {}),
        ("big_vision", {"classifier": "gap"}),
        ("timm", {"gelu": "exact"}),
        ("timm", {"gelu": "exact", "registers": 2, "layer_scale": 0.1}),
        ("timm", {"gelu": "exact", "classifier": "gap"}),
        (
            "timm",
            {
                "gelu": "exact",
                "classifier": "gap",
                "class_token": True,
                "norm_after_pooling": True,
            },
        ),
        ("huggingface", {"gelu": "exact", "norm_epsilon": 1e-12}),
    ],
)
def test_what_is_saved_opens_again(tmp_path, file_format, options, container):
    model = random_vit(**options)
    path = tmp_path / f"model{container}"
    keras_vit.save_weights(model, path, format=file_format)
    with Checkpoint(path) as checkpoint:
        assert checkpoint.format.name == file_format
    said = {"classifier": "gap"} if options.get("norm_after_pooling") else {}
    again = keras_vit.from_checkpoint(path, num_heads=4, **said)
    # The position of the class token may be folded into the token, which rounds otherwise.
    np.testing.assert_allclose(logits_of(again), logits_of(model), atol=1e-5)
    live = random_vit(**options)
    for variable in live.weights:
        variable.assign(np.zeros(variable.shape))
    keras_vit.load_weights(live, path)
    np.testing.assert_allclose(logits_of(live), logits_of(model), atol=1e-5)
    assert sorted(os.listdir(tmp_path)) == [path.name]  # nothing else is left


def test_16_bit_files_are_read_as_float32(golden, tmp_path):
    import ml_dtypes

    fixture = golden("vit_token")
    arrays = arrays_of(fixture.checkpoint)
    for dtype in ("float16", ml_dtypes.bfloat16):
        half = {name: array.astype(dtype) for name, array in arrays.items()}
        np.savez(tmp_path / "half.npz", **half)  # bfloat16 loses its name there
        model = keras_vit.from_checkpoint(tmp_path / "half.npz")
        kernel = ops.convert_to_numpy(model.get_layer("head").kernel)
        np.testing.assert_array_equal(kernel, half["head/kernel"].astype("float32"))


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.title)
def test_every_format_is_told_from_its_names(row):
    """The names that a format's table gives are of that format, and no other."""
    numbers = dict.fromkeys("biuc", 1)
    arrays = [fill(key.array, {**numbers, "i": 0}) for key in row.keys]
    names = {name for array in arrays for name in members(array)} | set(row.markers)
    if row.name != "keras" and row.family.layer == "patch_embed" and "stem" not in row.title:
        names = {n for n in names if "backbone" not in n}
    shapes = dict.fromkeys(names, (4, 4))
    if row.packed is not None:
        shapes |= dict(zip(row.packed, [(8, 4), (4, 4)], strict=True))
    found = detect(shapes)
    assert found is not None
    assert (found.format.name, found.format.family) == (row.name, row.family)
    assert detect({"a": (), "b/c": ()}) is None


def test_heads_are_read_or_guessed_or_asked_for(tmp_path):
    model = keras_vit.ViT(SIZE, 16, 128, 1, 4, 8, classes=3)
    keras_vit.save_weights(model, tmp_path / "a.safetensors", format="google")
    with Checkpoint(tmp_path / "a.safetensors") as checkpoint:
        assert checkpoint.num_heads() == 4  # the shapes say it
    keras_vit.save_weights(model, tmp_path / "a.keras")
    model.save_weights(tmp_path / "a.weights.h5")
    with Checkpoint(tmp_path / "a.keras") as checkpoint:
        assert checkpoint.num_heads() == 4  # the configuration says it
    with Checkpoint(tmp_path / "a.weights.h5") as checkpoint:
        assert checkpoint.num_heads() == 4  # a setting in it says it
    wide = keras_vit.ViT(SIZE, 16, 128, 1, 4, 8, classes=3, gelu="exact")
    keras_vit.save_weights(wide, tmp_path / "c.npz", format="timm")
    with Checkpoint(tmp_path / "c.npz") as checkpoint:
        assert checkpoint.num_heads() == 2  # 64 channels each, as in the paper
        assert checkpoint.num_heads(4) == 4
    narrow = random_vit(gelu="exact")
    keras_vit.save_weights(narrow, tmp_path / "b.npz", format="timm")
    with pytest.raises(ValueError, match=r"width of 32.*`num_heads=`"):
        keras_vit.from_checkpoint(tmp_path / "b.npz")


@pytest.mark.filterwarnings("ignore:The model 'vit' has {'norm_epsilon'")
def test_a_grid_that_is_not_square_comes_back(tmp_path):
    model = keras_vit.ViT((16, 40), 8, 64, 1, 1, 8, classes=3, gelu="exact", norm_epsilon=1e-12)
    model.get_layer("head").kernel.assign(np.ones((64, 3)))
    for name, file_format in (
        ("a.safetensors", "timm"), ("b.safetensors", "huggingface"), ("c.keras", "keras"),
        ("d.weights.h5", "keras"), ("folder", "huggingface"),
    ):  # fmt: skip
        keras_vit.save_weights(model, tmp_path / name, format=file_format)
        path = tmp_path / name
        again = keras_vit.from_checkpoint(path / "model.safetensors" if path.is_dir() else path)
        assert tuple(again.input_shape) == (None, 16, 40, 3)
    config = json.loads((tmp_path / "folder" / "config.json").read_text())
    assert config["image_size"] == [16, 40]


@pytest.mark.parametrize(
    ("options", "file_format", "message"),
    [
        ({"layer_scale": 0.1}, "google", "no place.*attention_scale"),
        ({"registers": 1}, "huggingface", "no place.*registers"),
        ({"representation_size": 3}, "timm", "no place.*pre_logits"),
        ({"classifier": "gap"}, "huggingface", "classifies as"),
        ({"classifier": "gap", "class_token": True}, "google", "classifies as"),
    ],
)
def test_what_a_format_has_no_place_for(tmp_path, options, file_format, message):
    model = random_vit(gelu="exact", **options)
    with pytest.raises(ValueError, match=message):
        keras_vit.save_weights(model, tmp_path / "a.safetensors", format=file_format)
    assert not os.listdir(tmp_path)


def test_a_setting_that_the_file_cannot_say_is_warned_of(tmp_path):
    with pytest.warns(UserWarning, match="'gelu': 'tanh'.*usually has.*'exact'"):
        keras_vit.save_weights(random_vit(), tmp_path / "a.npz", format="timm")


def test_a_swiglu_has_no_gelu_to_warn_of(tmp_path):
    model = random_vit(swiglu=True)  # a warning is an error
    keras_vit.save_weights(model, tmp_path / "a.npz", format="timm")
    keras_vit.load_weights(model, tmp_path / "a.npz")


def test_paths_and_formats_that_do_not_fit(tmp_path):
    model = random_vit()
    for name, file_format, message in (
        ("a.safetensors", None, "which library"),
        ("a.npz", "keras", "must end with"),
        ("a.keras", "timm", "must end with"),
        ("a.pth", "timm", "must end with"),
        ("a", "timm", "must end with"),
        ("a.npz", "torch", "must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            keras_vit.save_weights(model, tmp_path / name, format=file_format)
    with pytest.raises(FileNotFoundError, match="no folder"):
        keras_vit.save_weights(model, tmp_path / "missing" / "a.npz")
    with pytest.raises(ValueError, match=r"no BiT ResNet.*timm"):
        bit = keras_vit.BiT(SIZE, (1,), 0.5, classes=2)
        keras_vit.save_weights(bit, tmp_path / "a.safetensors", format="huggingface")
    exact = random_vit(gelu="exact", norm_epsilon=1e-12)
    keras_vit.save_weights(exact, tmp_path / "folder", format="huggingface")
    with pytest.raises(FileExistsError, match="something at"):
        keras_vit.save_weights(exact, tmp_path / "folder", format="huggingface")
    assert sorted(os.listdir(tmp_path)) == ["folder"]


def test_a_failure_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    model = random_vit()
    path = tmp_path / "a.npz"
    keras_vit.save_weights(model, path)
    before = path.read_bytes()

    def fail(self, array):
        raise OSError("no space left")

    monkeypatch.setattr(Arrays, "__getitem__", fail)
    with pytest.raises(OSError, match="no space"):
        keras_vit.save_weights(model, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.npz"]


def test_safetensors_that_is_not_installed(tmp_path, monkeypatch):
    import sys

    keras_vit.save_weights(random_vit(), tmp_path / "a.safetensors", format="google")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r'pip install "keras-vit-applications\[safetensors\]"'):
        keras_vit.from_checkpoint(tmp_path / "a.safetensors")


def test_damaged_files_are_refused(tmp_path):
    model = random_vit()
    for name in ("a.safetensors", "b.keras", "c.weights.h5"):
        file_format = "google" if name == "a.safetensors" else "keras"
        keras_vit.save_weights(model, tmp_path / name, format=file_format)
        whole = (tmp_path / name).read_bytes()
        for size in (9, 200, len(whole) // 2, len(whole) - 5):
            (tmp_path / name).write_bytes(whole[:size])
            with pytest.raises(ValueError):
                keras_vit.from_checkpoint(tmp_path / name, num_heads=4)


def test_hdf5_never_reads_another_file(tmp_path):
    """Data that lies elsewhere is not followed: an attacker would choose where."""
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.ones((8, 8, 3, 32), "float32").tobytes())
    with h5py.File(tmp_path / "a.weights.h5", "w") as file:
        group = file.create_group("layers/patch_embed/projection/vars")
        group.create_dataset(
            "0", (8, 8, 3, 32), "f4", external=[(str(secret), 0, h5py.h5f.UNLIMITED)]
        )
    with pytest.raises(ValueError, match="not a checkpoint of a format"):
        keras_vit.from_checkpoint(tmp_path / "a.weights.h5")


def test_a_new_head_is_said(tmp_path, capsys):
    keras_vit.save_weights(random_vit(representation_size=9), tmp_path / "a.npz")
    keras_vit.from_checkpoint(tmp_path / "a.npz", classes=7)
    said = capsys.readouterr().out
    assert "head of 5 classes and its pre_logits layer are left out" in said
    assert "new head of 7 classes starts at zero" in said
    keras_vit.from_checkpoint(tmp_path / "a.npz")
    assert not capsys.readouterr().out


def test_the_size_of_a_mixer_is_its_own(golden):
    with pytest.raises(ValueError, match=r"cannot be resized.*16 patches of 8 pixels"):
        keras_vit.from_checkpoint(golden("mixer").checkpoint, image_size=48)


def test_constructors_take_files_of_other_libraries(golden, tmp_path, monkeypatch):
    config = keras_vit.ViTConfig(8, 32, 2, 4, 48)
    monkeypatch.setitem(keras_vit.VARIANTS, "ViT_Ti16", config)
    model = random_vit(gelu="exact", layer_scale=0.1)
    keras_vit.save_weights(model, tmp_path / "a.safetensors", format="timm")
    again = keras_vit.ViT_Ti16(
        weights=tmp_path / "a.safetensors",
        input_shape=(SIZE, SIZE, 3),
        classifier_activation=None,
        classes=5,
    )
    np.testing.assert_allclose(logits_of(again), logits_of(model), atol=1e-5)
