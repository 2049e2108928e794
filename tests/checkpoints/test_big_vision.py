"""Checkpoints as big_vision writes them: stacked blocks, no positions, the state of a training."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

import keras_vit


def _gap():
    """A small ViT in which every number is random."""
    sizes = {"patch_size": 8, "width": 32, "depth": 2, "num_heads": 4, "mlp_dim": 48}
    model = keras_vit.ViT(32, **sizes, classes=5, classifier="gap")
    random = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(random.normal(0, 0.3, variable.shape))
    return model


def _logits(model):
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype("float32")
    return ops.convert_to_numpy(model(x))


def _arrays_of(path):
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _unfolded(arrays):
    """Google's arrays as big_vision has them: no position for the class token, own numbering."""
    positions = arrays.pop("Transformer/posembed_input/pos_embedding")
    arrays["cls"] = arrays["cls"] + positions[:, :1]
    arrays["pos_embedding"] = positions[:, 1:]
    numbers = {
        "MultiHeadDotProductAttention_1": "MultiHeadDotProductAttention_0",
        "LayerNorm_2": "LayerNorm_1",
        "MlpBlock_3": "MlpBlock_0",
    }
    renamed = {}
    for name, array in arrays.items():
        for old, new in numbers.items():
            name = name.replace(old, new)
        renamed[f"params/{name}"] = array
    return renamed


def _stacked(arrays, depth):
    """As a scan over the blocks has them: one array for all blocks."""
    first = [name for name in arrays if "/encoderblock_0/" in name]
    rest = {name: array for name, array in arrays.items() if "/encoderblock_" not in name}
    for name in first:
        blocks = [arrays[name.replace("_0/", f"_{i}/", 1)] for i in range(depth)]
        rest[name.replace("/encoderblock_0/", "/encoderblock/")] = np.stack(blocks)
    return rest


def test_big_vision_with_and_without_stacked_blocks(golden, tmp_path):
    fixture = golden("vit_token")
    arrays = _unfolded(_arrays_of(fixture.checkpoint))
    expected = fixture.arrays["logits"]
    for changed in (arrays, _stacked(arrays, depth=3)):
        np.savez(tmp_path / "bv.npz", **changed)
        model = keras_vit.from_checkpoint(tmp_path / "bv.npz")
        got = ops.convert_to_numpy(model(fixture.arrays["images"]))
        np.testing.assert_allclose(got, expected, atol=1e-5)
    assert len(_stacked(arrays, depth=3)) < len(arrays)


def test_a_training_checkpoint_of_big_vision(tmp_path, capsys):
    """`posemb="sincos2d"`: the formula of big_vision's code, written as there."""
    model = _gap()
    keras_vit.save_weights(model, tmp_path / "a.npz", format="big_vision")
    arrays = {f"params/{name}": array for name, array in _arrays_of(tmp_path / "a.npz").items()}
    del arrays["params/pos_embedding"]
    arrays |= {"opt/0/mu/embedding/bias": np.ones(32), "opt/1/count": np.int32(7)}
    np.savez(tmp_path / "b.npz", **arrays, **{"chrono/accum_train_time": np.float64(9)})
    for rows, columns in ((4, 4), (3, 5)):
        omega = 1.0 / 10_000.0 ** (np.arange(8) / 7)
        y, x = (axis.ravel()[:, None] * omega for axis in np.mgrid[:rows, :columns])
        waves = np.concatenate([np.sin(x), np.cos(x), np.sin(y), np.cos(y)], axis=1)
        expected = _gap()
        size = 8 * rows, 8 * columns
        expected = keras_vit.resize_model(expected, size)
        expected.get_layer("position_embedding").embedding.assign(waves[None])
        opened = keras_vit.from_checkpoint(tmp_path / "b.npz", size)
        np.testing.assert_allclose(_logits(opened), _logits(expected), atol=1e-5)
    said = capsys.readouterr().out
    assert "3 arrays that are no part of the model" in said and "posemb='sincos2d'" in said
    keras_vit.load_weights(expected, tmp_path / "b.npz")
    np.testing.assert_allclose(_logits(opened), _logits(expected), atol=1e-6)
    with pytest.raises(ValueError, match=r"no positions.*image_size=224 for example"):
        keras_vit.from_checkpoint(tmp_path / "b.npz")
    # With a class token, whose position is zero.
    arrays["params/cls"] = np.ones((1, 1, 32), "float32")
    np.savez(tmp_path / "c.npz", **arrays)
    embedding = keras_vit.from_checkpoint(tmp_path / "c.npz", 32).get_layer("position_embedding")
    assert not ops.convert_to_numpy(embedding.embedding)[:, 0].any()
