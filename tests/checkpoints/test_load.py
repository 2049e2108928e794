"""Every array and every variable is accounted for."""

from __future__ import annotations

import dataclasses
import sys
import types

import keras
import numpy as np
import pytest
from keras import ops
from support.child_memory import printed_bytes

import keras_vit
from keras_vit.applications.manifest import check_released_file, manifest
from keras_vit.checkpoints.checkpoint import Checkpoint
from keras_vit.checkpoints.info.describe import describe
from keras_vit.checkpoints.model_arrays import Arrays

pytestmark = pytest.mark.any_backend

TINY = keras_vit.ViTConfig(4, 12, 2, 3, 20)


def _arrays(config=TINY, seed=0, **options):
    random = np.random.default_rng(seed)
    options = {"image_size": 16, "classes": 5, **options}
    return {
        name: random.normal(0, 0.3, shape).astype("float32")
        for name, shape in manifest(config, **options).items()
    }


def _save(path, arrays):
    np.savez(path, **arrays)
    return path


def _logits(model, seed=0):
    x = np.random.default_rng(seed).normal(size=(2, *model.input_shape[1:])).astype("float32")
    return ops.convert_to_numpy(model(x))


def test_the_model_is_read_off_the_arrays(tmp_path):
    arrays = _arrays(representation_size=9)
    model = keras_vit.from_checkpoint(_save(tmp_path / "a.npz", arrays))
    assert tuple(model.input_shape) == (None, 16, 16, 3)
    assert tuple(model.output_shape) == (None, 5)
    loaded = Arrays(model, "google")
    assert set(loaded) == set(arrays)
    for name in loaded:  # bit for bit
        np.testing.assert_array_equal(loaded[name], arrays[name])
    with Checkpoint(tmp_path / "a.npz") as checkpoint:
        info = describe(checkpoint)
    assert info.config == keras_vit.ViTConfig(4, 12, 2, 3, 20, title="a title is no difference")
    assert (info.representation_size, info.classes) == (9, 5)


LINEN = {
    "MultiHeadDotProductAttention_1": "MultiHeadDotProductAttention_0",
    "LayerNorm_2": "LayerNorm_1",
    "MlpBlock_3": "MlpBlock_0",
}


def _linen(name):
    for old, new in LINEN.items():
        name = name.replace(old, new)
    return name


@pytest.mark.parametrize(
    "rename",
    [
        _linen,
        lambda name: f"params/{name}",
        lambda name: f"opt/target/{name}",
        lambda name: f"opt/target/{_linen(name)}",
    ],
    ids=["linen", "params", "opt-target", "opt-target-linen"],
)
def test_other_namings_are_the_same_model(tmp_path, rename):
    arrays = _arrays()
    expected = keras_vit.from_checkpoint(_save(tmp_path / "a.npz", arrays))
    renamed = {rename(name): array for name, array in arrays.items()}
    if rename("x").startswith("opt/"):
        renamed["opt/state/step"] = np.int64(7)  # a training state has more than parameters
    model = keras_vit.from_checkpoint(_save(tmp_path / "b.npz", renamed))
    np.testing.assert_array_equal(_logits(model), _logits(expected))


def test_one_error_lists_everything_that_does_not_fit(tmp_path):
    arrays = _arrays()
    bias = arrays.pop("Transformer/encoderblock_1/LayerNorm_2/bias")
    arrays["Transformer/encoderblock_1/LayerNorm_2/offset"] = bias
    arrays["Transformer/encoderblock_0/MlpBlock_3/Dense_1/kernel"] = np.zeros((20, 13), "float32")
    path = _save(tmp_path / "a.npz", arrays)
    model = keras_vit.ViT(16, 4, 12, 2, 3, 20, classes=5)
    before = model.get_weights()
    with pytest.raises(ValueError) as error:
        keras_vit.load_weights(model, path)
    message = str(error.value)
    assert "missing from the file: Transformer/encoderblock_1/LayerNorm_2/bias" in message
    assert "unexpected in the file: Transformer/encoderblock_1/LayerNorm_2/offset" in message
    assert "Dense_1/kernel is (20, 13), the model needs (20, 12)" in message
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)  # nothing was loaded


