from __future__ import annotations

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.paths import ROOT

from keras_vit.data.preprocessing import decode_predictions, labels, preprocess_input

PIXELS = np.arange(256, dtype="uint8").reshape(1, 16, 16, 1)
EXACT = (PIXELS.astype("float64") - 127.5) / 127.5


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float16", "float32", "float64"])
def test_arrays_are_scaled_exactly_and_left_alone(dtype):
    x = PIXELS.astype(dtype)
    before = x.copy()
    y = preprocess_input(x)
    assert isinstance(y, np.ndarray)
    assert y.dtype == (dtype if dtype.startswith("float") else "float32")
    np.testing.assert_array_equal(y, EXACT.astype(y.dtype))  # the nearest there is, all 256
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_tensors(dtype):
    y = preprocess_input(tf.constant(PIXELS, dtype))
    assert y.dtype == tf.float32
    np.testing.assert_array_equal(y, EXACT.astype("float32"))


def test_bfloat16_is_kept():
    y = preprocess_input(tf.constant([0.0, 255.0], "bfloat16"))
    assert y.dtype == tf.bfloat16
    assert y.numpy().tolist() == [-1.0, 1.0]


def test_within_a_model_and_an_input_pipeline():
    image = keras.Input((16, 16, 1), dtype="uint8")
    model = keras.Model(image, preprocess_input(image))
    np.testing.assert_array_equal(model(PIXELS), EXACT.astype("float32"))
    dataset = tf.data.Dataset.from_tensor_slices(PIXELS).map(preprocess_input)
    np.testing.assert_array_equal(next(iter(dataset)), EXACT[0].astype("float32"))


def test_lists_and_data_formats():
    assert preprocess_input([0, 255]).tolist() == [-1.0, 1.0]
    for data_format in ("channels_first", "channels_last"):
        assert preprocess_input(PIXELS, data_format).shape == PIXELS.shape
    with pytest.raises(ValueError, match="Received: data_format='NHWC'"):
        preprocess_input(PIXELS, "NHWC")
    with pytest.raises(TypeError, match="must be pixels"):
        preprocess_input("photo.jpg")


def test_another_backend_with_lazy_labels():
    """Under JAX `tf.data` still maps TensorFlow's tensors, and nothing needs TensorFlow."""
    code = """
import sys
import numpy as np
from keras_vit.data.preprocessing import decode_predictions, labels, preprocess_input
assert labels.cache_info().currsize == 0
import jax.numpy as jnp
x = np.array([[0, 51, 255]], "uint8")
want = ((x - 127.5) / 127.5).astype("float32")
y = preprocess_input(jnp.asarray(x))
assert isinstance(y, jnp.ndarray) and y.dtype == "float32", y
assert (np.asarray(y) == want).all()
assert decode_predictions(jnp.eye(1000)[:1], top=1) == [[("n01440764", "tench", 1.0)]]
import tensorflow as tf
dataset = tf.data.Dataset.from_tensor_slices(x).map(preprocess_input)
assert (next(iter(dataset)).numpy() == want).all()
"""
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    root = ROOT
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def test_labels_are_those_of_the_heads(shared):
    lemmas = dict(
        line.split("\t")
        for line in (shared / "labels" / "wnid_to_lemma.tsv").read_text().splitlines()
    )
    for classes, name in ((1000, "imagenet1k_wnids.txt"), (21843, "imagenet21k_wnids.txt")):
        wnids = (shared / "labels" / name).read_text().split()
        want = [(wnid, lemmas[wnid].split(", ")[0].replace(" ", "_")) for wnid in wnids]
        assert list(labels(classes)) == want


def test_labels_by_hand():
    assert len(labels(1000)) == 1000
    assert len(labels(21843)) == 21843
    assert labels(1000)[386] == ("n02504458", "African_elephant")
    assert labels(1000)[850] == ("n04399382", "teddy")
    assert labels(21843)[0] == ("n00004475", "organism")
    assert "n04399382" not in dict(labels(21843))
    with pytest.raises(ValueError, match="Received: classes=10"):
        labels(10)


def test_names_of_real_predictions(shared):
    """The top-3 of the real ViT-Ti/16, named by whoever made that file."""
    top3 = json.loads((shared / "weights" / "top3.json").read_text())
    for predictions in top3.values():
        for index, name, _ in predictions:
            assert labels(1000)[index][1] == name.replace(" ", "_")


def test_decode_predictions():
    scores = np.zeros((2, 1000), "float32")
    scores[0, [386, 0, 999]] = 0.5, 0.25, 0.125
    scores[1, 1] = 3
    first, second = decode_predictions(scores, top=3)
    assert first == [
        ("n02504458", "African_elephant", 0.5),
        ("n01440764", "tench", 0.25),
        ("n15075141", "toilet_tissue", 0.125),
    ]
    assert second[0] == ("n01443537", "goldfish", 3.0)
    assert len(decode_predictions(scores)[0]) == 5
    assert len(decode_predictions(scores, top=2000)[0]) == 1000


def test_classes_of_the_same_score_keep_their_order():
    assert [name for _, name, _ in decode_predictions(np.zeros((1, 1000)))[0]] == [
        name for _, name in labels(1000)[:5]
    ]


def test_decode_predictions_of_imagenet21k():
    scores = -np.ones((1, 21843), "float32")
    scores[0, -1] = 0
    assert decode_predictions(tf.constant(scores), top=1) == [[("n15102894", "knothole", 0.0)]]


@pytest.mark.parametrize("shape", [(1000,), (2, 10), (1, 2, 1000)])
def test_decode_predictions_of_other_shapes(shape):
    with pytest.raises(ValueError, match=r"own classes.*Received: preds of shape \("):
        decode_predictions(np.zeros(shape))


@pytest.mark.parametrize("top", [0, -1, 2.0, True])
def test_decode_predictions_of_a_wrong_top(top):
    with pytest.raises(ValueError, match=f"Received: top={top}"):
        decode_predictions(np.zeros((1, 1000)), top=top)
