"""Prefixes of trainers, what else lies in a file, folders and shards, and advice in errors."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from keras import ops
from support.combinations import crossed

import keras_vit
from keras_vit.models import ResNetStem


def _vit(**options):
    keras.utils.set_random_seed(0)
    model = keras_vit.ViT(16, 8, 64, 1, 1, 8, classes=3, gelu="exact", **options)
    head = model.get_layer("head").kernel
    head.assign(np.random.default_rng(0).normal(size=head.shape))
    return model


def _hybrid():
    stem = ResNetStem((1,), 0.5)
    return keras_vit.ViT(32, 1, 64, 1, 1, 8, stem=stem, classes=3, gelu="exact")


def _bit():
    return keras_vit.BiT(32, (1, 1), 0.5, classes=3)


def _mixer():
    return keras_vit.Mixer(16, 8, 12, 1, 8, 8, classes=3)


def _arrays(model, path, file_format):
    keras_vit.save_weights(model, path, format=file_format)
    with np.load(path) as file:
        return dict(file)


def _same(found, expected):
    for one, other in zip(found.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(other))


PREFIXES = [
    "backbone.", "module.", "teacher.", "student.", "_orig_mod.", "visual.trunk.", "timm_model.",
    "vit.", "model.", "module.backbone.", "_orig_mod.module.", "net.", "ema.",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:The model .* has {")
@pytest.mark.filterwarnings("ignore:The head in")
@pytest.mark.parametrize(
    ("prefix", "kind"),
    crossed(
        PREFIXES,
        [
            (_vit, "timm"), (_vit, "huggingface"), (_vit, "google"), (_vit, "big_vision"),
            (_hybrid, "timm"), (_hybrid, "google"), (_bit, "timm"), (_bit, "google"),
            (_mixer, "google"),
        ],
    ),
)  # fmt: skip
def test_prefixes_of_trainers(prefix, kind, tmp_path):
    make, file_format = kind
    model = make()
    arrays = _arrays(model, tmp_path / "a.npz", file_format)
    named = {f"{prefix}{name}": array for name, array in arrays.items()}
    np.savez(tmp_path / "a.npz", **named)
    plain = keras_vit.from_checkpoint(_saved(arrays, tmp_path / "b.npz"))
    _same(keras_vit.from_checkpoint(tmp_path / "a.npz"), plain)
    # A head that was put beside the backbone.
    if prefix == "backbone." and file_format == "timm" and make is not _bit:
        mixed = {n if n.startswith("head") else f"{prefix}{n}": a for n, a in arrays.items()}
        _same(keras_vit.from_checkpoint(_saved(mixed, tmp_path / "c.npz")), plain)


def _saved(arrays, path):
    np.savez(path, **arrays)
    return path


EXTRA = {
    "timm": ["mask_token", "optimizer.state.0.exp_avg", "n_averaged", "dino_head.mlp.0.weight",
             "head.last_layer.weight_g", "epoch"],
    "huggingface": ["vit.embeddings.mask_token", "global_step"],
    "google": ["opt/state/step", "opt_state/0/mu/cls", "step"],
    "big_vision": ["opt/step", "opt_state/count"],
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The model .* has {")
@pytest.mark.parametrize("file_format", EXTRA)
def test_what_is_no_part_of_the_model_is_left_out_and_said(file_format, tmp_path, capsys):
    model = _vit()
    arrays = _arrays(model, tmp_path / "a.npz", file_format)
    plain = keras_vit.from_checkpoint(tmp_path / "a.npz")
    capsys.readouterr()
    for name in EXTRA[file_format]:
        arrays[name] = np.zeros(3, "float32")
    loaded = keras_vit.from_checkpoint(_saved(arrays, tmp_path / "b.npz"))
    _same(loaded, plain)
    said = capsys.readouterr().out
    assert f"b.npz: {len(EXTRA[file_format])} arrays that are no part of the model" in said
    assert EXTRA[file_format][0] in said
    keras_vit.load_weights(loaded, tmp_path / "b.npz")
    assert "are left out" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:The head in")
def test_the_linear_head_of_facebook_s_dinov2(tmp_path):
    """It reads the class token and the mean of the patches, and has a name of its own."""
    arrays = _arrays(_vit(), tmp_path / "a.npz", "timm")
    backbone = {f"backbone.{n}": a for n, a in arrays.items() if not n.startswith("head")}
    random = np.random.default_rng(1)
    kernel, bias = (random.normal(size=s).astype("float32") for s in ((3, 128), (3,)))
    head = {"linear_head.weight": kernel, "linear_head.bias": bias}
    model = keras_vit.from_checkpoint(_saved({**backbone, **head}, tmp_path / "b.npz"))
    features = keras_vit.from_checkpoint(tmp_path / "a.npz", include_top=False, pooling="token+avg")
    pixels = random.normal(size=(2, 16, 16, 3)).astype("float32")
    expected = ops.convert_to_numpy(features(pixels)) @ kernel.T + bias
    np.testing.assert_allclose(ops.convert_to_numpy(model(pixels)), expected, atol=1e-5)


def test_a_teacher_and_a_student_are_two_models(tmp_path):
    arrays = _arrays(_vit(), tmp_path / "a.npz", "timm")
    both = {f"{who}.{n}": a for who in ("student", "teacher") for n, a in arrays.items()}
    with pytest.raises(ValueError, match="The file holds two models"):
        keras_vit.from_checkpoint(_saved(both, tmp_path / "b.npz"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("visual.attnpool.c_proj.weight", "CLIP with a ResNet"),
        ("blocks.0.attn.q_norm.weight", "normalises queries"),
        ("blocks.0.attn.relative_position_bias_table", "relative positions"),
        ("text.token_embedding.weight", "text and images"),
    ],
)
def test_the_architecture_of_a_file_is_named(name, message, tmp_path):
    model = _vit()
    arrays = _arrays(model, tmp_path / "a.npz", "timm")
    arrays[name] = np.zeros(3, "float32")
    path = _saved(arrays, tmp_path / "a.npz")
    with pytest.raises(ValueError, match=message) as error:
        keras_vit.from_checkpoint(path)
    assert "`keras_vit.from_checkpoint`" not in str(error.value)
    alone = {n: a for n, a in arrays.items() if not n.startswith("patch_embed")}
    with pytest.raises(ValueError, match=message):
        keras_vit.from_checkpoint(_saved(alone, path))


@pytest.mark.parametrize("make", [_vit, _hybrid, _bit, _mixer])
@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_a_model_around_a_backbone(make, ending, tmp_path):
    base = make()
    model = keras.Sequential([keras.Input(base.input_shape[1:]), base, keras.layers.Dense(2)])
    path = tmp_path / f"a{ending}"
    (model.save if ending == ".keras" else model.save_weights)(path)
    with pytest.raises(ValueError, match=r"keras\.models\.load_model"):
        keras_vit.from_checkpoint(path)


def test_a_folder(tmp_path):
    model = _vit(norm_epsilon=1e-12)
    keras_vit.save_weights(model, tmp_path / "hf", format="huggingface")
    _same(keras_vit.from_checkpoint(tmp_path / "hf"), model)
    keras_vit.save_weights(model, tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"is a folder. Pass the file in it.*model\.keras"):
        keras_vit.from_checkpoint(tmp_path)
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ValueError, match="is a SavedModel"):
        keras_vit.from_checkpoint(tmp_path / "saved")


def test_shards(tmp_path):
    model = _vit(norm_epsilon=1e-12)
    keras_vit.save_weights(model, tmp_path / "hf", format="huggingface")
    from safetensors.numpy import load_file, save_file

    whole = tmp_path / "hf" / "model.safetensors"
    arrays = load_file(whole)
    whole.unlink()
    names = sorted(arrays)
    places = {n: f"model-{i % 2 + 1:05}-of-00002.safetensors" for i, n in enumerate(names)}
    for shard in set(places.values()):
        save_file({n: arrays[n] for n in names if places[n] == shard}, tmp_path / "hf" / shard)
    index = tmp_path / "hf" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    _same(keras_vit.from_checkpoint(index), model)
    _same(keras_vit.from_checkpoint(tmp_path / "hf"), model)
    for wrong, message in (
        ({**places, names[0]: "../a.safetensors"}, "not beside it"),
        ({**places, names[0]: "other.safetensors"}, "not there: download it"),
        ({**places, "more": places[names[0]]}, "'more' is in"),
        ({}, "no `weight_map`"),
    ):
        index.write_text(json.dumps({"weight_map": wrong}))
        with pytest.raises(ValueError, match=message):
            keras_vit.from_checkpoint(index)


def test_a_pickle_with_a_nested_dictionary(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"never loaded.*holds another one.*save the inner one"):
        keras_vit.from_checkpoint(tmp_path / "a.pth")