def test_the_same_parameter_twice(tmp_path):
    arrays = _arrays()
    arrays["params/head/bias"] = arrays["head/bias"]
    with pytest.raises(ValueError, match=r"same parameter.*head/bias"):
        keras_vit.from_checkpoint(_save(tmp_path / "a.npz", arrays))


def test_the_head_of_a_checkpoint_is_left_where_it_is_not_wanted(tmp_path):
    path = _save(tmp_path / "a.npz", _arrays(representation_size=9))
    features = keras_vit.from_checkpoint(path, include_top=False, pooling="token")
    assert tuple(features.output_shape) == (None, 12)
    kept = keras_vit.from_checkpoint(path, classes=7, representation_size=9)
    assert ops.convert_to_numpy(kept.get_layer("pre_logits").kernel).any()
    fresh = keras_vit.from_checkpoint(path, classes=7)
    np.testing.assert_array_equal(_logits(fresh), 0)
    # The same into a live model, whose own head stays.
    keras_vit.load_weights(fresh, path, new_head=True)
    np.testing.assert_array_equal(_logits(fresh), 0)
    with pytest.raises(ValueError, match="head/kernel"):
        keras_vit.load_weights(fresh, path)


def test_gap_channels_and_non_square_grids(tmp_path):
    arrays = _arrays()
    del arrays["cls"]
    arrays["embedding/kernel"] = arrays["embedding/kernel"][:, :, :1]
    positions = arrays["Transformer/posembed_input/pos_embedding"][:, 1:]
    arrays["Transformer/posembed_input/pos_embedding"] = positions[:, :8]  # 2 x 4 patches
    path = _save(tmp_path / "a.npz", arrays)
    model = keras_vit.from_checkpoint(path, image_size=(8, 16))
    assert tuple(model.input_shape) == (None, 8, 16, 1)
    assert "class_token" not in [layer.name for layer in model.layers]
    with pytest.raises(ValueError, match=r"8 positions, which form no square"):
        keras_vit.from_checkpoint(path)


def test_keras_files_resample_too(tmp_path):
    source = keras_vit.from_checkpoint(_save(tmp_path / "a.npz", _arrays()))
    source.save_weights(tmp_path / "a.weights.h5")
    source.save(tmp_path / "a.keras")
    expected = _logits(keras_vit.from_checkpoint(tmp_path / "a.npz", image_size=(24, 8)))
    for name in ("a.weights.h5", "a.keras", "a.npz"):
        model = keras_vit.ViT((24, 8), 4, 12, 2, 3, 20, classes=5)
        keras_vit.load_weights(model, tmp_path / name)
        np.testing.assert_allclose(_logits(model), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "bfloat16"])
def test_weights_load_into_a_16_bit_model(tmp_path, dtype):
    arrays = _arrays()
    model = keras_vit.from_checkpoint(_save(tmp_path / "a.npz", arrays), dtype=dtype)
    expected = _logits(keras_vit.from_checkpoint(tmp_path / "a.npz"))
    got = ops.convert_to_numpy(ops.cast(_logits(model), "float32"))
    assert np.abs(got - expected).max() < 0.25


def test_a_released_file_is_checked_to_the_last_array(tmp_path, monkeypatch):
    monkeypatch.setitem(keras_vit.VARIANTS, "ViT_Ti16", TINY)
    row = types.SimpleNamespace(
        variant="ViT_Ti16",
        classes=5,
        image_size=16,
        representation_size=None,
        class_token=True,
    )
    arrays = _arrays()
    check_released_file(_save(tmp_path / "good.npz", arrays), row)
    bad = {
        "missing": {k: v for k, v in arrays.items() if k != "cls"},
        "unexpected": {**arrays, "extra": np.zeros(3, "float32")},
        "wrong shape": {**arrays, "head/bias": np.zeros(6, "float32")},
        "floating-point": {**arrays, "head/bias": np.zeros(5, "int32")},
    }
    for message, changed in bad.items():
        with pytest.raises(ValueError, match=message):
            check_released_file(_save(tmp_path / "bad.npz", changed), row)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>404</html>", "not an .npz"),
        (b"", "not an .npz"),
        (b"\x80\x04pickle", "never loaded"),
        (b"PK\x03\x04" + bytes(20), "not an .npz"),
        (b"\x89HDF\r\n\x1a\n" + bytes(20), "it is damaged"),
    ],
)
def test_a_file_that_is_no_checkpoint(tmp_path, content, message):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        keras_vit.from_checkpoint(tmp_path / "a.npz")


