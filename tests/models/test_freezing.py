"""What `keras_vit.freeze` freezes, by hand for every family, and that training leaves it alone."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from support.families import FAMILIES, SHAPE, build, images

import keras_vit
from keras_vit.layers import LayerNorm
from keras_vit.recipes.optimizers import AdamW

pytestmark = pytest.mark.any_backend

# The layers with weights before the first block; those of a stem begin with `stem_`.
EMBEDDINGS = {
    "vit": {"patch_embed", "class_token", "position_embedding", "registers"},
    "hybrid": {"patch_embed", "class_token", "position_embedding"},
    "bit": {"root_conv"},
    "mixer": {"stem"},
}
BLOCK = {"vit": "block_{}", "hybrid": "block_{}", "bit": "block{}_", "mixer": "mixer_block_{}"}


def _numpy(variable):
    return keras.ops.convert_to_numpy(variable)


def _frozen(model):
    """Names of the layers with weights that do not train at all, and of those that do."""
    layers = [layer for layer in model.layers if layer.weights]
    still = {layer.name for layer in layers if not any(v.trainable for v in layer.weights)}
    moving = {layer.name for layer in layers if all(v.trainable for v in layer.weights)}
    assert len(still) + len(moving) == len(layers)
    return still, moving


@pytest.mark.parametrize("family", FAMILIES)
def test_each_word_freezes_what_it_says_and_the_rest_trains(family):
    model = build(family)
    names = {layer.name for layer in model.layers if layer.weights}

    def block(i):
        first = BLOCK[family].format(i + (family == "bit"))  # a BiT counts from 1
        return {name for name in names if name.startswith(first)}

    embeddings = EMBEDDINGS[family] | {name for name in names if name.startswith("stem_")}
    model.trainable = False
    for part, expected in (
        (2, embeddings | block(0) | block(1)),
        ("all", names - {"head"}),
        (0, embeddings),
        (1, embeddings | block(0)),
        ("embeddings", embeddings),
        (None, set()),
    ):
        keras_vit.freeze(model, part)
        assert _frozen(model) == (expected, names - expected), part
        assert len(model.trainable_weights) == sum(
            len(model.get_layer(name).weights) for name in names - expected
        )


@pytest.mark.parametrize("family", ["vit", "bit"])
def test_a_step_with_weight_decay_leaves_it_alone(family):
    """The rest moves, and the optimizer keeps two numbers for each parameter of the rest alone."""
    model = build(family)
    keras_vit.freeze(model, 1)
    before = [_numpy(v) for v in model.weights]
    model.compile(
        AdamW(0.1, weight_decay=0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.train_on_batch(images(), np.arange(4))
    for old, variable in zip(before, model.weights, strict=True):
        moved = (old != _numpy(variable)).any()
        assert moved == variable.trainable, variable.path
    kept = sum(int(np.prod(v.shape)) for v in model.optimizer.variables[2:])
    assert kept == 2 * sum(int(np.prod(v.shape)) for v in model.trainable_variables) > 0


def test_in_another_model_it_leaves_the_layers_of_the_user_alone():
    base = build("vit", include_top=False, pooling="token")
    image = keras.Input(SHAPE)
    scaled = keras.layers.Conv2D(3, 1, name="mine")(image)
    of_mine = keras_vit.Mixer(
        32, 8, 48, 2, 16, 64, input_tensor=scaled, include_top=False, pooling="avg"
    )
    for model, mine in (
        (keras.Sequential([keras.Input(SHAPE), base, keras.layers.Dense(3, name="a")]), {"a"}),
        (keras.Model(image, keras.layers.Dense(3, name="b")(base(scaled))), {"mine", "b"}),
        (
            keras.Model(
                base.inputs,
                # Names that the last layers of other models of ours have.
                keras.layers.Dense(3, name="c")(LayerNorm(name="norm")(base.outputs[0])),
            ),
            {"c", "norm"},
        ),
        (keras.Model(image, keras.layers.Dense(3, name="d")(of_mine.outputs[0])), {"mine", "d"}),
    ):
        keras_vit.freeze(model, "all")
        moving = {v.path.split("/")[-2] for v in model.trainable_variables}
        assert moving == mine


def test_the_updates_of_lora_train_in_a_frozen_model(tmp_path):
    model = build("vit")
    model.get_layer("block_0").attention.query.enable_lora(2)
    keras_vit.freeze(model, "all")
    model.save(tmp_path / "model.keras")
    for each in (model, keras.models.load_model(tmp_path / "model.keras")):
        moving = {"/".join(v.path.split("/")[-2:]) for v in each.trainable_variables}
        assert moving - {"query/bias"} == {
            "query/lora_kernel_a", "query/lora_kernel_b", "head/kernel", "head/bias",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("embedding", r"'embeddings', or a number of blocks from 0 to 2.*mean embeddings\?"),
        (3, "from 0 to 2.*part=3"),
        (-1, "part=-1"),
        (True, "part=True"),
        (1.0, r"part=1\.0"),
    ],
)
def test_what_it_refuses(part, message):
    with pytest.raises(ValueError, match=message):
        keras_vit.freeze(build("vit"), part)


def test_models_that_it_refuses():
    vit, mixer = (build(x, include_top=False, pooling="avg") for x in ("vit", "mixer"))
    image = keras.Input(SHAPE)
    both = keras.Model(image, keras.layers.Add()([vit(image), mixer(image)]))
    other = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2)])
    keras_vit.freeze(keras.Sequential([vit]), "all")  # though it is not built
    assert vit.trainable_variables == []
    for model, count in ((both, 2), (other, 0), ("ViT_B16", 0)):
        with pytest.raises(ValueError, match=f"with {count} of them"):
            keras_vit.freeze(model, "all")
    assert all(variable.trainable for variable in mixer.variables if "seed" not in variable.path)
