"""Keras's own files load whole into the model that they fit, and change nothing in another."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
from keras import ops
from support.combinations import crossed, slow

import keras_vit
from keras_vit.models import ResNetStem

pytestmark = pytest.mark.any_backend
SIZE = 32
ENDINGS = (".weights.h5", ".keras")


def _vit(**options):
    settings = {"patch_size": 8, "width": 48, "depth": 2, "num_heads": 3, "mlp_dim": 64}
    return keras_vit.ViT(SIZE, **{**settings, "classes": 5, **options})


def _hybrid(units=(1,), **options):
    return _vit(patch_size=1, stem=ResNetStem(units, 0.5), **options)


def _bit(block_sizes=(1, 1), **options):
    return keras_vit.BiT(SIZE, block_sizes, 0.5, **{"classes": 3, **options})


def _mixer(**options):
    settings = {"patch_size": 8, "width": 12, "depth": 2, "tokens_mlp_dim": 8}
    return keras_vit.Mixer(SIZE, **{**settings, "channels_mlp_dim": 16, "classes": 3, **options})


def _wrapped(make, **options):
    base = make(include_top=False, pooling="avg", **options)
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), base, keras.layers.Dense(4)])


def _save(model, path):
    model.save(path) if path.suffix == ".keras" else model.save_weights(path)
    return path


MISFITS = [
    (_vit, {"depth": 3}, "unexpected in the file: .*block_2/"),
    (_vit, {"depth": 1}, "missing from the file: .*block_1/"),
    (_vit, {"registers": 2}, "unexpected in the file: .*registers/token"),
    (_vit, {"num_heads": 2}, "attention heads: .* is 2 in the file, 3 in the model"),
    (_vit, {"gelu": "exact"}, "GELU: .* is 'exact' in the file, 'tanh' in the model"),
    (_hybrid, {"gelu": "exact"}, "GELU: .* is 'exact' in the file, 'tanh' in the model"),
    (_vit, {"norm_epsilon": 1e-2}, "epsilon of the norms: .* is 0.01 in the file, 1e-06 in"),
    (_vit, {"mlp_dim": 32}, r"wrong shape: .*block_0/mlp/dense_1/kernel is \(48, 32\)"),
    (_vit, {"layer_scale": 0.1}, "unexpected in the file: .*attention_scale"),
    (_hybrid, {"units": (2,)}, "unexpected in the file: .*stem_block1_unit2"),
    (_hybrid, {"depth": 3}, "unexpected in the file: .*block_2/"),
    (_bit, {"block_sizes": (1, 2)}, "unexpected in the file: .*block2_unit02"),
    (_mixer, {"depth": 3}, "unexpected in the file: .*mixer_block_2/"),
    (_mixer, {"tokens_mlp_dim": 9}, "wrong shape: .*token_mixing/dense_1/kernel"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("misfit", "file"), crossed(MISFITS, [(e, wrap) for e in ENDINGS for wrap in (False, True)])
)
def test_what_does_not_fit_changes_nothing(misfit, file, tmp_path):
    """In a model alone, and inside a Sequential."""
    (make, change, message), (ending, wrap) = misfit, file

    def made(**options):
        return _wrapped(make, **options) if wrap else make(**options)

    path = _save(made(**change), tmp_path / f"a{ending}")
    model = made()
    before = model.get_weights()
    with pytest.raises(ValueError, match="does not fit the model, and nothing was loaded") as error:
        keras_vit.load_weights(model, path)
    assert np.any([re.search(message, line) for line in str(error.value).split("\n")])
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(("make", "ending"), crossed([_vit, _hybrid, _bit, _mixer], ENDINGS))
def test_what_fits_loads(make, ending, tmp_path):
    """Whatever numbers Keras gave the user's own layers, compiled or not, with dropout or not."""
    keras.layers.Dense(1)  # the next one has another number
    source = _wrapped(make)
    source.compile("adam", "mse", run_eagerly=keras.backend.backend() == "tensorflow")
    source.fit(np.zeros((1, SIZE, SIZE, 3)), np.ones((1, 4)), verbose=0)
    path = _save(source, tmp_path / f"a{ending}")
    options = {"dropout_rate": 0.1} if make in (_vit, _hybrid) else {}
    model = _wrapped(make, **options)
    assert model.layers[-1].name != source.layers[-1].name
    keras_vit.load_weights(model, path)
    x = np.random.default_rng(0).normal(size=(2, SIZE, SIZE, 3)).astype("float32")
    np.testing.assert_allclose(
        ops.convert_to_numpy(model(x)), ops.convert_to_numpy(source(x)), atol=1e-6
    )


