"""Whether a model gives probabilities is read off its graph, wherever its last layer is."""

from __future__ import annotations

import keras
import pytest
from support.families import FAMILIES, SHAPE, build

import keras_vit
from keras_vit.models.input_and_head import ends_in_probabilities, last_activation

LAYERS = keras.layers


def _sequential(model):
    return keras.Sequential([keras.Input(SHAPE), LAYERS.Rescaling(1 / 127.5, offset=-1), model])


def _functional(model):
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, model(keras_vit.preprocess_input(inputs)))


def _cast(model):
    return keras.Sequential([_functional(model), LAYERS.Activation("linear", dtype="float32")])


class _Subclassed(keras.Model):
    def __init__(self, model):
        super().__init__()
        self.inner = model

    def call(self, images):
        return self.inner(images)


AROUND = (lambda model: model, _sequential, _functional, _cast, _Subclassed)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", None])
def test_the_activation_of_a_model_inside_others(family, activation):
    model = build(family, depth=1, classifier_activation=activation)
    for around in AROUND:
        assert last_activation(around(model)) == (activation or "linear")


def test_activations_that_are_layers_and_operations():
    logits = build("mixer", depth=1)
    inputs = keras.Input(SHAPE)
    for end in (LAYERS.Softmax(), LAYERS.Activation("softmax"), keras.ops.softmax):
        assert last_activation(keras.Model(inputs, end(logits(inputs)))) == "softmax"
    assert ends_in_probabilities(keras.Model(inputs, keras.ops.sigmoid(logits(inputs))))
    assert not ends_in_probabilities(keras.Model(inputs, 2 * logits(inputs)))


def test_the_output_of_a_model_with_several():
    inputs = keras.Input((4,))
    both = keras.Model(inputs, [LAYERS.Dense(2)(inputs), LAYERS.Dense(2, "softmax")(inputs)])
    inputs = keras.Input((4,))
    first, second = both(inputs)
    assert last_activation(keras.Model(inputs, first)) == "linear"
    assert last_activation(keras.Model(inputs, second)) == "softmax"
