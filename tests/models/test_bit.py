"""The BiT ResNet: size, options, saving. Its numbers are in test_parity.py."""

from __future__ import annotations

import gzip
import json
import math

import keras
import numpy as np
import pytest
from keras import ops
from support.paths import TABLES

import keras_vit
from keras_vit.applications.manifest import manifest
from keras_vit.layers.base.initializers import weights_follow
from keras_vit.layers.standardized_conv import StandardizedConv2D
from keras_vit.models import ResNetStem

pytestmark = pytest.mark.any_backend

SMALL = {"block_sizes": (1, 2), "width_factor": 0.5, "classes": 5}


def _numpy(x):
    return ops.convert_to_numpy(x)


def test_every_variant_has_a_row():
    configs = keras_vit.VARIANTS.items()
    bits = {n.removeprefix("BiT_") for n, c in configs if isinstance(c, keras_vit.BiTConfig)}
    assert bits == set(json.loads((TABLES / "param_counts.json").read_text())["bit"])


@pytest.mark.one_backend
@pytest.mark.parametrize("name", ["R50x1", "R50x3", "R101x1", "R101x3", "R152x2", "R152x4"])
def test_parameter_counts_and_manifests_of_the_original(name):
    counts = json.loads((TABLES / "param_counts.json").read_text())["bit"][name]
    released = json.loads(gzip.decompress((TABLES / "released_key_manifests.json.gz").read_bytes()))
    config = keras_vit.VARIANTS[f"BiT_{name}"]
    expected = {k: tuple(v) for k, v in released[f"BiT-M-{name}"].items()}
    assert manifest(config, classes=21843) == expected
    for classes, column in [(21843, "21843"), (1000, "1000"), (None, "no_head")]:
        shapes = manifest(config, classes=classes)
        assert sum(math.prod(shape) for shape in shapes.values()) == counts[column]
    assert config.width == counts["features"]


@pytest.mark.one_backend
def test_a_built_model_has_the_parameters_of_its_manifest():
    with weights_follow():
        model = keras_vit.BiT_R50x1(weights=None)
        features = keras_vit.BiT_R50x1(weights=None, include_top=False)
    assert model.count_params() == 25_549_352
    assert features.count_params() == 23_500_352
    assert features.output_shape[-1] == 2048


def test_a_copy_of_a_loaded_model_starts_at_random():
    stem = ResNetStem((1,), 0.5)
    with weights_follow():
        models = (
            keras_vit.BiT((24, 40), **SMALL),
            keras_vit.ViT(32, 1, 8, 1, 2, 16, stem=stem),
        )
    for model in models:
        layers = keras.models.clone_model(model).layers
        kernels = [_numpy(x.kernel) for x in layers if isinstance(x, StandardizedConv2D)]
        assert len(kernels) > 3
        for kernel in kernels:
            assert 0.8 < kernel.std() * math.sqrt(kernel[..., 0].size) < 1.6


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_saved_and_reloaded_bit_for_bit(policy, tmp_path):
    model = keras_vit.BiT((24, 40), **SMALL, dtype=policy, include_preprocessing=True)
    model.get_layer("head").kernel.assign(np.random.default_rng(0).normal(size=(256, 5)))
    x = np.random.default_rng(0).integers(0, 256, (2, 24, 40, 3)).astype("uint8")
    model.save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.abs(_numpy(model(x))).max() > 0.1
    np.testing.assert_array_equal(_numpy(model(x)), _numpy(reloaded(x)))


def test_any_size_and_every_pooling():
    x = np.random.default_rng(0).normal(size=(2, 37, 51, 3)).astype("float32")
    options = {**SMALL, "include_top": False, "input_shape": (None, None, 3)}
    keras.utils.set_random_seed(0)
    model = keras_vit.BiT(**options)
    feature_map = _numpy(model(x))
    # Halved by the root, its pooling and the second block, each time rounded up.
    assert feature_map.shape == (2, 5, 7, 256)
    for pooling, expected in [
        ("avg", feature_map.mean(axis=(1, 2))),
        ("max", feature_map.max(axis=(1, 2))),
    ]:
        pooled = keras_vit.BiT(**options, pooling=pooling)
        pooled.set_weights(model.get_weights())
        np.testing.assert_allclose(_numpy(pooled(x)), expected, atol=1e-5)
    of_one_size = keras_vit.resize_model(model, (37, 51))
    assert of_one_size.output_shape == (None, 5, 7, 256)
    np.testing.assert_allclose(_numpy(of_one_size(x)), feature_map, atol=1e-5)
    with pytest.raises(ValueError, match=r"Without `patch_size`.*patch_size=8"):
        keras_vit.resize_model(model, 37, patch_size=8)
    with pytest.raises(ValueError, match="takes images of any size"):
        keras_vit.resize_model(of_one_size, 64)


def test_the_kernel_is_standardised_in_float32_under_a_16_bit_policy():
    """Adding 1000 to a kernel changes nothing; in bfloat16 it would wipe it out."""
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 3)).astype("float32")
    for inside in (False, True):
        layer = StandardizedConv2D(4, 3, epsilon_in_root=inside, dtype="mixed_bfloat16")
        before = _numpy(ops.cast(layer(x), "float32"))
        layer.kernel.assign(layer.kernel.value + 1000)
        after = _numpy(ops.cast(layer(x), "float32"))
        np.testing.assert_allclose(after, before, atol=0.1)
        assert before.std() > 1


def test_bad_arguments_say_what_was_expected():
    with pytest.raises(ValueError, match=r"None, avg, max. A ResNet has no class token"):
        keras_vit.BiT(include_top=False, pooling="token")
    with pytest.raises(ValueError, match=r"block_sizes\[1\]"):
        keras_vit.BiT(block_sizes=(1, 0))
