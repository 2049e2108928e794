"""Quantised TFLite files: smaller, about as right, and what keeps them so."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from support.combinations import slow
from support.models_to_export import AS_THEY_ARE, FOLDED, SIZE, expected_of, pixels_for, randomised

import keras_vit
from keras_vit.exports.photos import photos_of
from keras_vit.exports.tflite import quantize as quantizing
from keras_vit.exports.tflite.export import export_tflite
from keras_vit.exports.tflite.gptq import gptq

tflite_run = pytest.importorskip("keras_vit.exports.tflite.runtime")
pytest.importorskip("ai_edge_quantizer", reason="the extra quantize")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = keras_vit.ViT(SIZE, 8, 128, 2, 4, 256, classes=10)
    model.get_layer("head").kernel.assign(np.random.default_rng(0).normal(size=(128, 10)))
    return model


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (12, *SIZE, 3), "uint8")


@pytest.fixture(scope="module")
def float32_bytes(model, tmp_path_factory):
    return export_tflite(model, tmp_path_factory.mktemp("float32") / "m.tflite").stat().st_size


def _difference(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected - expected.mean(0))


@pytest.mark.parametrize(
    "quantize, size, difference, uint8_input",
    [
        ("float16", 0.55, 2e-3, False),
        ("dynamic_int8", 0.32, 0.1, False),
        slow("int8", 0.34, 0.12, False),
        ("int8", 0.34, 0.12, True),
        ("int4", 0.22, 0.3, True),
    ],
)
def test_smaller_and_about_as_right(
    quantize, size, difference, uint8_input, model, pixels, float32_bytes, tmp_path
):
    photos = pixels[:8] if quantize in quantizing.NEED_PHOTOS else None
    path = export_tflite(
        model,
        tmp_path / "small.tflite",
        quantize=quantize,
        calibration=photos,
        uint8_input=uint8_input,
    )
    assert path.stat().st_size < size * float32_bytes
    expected = model.predict(keras_vit.preprocess_input(pixels.astype("float32")), verbose=0)
    found = tflite_run.runner(path)(pixels)["output"]
    assert 1e-6 < _difference(found, expected) < difference
    seen = tflite_run.delegation(path)
    assert (seen.partitions, seen.undelegated) == (1, ())
    # The patches are rows of a dense layer: a convolution has one scale for the whole image.
    assert "CONV_2D" not in seen.operators and seen.operators["FULLY_CONNECTED"] == 2 + 2 * 6


@pytest.mark.parametrize(
    "kind, quantize",
    [
        ("hybrid", "int8"),
        ("swiglu", "int8"),
        ("bit", "int8"),
        slow("mixer", "int8"),
        ("mixer", "int4"),
        slow("own head", "int4"),
    ],
)
def test_the_other_families(kind, quantize, tmp_path):
    model = randomised({**FOLDED, **AS_THEY_ARE}[kind]())
    photos = pixels_for(model, 6)
    path = export_tflite(
        model, tmp_path / "m.tflite", quantize=quantize, calibration=photos, batch_sizes=(1,)
    )
    expected = expected_of(model, photos)
    assert _difference(tflite_run.runner(path)(photos)["output"], expected) < 0.25


def test_one_massive_activation_does_not_spoil_the_rest(model, pixels, tmp_path, monkeypatch):
    """As in block 7 of the released Ti/16: a scale for the whole tensor has no steps left."""
    massive = keras.models.clone_model(model)
    massive.set_weights(model.get_weights())
    mlp = massive.get_layer("block_0").mlp
    first, second = np.array(mlp.dense_1.kernel), np.array(mlp.dense_2.kernel)
    first[:, 0] *= 300
    second[0] /= 300
    mlp.dense_1.kernel.assign(first)
    mlp.dense_2.kernel.assign(second)
    expected = massive.predict(keras_vit.preprocess_input(pixels.astype("float32")), verbose=0)
    found = {}
    chosen, never = quantizing.LARGEST_NOISE, (np.inf, np.inf)
    for largest in (chosen, never):
        monkeypatch.setattr(quantizing, "LARGEST_NOISE", largest)
        path = export_tflite(
            massive,
            tmp_path / "m.tflite",
            quantize="int8",
            calibration=pixels,
            batch_sizes=(1,),
            overwrite=True,
        )
        found[largest] = _difference(tflite_run.runner(path)(pixels)["output"], expected)
    assert found[chosen] < 0.5 * found[never]


def test_gptq_is_better_than_rounding_where_channels_go_together():
    random = np.random.default_rng(0)
    weights = random.normal(size=(16, 64)).astype("float32")
    inputs = random.normal(size=(500, 64)) @ random.normal(size=(64, 64))
    rounded = gptq(weights, inputs.T @ inputs / len(inputs), 4, 32)
    blocks = weights.reshape(16, 2, 32)
    scale = np.abs(blocks).max(-1, keepdims=True) / 7
    nearest = (np.round(blocks / scale) * scale).reshape(16, 64)

    def error(w):
        return np.square(inputs @ (w - weights).T).mean()

    assert error(rounded) < 0.6 * error(nearest)
    # 15 levels in each block, of which the outermost is used: a quantizer finds the same grid.
    blocks = rounded.reshape(16, 2, 32)
    levels = blocks / (np.abs(blocks).max(-1, keepdims=True) / 7)
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-5)


def test_gptq_by_hand():
    """Two channels that always go together: the second makes up for the first's rounding."""
    weights = np.zeros((1, 32), "float32")
    weights[0, :3] = 7, 0.4, 0.4
    products = np.eye(32)
    products[1, 2] = products[2, 1] = 0.999
    rounded = gptq(weights, products, 4, 32)
    assert rounded[0, :3].round(3).tolist() == [7, 0, 1]  # nearest: 7, 0, 0


def test_photos_of_a_folder(model, pixels, tmp_path):
    for i, image in enumerate(pixels[:3]):
        keras.utils.save_img(tmp_path / f"{i}.png", image)
    found, _ = photos_of(tmp_path, SIZE)
    np.testing.assert_array_equal(found, pixels[:3])
    files = [
        export_tflite(model, tmp_path / f"{i}.tflite", quantize="int8", calibration=given)
        for i, given in enumerate((tmp_path, pixels[:3]))
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
def test_the_released_ti16_on_real_photos(ti16_path, photos, tmp_path):
    """Calibrated on half of the photos, measured on the others."""
    model = keras_vit.from_checkpoint(ti16_path)
    pixels = np.stack([
        keras.utils.img_to_array(keras.utils.load_img(p, target_size=(224, 224)), dtype="uint8")
        for p in photos
    ])  # fmt: skip
    expected = model.predict(keras_vit.preprocess_input(pixels[1::2].astype("float32")), verbose=0)
    whole = export_tflite(model, tmp_path / "float32.tflite").stat().st_size
    for quantize, size, agreement in (("int8", 0.27, 0.94), ("int4", 0.17, 0.84)):
        path = export_tflite(
            model, tmp_path / f"{quantize}.tflite", quantize=quantize, calibration=pixels[::2]
        )
        assert path.stat().st_size <= size * whole
        found = tflite_run.runner(path)(pixels[1::2])["output"]
        assert (found.argmax(-1) == expected.argmax(-1)).mean() >= agreement