def test_arrays_of_another_kind_of_model(tmp_path):
    path = _save(tmp_path / "a.npz", {"resnet/head/bias": np.zeros(3, "float32")})
    with pytest.raises(ValueError, match=r"Vision Transformer.*BiT.*timm.*resnet/head/bias"):
        keras_vit.from_checkpoint(path)


def test_any_other_shapes_give_a_clear_error(tmp_path):
    """Every array in turn with another rank or size: a ValueError, never anything else."""
    arrays = _arrays(dataclasses.replace(TINY, depth=1), representation_size=9)
    for name in arrays:
        for shape in [(), (0,), (3, 2, 1, 4)]:
            changed = {**arrays, name: np.zeros(shape, "float32")}
            with pytest.raises(ValueError):
                keras_vit.from_checkpoint(_save(tmp_path / "a.npz", changed))


@pytest.mark.one_backend
def test_bit_names_with_numbers_and_a_file_of_another_family(golden, tmp_path):
    fixture = golden("bit")
    with np.load(fixture.checkpoint) as file:
        arrays = dict(file)
    numbered = {
        name.replace("standardized_conv2d/", f"standardized_conv2d_{i}/"): array
        for i, (name, array) in enumerate(arrays.items())
    }
    assert numbered.keys() != arrays.keys()
    path = _save(tmp_path / "numbered.npz", numbered)
    model = keras_vit.from_checkpoint(path, image_size=(40, 56))
    assert tuple(model.input_shape) == (None, 40, 56, 3)
    expected = keras_vit.from_checkpoint(fixture.checkpoint, image_size=(40, 56))
    np.testing.assert_array_equal(_logits(model), _logits(expected))
    fresh = keras_vit.from_checkpoint(path, classes=3)
    assert tuple(fresh.output_shape) == (None, 3)
    features = keras_vit.from_checkpoint(path, include_top=False, input_shape=(None, None, 3))
    assert tuple(features.output_shape) == (None, None, None, 1024)
    vit = keras_vit.ViT(16, 4, 12, 2, 3, 20, classes=5)
    with pytest.raises(ValueError, match=r"checkpoint of a BiT ResNet.*is a Vision Transformer"):
        keras_vit.load_weights(vit, path)
    with pytest.raises(ValueError, match="must have the layers of a model that keras_vit built"):
        keras_vit.load_weights(keras.Sequential([keras.Input((3,))]), path)


def test_an_unknown_suffix(tmp_path):
    (tmp_path / "model.pth").write_bytes(b"x")
    model = keras_vit.ViT(16, 4, 12, 0, 3, 20, classes=5)
    with pytest.raises(ValueError, match=r"a \.safetensors, a \.weights\.h5 or a \.keras"):
        keras_vit.load_weights(model, tmp_path / "model.pth")


@pytest.fixture(scope="module")
def growth(tmp_path_factory):
    """Peaks of memory of a process that loads and builds a model, in times the size of its file."""
    if sys.platform != "linux" or keras.backend.backend() != "tensorflow":
        pytest.skip("reads the peak memory as Linux counts it, once")
    folder = tmp_path_factory.mktemp("memory")
    # 100 MB; the largest array is 4 MB.
    config = keras_vit.ViTConfig(16, 512, 8, 8, 2048)
    path = _save(folder / "a.npz", _arrays(config, image_size=224, classes=10))
    script = """
        import keras_vit

        keras_vit.ViT(16, 4, 12, 1, 3, 20)  # wakes up the backend
        before = new_peak()
        loaded = keras_vit.from_checkpoint("a.npz")
        print(peak() - before)
        before = new_peak()
        built = keras_vit.ViT(224, 16, 512, 8, 8, 2048, classes=10)
        print(peak() - before)
        before = new_peak()
        keras_vit.load_weights(built, "a.npz")
        print(peak() - before)
    """
    from_file, random, into = printed_bytes(script, folder)
    size = path.stat().st_size
    return {"from file": from_file / size, "random": random / size, "into model": into / size}


def test_loading_needs_little_memory_beside_the_model(growth):
    assert growth["into model"] < 1.3


def test_a_model_is_allocated_once(growth):
    """A second allocation of all would be another 1."""
    assert 0.9 < growth["from file"] < 1.5
    assert 0.9 < growth["random"] < 1.5
