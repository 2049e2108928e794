"""Weights for images of other channels, and for other patches, than those they were trained on."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops
from support.families import FAMILIES, build, images

import keras_vit

pytestmark = pytest.mark.any_backend


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model of each family, and its file."""
    folder, made = tmp_path_factory.mktemp("pixels"), {}

    def of(family):
        if family not in made:
            path = folder / f"{family}.weights.h5"
            model = build(family)
            model.save_weights(path)
            made[family] = model, path
        return made[family]

    return of


def _of(family, path, channels, **options):
    shape = (32, 32, channels)
    return keras_vit.from_checkpoint(path, input_shape=shape, **options)


def _run(model, x):
    return np.asarray(ops.convert_to_numpy(model(x)), "float32")


@pytest.mark.parametrize("family", ["vit", "mixer"])
def test_one_channel_is_the_three_on_stacked_grey(family, trained):
    model, path = trained(family)
    grey = images()[..., :1]
    one = _of(family, path, 1)
    assert tuple(one.input_shape) == (None, 32, 32, 1)
    np.testing.assert_allclose(_run(one, grey), _run(model, grey.repeat(3, -1)), atol=1e-5)


@pytest.mark.parametrize("family", ["vit", "mixer"])
def test_the_channels_of_more_bands_are_the_three_in_turn(family, trained):
    """Of 5 bands: red, green, blue, red, green; each times 3/5."""
    model, path = trained(family)
    bands = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 5)).astype("float32")
    mixed = np.stack(
        [bands[..., 0] + bands[..., 3], bands[..., 1] + bands[..., 4], bands[..., 2]], -1
    ) * np.float32(3 / 5)
    np.testing.assert_allclose(_run(_of(family, path, 5), bands), _run(model, mixed), atol=1e-5)


@pytest.mark.parametrize("family", ["vit", "mixer"])
def test_channel_weights_say_what_a_channel_is(family, trained):
    """Blue, green, red and near infrared, which takes a part of red."""
    model, path = trained(family)
    weights = [[0, 0, 1], [0, 1, 0], [0.75, 0, 0], [0.25, 0, 0]]
    bands = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 4)).astype("float32")
    adapted = _of(family, path, 4, channel_weights=weights)
    expected = _run(model, bands @ np.array(weights, "float32"))
    np.testing.assert_allclose(_run(adapted, bands), expected, atol=1e-5)
    # A file of as many channels: the order of OpenCV.
    swapped = _of(family, path, 3, channel_weights=np.eye(3)[::-1])
    np.testing.assert_allclose(_run(swapped, images()[..., ::-1]), _run(model, images()), atol=1e-5)


@pytest.mark.parametrize("family", ["hybrid", "bit"])
def test_a_standardised_root_of_one_channel_differs_by_a_factor_per_output(family, trained):
    """The sum has another deviation, and the convolution takes it away."""
    model, path = trained(family)
    one = _of(family, path, 1)
    name = "root_conv" if family == "bit" else "stem_root_conv"
    grey = images()[..., :1]
    ours, theirs = (
        _run(keras.Model(each.input, each.get_layer(name).output), x)
        for each, x in ((one, grey), (model, grey.repeat(3, -1)))
    )
    kernel = ops.convert_to_numpy(model.get_layer(name).kernel)
    standardised = (kernel - kernel.mean((0, 1, 2))) / kernel.std((0, 1, 2))
    factor = standardised.sum(2).std((0, 1))
    np.testing.assert_allclose(ours * factor, theirs, atol=2e-3)
    assert np.abs(ours - theirs).max() > 0.1


@pytest.mark.parametrize("family", ["hybrid", "bit"])
def test_a_standardised_root_reads_the_colours_twice(family, trained):
    """Its norm takes away that it reads twice as much."""
    model, path = trained(family)
    twice = np.concatenate([images()] * 2, -1)
    np.testing.assert_allclose(_run(_of(family, path, 6), twice), _run(model, images()), atol=2e-3)


@pytest.mark.parametrize("family", ["hybrid", "bit"])
def test_stacked_grey_gives_what_three_channels_give(family, trained):
    """The exact way for them, which docs/fine_tune.md shows."""
    model, path = trained(family)
    image = keras.Input((32, 32, 1))
    stacked = keras_vit.from_checkpoint(
        path, input_tensor=keras.layers.Concatenate()([image, image, image])
    )
    grey = images()[..., :1]
    np.testing.assert_allclose(_run(stacked, grey), _run(model, grey.repeat(3, -1)), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_load_weights_adapts_and_says_it_once(family, trained, tmp_path, capsys):
    _, path = trained(family)
    expected = _of(family, path, 2)
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert f"{family}.weights.h5: its first kernel has 3 channels" in line
    assert "of the model have 2: they are repeated in turn and scaled by 3/2" in line
    assert ("standardises the result anew" in line) == (family in ("hybrid", "bit"))
    live = build(family, input_shape=(32, 32, 2))
    keras_vit.load_weights(live, path)
    assert capsys.readouterr().out == line
    for old, new in zip(expected.get_weights(), live.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    # What fits is loaded as it is, and nothing is said.
    live.save_weights(tmp_path / "two.weights.h5")
    keras_vit.load_weights(live, tmp_path / "two.weights.h5")
    assert capsys.readouterr().out == ""


def test_what_does_not_fit_is_refused_all_the_same(trained):
    _, path = trained("vit")
    model = build("vit", input_shape=(32, 32, 1), depth=1)
    before = model.get_weights()
    with pytest.raises(ValueError, match="block_1"):
        keras_vit.load_weights(model, path)
    wide = keras_vit.ViT(32, 8, 64, 2, 4, 64, registers=1, classes=5, input_shape=(32, 32, 1))
    with pytest.raises(ValueError, match=r"wrong shape: patch_embed/projection/kernel"):
        keras_vit.load_weights(wide, path)
    for weights in ([[1, 1, 1]] * 2, [[1, 1]], [[1, 1, np.nan]], "grey", [[1, 1, 1], [1]]):
        with pytest.raises(ValueError, match="matrix of 1 x 3 finite numbers"):
            keras_vit.load_weights(
                build("vit", input_shape=(32, 32, 1)), path, channel_weights=weights
            )
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
