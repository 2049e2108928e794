"""Weights for images of other channels, and for other patches, than those they were trained on."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops
from support.families import FAMILIES, build, images

import keras_vit
from keras_vit.checkpoints.convert import convert
from keras_vit.layers.patch_resampling import resample_patch_kernel
from keras_vit.layers.position_embedding import resample_position_embedding

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


# Other patches.


def _kernel(model):
    name = "stem" if any(layer.name == "stem" for layer in model.layers) else "patch_embed"
    return ops.convert_to_numpy(model.get_layer(name).projection.kernel)


@pytest.mark.parametrize(
    ("family", "patch_size", "image_size"), [("vit", 4, (32, 40)), ("hybrid", 4, (32, 32))]
)
def test_another_patch_size(family, patch_size, image_size, trained, capsys):
    """The kernel by the pseudo-inverse, the positions for the new grid, all else as it was."""
    model, path = trained(family)
    other = keras_vit.from_checkpoint(path, image_size, patch_size=patch_size)
    old = _kernel(model)
    assert f"{len(old)} x {len(old)} are resampled to 4 x 4" in capsys.readouterr().out
    np.testing.assert_allclose(_kernel(other), resample_patch_kernel(old, 4), atol=1e-6)
    stride = 4 if family == "vit" else 16
    grid = tuple(side // stride for side in image_size)
    positions = model.get_layer("position_embedding")
    assert other.get_layer("position_embedding").grid_size == grid
    expected = resample_position_embedding(positions.embedding, positions.grid_size, grid)
    np.testing.assert_allclose(other.get_layer("position_embedding").embedding, expected, atol=1e-6)
    live = keras.models.clone_model(other)  # with weights of its own
    keras_vit.load_weights(live, path)
    resized = keras_vit.resize_model(model, image_size, patch_size)
    for a, b, c in zip(other.get_weights(), live.get_weights(), resized.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    assert type(resized.get_layer("patch_embed")) is type(model.get_layer("patch_embed"))


def test_a_mixer_of_another_patch_takes_another_image(trained):
    model, path = trained("mixer")  # 4 x 4 patches of 8 pixels
    large = keras_vit.from_checkpoint(path, patch_size=12)
    assert tuple(large.input_shape) == (None, 48, 48, 3)
    patches = images().reshape(4, 4, 8, 4, 8, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 8, 8, 3)
    patches = ops.convert_to_numpy(
        ops.image.resize(patches, (12, 12), "bilinear", data_format="channels_last")
    )
    upsampled = patches.reshape(4, 4, 4, 12, 12, 3).transpose(0, 1, 3, 2, 4, 5)
    found = _run(large, upsampled.reshape(4, 48, 48, 3))
    np.testing.assert_allclose(found, _run(model, images()), atol=1e-5)
    with pytest.raises(ValueError, match="made for one number of patches"):
        keras_vit.from_checkpoint(path, 32, patch_size=4)


@pytest.mark.filterwarnings("ignore:The model .* has {")
def test_convert_takes_a_patch_size(trained, tmp_path):
    model, path = trained("vit")
    convert(path, tmp_path / "a.npz", format="timm", image_size=32, patch_size=4)
    found = keras_vit.from_checkpoint(
        tmp_path / "a.npz", num_heads=3, gelu="tanh", interpolation="bilinear"
    )
    expected = _run(keras_vit.resize_model(model, 32, 4), images())
    np.testing.assert_allclose(_run(found, images()), expected, atol=1e-5)


def test_channels_and_patches_at_once(trained):
    model, path = trained("vit")
    grey = _of("vit", path, 1, patch_size=4)
    expected = resample_patch_kernel(_kernel(model).sum(2, keepdims=True), 4)
    np.testing.assert_allclose(_kernel(grey), expected, atol=1e-5)


@pytest.mark.parametrize("patch_size", [0, 2.5, "16"])
def test_patch_sizes_that_are_none(patch_size, trained):
    model, path = trained("vit")
    for made in (
        lambda: keras_vit.from_checkpoint(path, patch_size=patch_size),
        lambda: keras_vit.resize_model(model, 32, patch_size),
    ):
        with pytest.raises((ValueError, TypeError), match="patch_size"):
            made()


def test_a_resnet_has_no_patches(trained):
    with pytest.raises(ValueError, match="has no patches"):
        keras_vit.from_checkpoint(trained("bit")[1], patch_size=16)


@pytest.mark.filterwarnings("ignore:The head in")
@pytest.mark.parametrize("patch_size", [48, 16])
def test_a_file_of_flexivit_opens_at_any_patch_size(patch_size, tmp_path):
    """A buffer of 32 x 32 and 7 x 7 positions; 240 pixels, as the paper trains."""
    buffer = keras_vit.ViT(224, 32, 16, 1, 2, 8, classes=3)
    keras_vit.save_weights(buffer, tmp_path / "a.npz", format="big_vision")
    model = keras_vit.from_checkpoint(tmp_path / "a.npz", 240, patch_size=patch_size)
    assert tuple(model.input_shape) == (None, 240, 240, 3)
    assert model.get_layer("position_embedding").grid_size == (240 // patch_size,) * 2
    expected = resample_patch_kernel(_kernel(buffer), patch_size)
    np.testing.assert_allclose(_kernel(model), expected, atol=1e-6)
