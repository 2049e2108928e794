"""Keras's `fit` traces the training step once: tracing takes seconds, and each graph memory."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_vit
from keras_vit.recipes import fine_tune_recipe
from keras_vit.recipes.optimizers import AdamW, MomentumSGD

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow traces")
OPTIMIZERS = {
    "momentum": lambda: MomentumSGD(0.1, global_clipnorm=1.0),
    "halves": lambda: MomentumSGD(0.1, gradient_accumulation_steps=2),
    "averages": lambda: MomentumSGD(0.1, use_ema=True, momentum_dtype="bfloat16"),
    "adamw": lambda: AdamW(0.1),
    "adamw, amsgrad": lambda: AdamW(0.1, amsgrad=True),
}


def traces_of_fit(built=False, **compiled):
    """How often, and the model."""
    keras.utils.set_random_seed(0)
    model = keras_vit.ViT((8, 8), 4, 8, 1, 2, 16, classes=3)
    model.compile(**{"loss": "sparse_categorical_crossentropy", **compiled})
    if built:
        model.optimizer.build(model.trainable_variables)
    counted, step = [], model.train_step

    def train_step(data):
        counted.append(data)
        return step(data)

    model.train_step = train_step
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    model.fit(images, np.array([0, 1, 2, 0]), batch_size=2, epochs=2, verbose=0)
    return len(counted), model


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_our_optimizers_make_their_variables_before(kind):
    count, model = traces_of_fit(optimizer=OPTIMIZERS[kind]())
    assert count == 1
    _, other = traces_of_fit(built=True, optimizer=OPTIMIZERS[kind]())
    for found, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    names = [variable.path for variable in model.optimizer.variables]
    assert names == [variable.path for variable in other.optimizer.variables]


def test_what_a_recipe_compiles():
    count, _ = traces_of_fit(**fine_tune_recipe(steps=4).compile_args())
    assert count == 1


def test_two_with_keras_own():
    """What `docs/train.md` says to do about it is needed still."""
    assert traces_of_fit(optimizer="adam")[0] == 2
    assert traces_of_fit(optimizer="adam", built=True)[0] == 1
