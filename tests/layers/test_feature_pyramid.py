"""The maps of ViTDet's feature pyramid, against NumPy."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_vit.layers import SimpleFeaturePyramid

pytestmark = pytest.mark.any_backend


def _norm(x, weights, name):
    centred = x - x.mean(axis=-1, keepdims=True)
    normed = centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + 1e-6)
    return normed * weights[f"{name}/gamma"] + weights[f"{name}/beta"]


def _enlarged(x, weights, name):
    """Each pixel becomes 2 x 2: a product with the kernel of each of the four places."""
    y = np.einsum("bijc,xyoc->bixjyo", x, weights[f"{name}/kernel"])
    images, rows, _, columns, _, channels = y.shape
    return y.reshape(images, 2 * rows, 2 * columns, channels) + weights[f"{name}/bias"]


def _convolved(x, kernel):
    """3 x 3, zeros around."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows, columns = x.shape[1:3]
    return sum(
        padded[:, i : i + rows, j : j + columns] @ kernel[i, j] for i in range(3) for j in range(3)
    )


def _by_numpy(x, weights):
    twice = _norm(_enlarged(x, weights, "enlarge_4_first"), weights, "enlarge_4_norm")
    twice = twice * 0.5 * (1 + np.vectorize(math.erf)(twice / math.sqrt(2)))
    whole = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
    half = np.max([whole[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)
    scaled = {
        "4": _enlarged(twice, weights, "enlarge_4_second"),
        "2": _enlarged(x, weights, "enlarge_2"),
        "1": x,
        "half": half,
    }
    for scale, y in scaled.items():
        y = _norm(
            y @ weights[f"projection_{scale}/kernel"][0, 0], weights, f"projection_norm_{scale}"
        )
        y = _convolved(y, weights[f"convolution_{scale}/kernel"])
        yield _norm(y, weights, f"convolution_norm_{scale}")


def test_the_maps_are_those_of_the_definition():
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 5, 4, 8)).astype("float32")
    layer = SimpleFeaturePyramid(width=6, data_format="channels_last")
    layer.build(x.shape)
    weights = {}
    for variable in layer.weights:
        variable.assign(random.normal(size=variable.shape))
        weights["/".join(variable.path.split("/")[-2:])] = ops.convert_to_numpy(variable)
    assert len(weights) == len(layer.weights) == 8 + 4 * 6
    expected = list(_by_numpy(x.astype("float64"), weights))
    for made in (layer(x), layer(x, training=True)):
        assert [y.shape for y in made] == [y.shape for y in expected]
        for ours, theirs in zip(made, expected, strict=True):
            np.testing.assert_allclose(ops.convert_to_numpy(ours), theirs, atol=2e-4, rtol=1e-4)

    first = SimpleFeaturePyramid(width=6, data_format="channels_first")
    turned = first(x.transpose(0, 3, 1, 2))
    for source, target in zip(layer.weights, first.weights, strict=True):
        target.assign(source)
    turned = first(x.transpose(0, 3, 1, 2))
    for ours, theirs in zip(turned, expected, strict=True):
        found = ops.convert_to_numpy(ours).transpose(0, 2, 3, 1)
        np.testing.assert_allclose(found, theirs, atol=2e-4, rtol=1e-4)


def test_a_frozen_part_stays_frozen_in_a_copy_and_all_parts_train(tmp_path):
    image = keras.Input((4, 4, 8))
    layer = SimpleFeaturePyramid(width=4)
    model = keras.Model(image, [keras.layers.GlobalAveragePooling2D()(y) for y in layer(image)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    before = [ops.convert_to_numpy(v) for v in model.weights]
    random = np.random.default_rng(0)
    model.train_on_batch(
        random.normal(size=(2, 4, 4, 8)), [random.normal(size=(2, 4)) for _ in range(4)]
    )
    for old, variable in zip(before, model.weights, strict=True):
        assert (old != ops.convert_to_numpy(variable)).any(), variable.path
    layer.enlarge_2.trainable = False
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [v.trainable for v in loaded.weights] == [v.trainable for v in model.weights]
    assert len(loaded.trainable_weights) == len(loaded.weights) - 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SimpleFeaturePyramid(0), "width"),
        (lambda: SimpleFeaturePyramid(data_format="last"), "data_format"),
        (lambda: SimpleFeaturePyramid()(np.zeros((1, 4, 4, 3))), "at least 4 channels"),
    ],
)
def test_what_it_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()