def test_two_layers_of_one_shape_are_not_mixed_up(tmp_path):
    """Keras counts the norms: a norm of the tokens would become the norm of their mean."""
    source = _vit(classifier="gap")
    path = _save(source, tmp_path / "a.weights.h5")
    model = _vit(classifier="gap", norm_after_pooling=True)
    with pytest.raises(ValueError, match=r"the file has encoder_norm/gamma.*model has pooled_norm"):
        keras_vit.load_weights(model, path)


def test_a_model_without_a_head_leaves_the_head_of_the_file(tmp_path):
    source = _vit(representation_size=9)
    path = _save(source, tmp_path / "a.weights.h5")
    features = _vit(include_top=False, pooling="token")
    keras_vit.load_weights(features, path)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(features.get_layer("encoder_norm").gamma),
        ops.convert_to_numpy(source.get_layer("encoder_norm").gamma),
    )


@pytest.mark.filterwarnings("ignore:The head in")
@pytest.mark.parametrize("make", [_vit, _hybrid])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_keras_file_says_what_the_head_sees(make, ending, tmp_path):
    """The mean of the patches or the class token: the arrays are the same."""
    mean = make(classifier="gap", class_token=True)
    path = _save(mean, tmp_path / f"mean{ending}")
    model = make()
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"classifier: .* is 'gap' in the file, 'token' in the mo"):
        keras_vit.load_weights(model, path)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    features = make(include_top=False, pooling="token", class_token=True)
    keras_vit.load_weights(features, path)  # the head is left out: as its user likes
    assert keras_vit.from_checkpoint(path).get_layer("pooling").pooling == "avg"
    path = _save(make(norm_after_pooling=True), tmp_path / f"token{ending}")
    assert keras_vit.from_checkpoint(path).get_layer("pooling").pooling == "token"


@pytest.mark.parametrize("make", [_vit, slow(_hybrid)])
def test_pixels_of_another_mean_are_refused(make, tmp_path):
    """Only one of the two models has a layer that normalises them."""
    plain, imagenet = make(), make(normalisation="imagenet")
    for source, target, said in ((plain, imagenet, "centred"), (imagenet, plain, "imagenet")):
        path = _save(source, tmp_path / "a.weights.h5")
        with pytest.raises(ValueError, match=f"normalisation of the pixels: '{said}' in the file"):
            keras_vit.load_weights(target, path)
        wrapped = keras.Sequential([keras.Input((SIZE, SIZE, 3)), target])
        path = _save(keras.Sequential([keras.Input((SIZE, SIZE, 3)), source]), path)
        with pytest.raises(ValueError, match=f"normalisation of the pixels: '{said}' in the file"):
            keras_vit.load_weights(wrapped, path)


def test_a_keras_file_says_what_no_shape_says(tmp_path):
    source = _vit(gelu="exact", norm_epsilon=1e-12)
    source.get_layer("head").kernel.assign(np.random.default_rng(0).normal(size=(48, 5)))
    path = _save(source, tmp_path / "a.weights.h5")
    model = keras_vit.from_checkpoint(path)
    block = model.get_layer("block_0")
    assert (block.num_heads, block.gelu, block.epsilon) == (3, "exact", 1e-12)
    with pytest.raises(ValueError, match="attention heads: 3 in the file, 4 in the model"):
        keras_vit.from_checkpoint(path, num_heads=4)


@pytest.mark.parametrize("make", [_vit, _hybrid, _bit, _mixer])
def test_nan_is_refused_unless_it_is_wanted(make, tmp_path):
    source = make()
    kernel = next(w for w in source.weights if w.path.endswith("head/kernel"))
    kernel.assign(np.full(kernel.shape, np.nan))
    keras_vit.save_weights(source, tmp_path / "a.npz")
    source.save_weights(tmp_path / "a.weights.h5")
    source.save(tmp_path / "a.keras")
    for name in ("a.npz", "a.weights.h5", "a.keras"):
        path = tmp_path / name
        with pytest.raises(ValueError, match=r"NaN or infinity: \d+ of the .* numbers of "):
            keras_vit.from_checkpoint(path)
        model = make()
        before = model.get_weights()
        with pytest.raises(ValueError, match=r"NaN or infinity.*allow_nonfinite=True"):
            keras_vit.load_weights(model, path)
        for old, new in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
        keras_vit.load_weights(model, path, allow_nonfinite=True)
        loaded = next(w for w in model.weights if w.path.endswith("head/kernel"))
        assert np.isnan(ops.convert_to_numpy(loaded)).all()
        keras_vit.from_checkpoint(path, allow_nonfinite=True)
