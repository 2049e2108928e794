"""What is frozen stays frozen in every copy of a model, and the optimizer keeps its state."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from support.combinations import crossed, slow
from support.families import FAMILIES, SHAPE, build, images

import keras_vit

pytestmark = pytest.mark.any_backend

LABELS = np.arange(4) % 3


def _flags(model):
    return [variable.trainable for variable in model.weights]


def _freeze_all(model):
    model.trainable = False


def _freeze_first_layers(model):
    """The usual way: all but the last layers."""
    for layer in model.layers[:-3]:
        layer.trainable = False


def _freeze_inside(model):
    """Layers inside a block, and of a frozen block one layer that trains."""
    blocks = [layer for layer in model.layers if "block_" in layer.name and layer._layers]
    if not blocks:  # BiT has no layers inside layers
        model.get_layer("root_conv").trainable = False
        return
    first, last = blocks
    (getattr(first, "attention", None) or first.token_mixing).trainable = False
    last.trainable = False
    mlp = getattr(last, "mlp", None) or last.channel_mixing
    mlp.trainable = True
    mlp.dense_1.trainable = False


@pytest.mark.parametrize(
    ("family", "freeze"),
    crossed(tuple(FAMILIES), [_freeze_all, _freeze_first_layers, _freeze_inside]),
)
def test_a_copy_is_frozen_where_the_model_is(family, freeze, tmp_path):
    model = build(family)
    freeze(model)
    expected = _flags(model)
    assert not all(expected)
    model.save(tmp_path / "model.keras")
    copies = [keras.models.load_model(tmp_path / "model.keras"), keras.models.clone_model(model)]
    if family in ("vit", "hybrid"):
        copies.append(keras_vit.resize_model(model, 64))
    for copy in copies:
        assert _flags(copy) == expected
    again = copies[0]
    again.trainable = not again.trainable  # Keras on TensorFlow ignores the value that is there
    again.trainable = True
    assert all(_flags(again))
    again.trainable = False
    assert again.trainable_variables == []
    # A copy of the copy.
    assert _flags(keras.models.clone_model(copies[1])) == expected


@pytest.mark.parametrize("family", ["vit", slow("hybrid"), "bit", slow("mixer")])
def test_a_frozen_backbone_trains_on_as_it_was(family, tmp_path):
    base = build(family, depth=1, include_top=False, pooling="avg")
    base.trainable = False
    model = keras.Sequential([keras.Input(SHAPE), base, keras.layers.Dense(3)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images(), LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")  # warns of a state that is dropped
    assert len(again.trainable_variables) == len(model.trainable_variables) == 2
    for ours, theirs in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs)
        )
    before = [keras.ops.convert_to_numpy(v) for v in again.layers[0].weights]
    again.fit(images(), LABELS, verbose=0)
    for old, variable in zip(before, again.layers[0].weights, strict=True):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(variable))
    again.layers[0].trainable = True
    again.layers[0].trainable = False
    assert len(again.trainable_variables) == 2


def test_a_layer_that_is_not_built_keeps_what_its_parts_are_to_be():
    block = build("vit").get_layer("block_1")
    block.attention.query.trainable = False
    config = block.get_config()
    assert config["inner"] == {"attention": {"inner": {"query": {"trainable": False}}}}
    again = type(block).from_config(config)
    assert again.get_config() == config
    again.build((None, 7, 48))
    assert again.get_config() == config
    assert [v.trainable for v in again.attention.weights] == [False] * 2 + [True] * 6
