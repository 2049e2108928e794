"""ONNX files: the same numbers in onnxruntime, and operators that runtimes have kernels for."""

from __future__ import annotations

import collections
import json
import os

import keras
import numpy as np
import pytest
from keras import ops
from support.models_to_export import AS_THEY_ARE, FOLDED, SIZE, VIT, randomised

import keras_vit
from keras_vit import layers
from keras_vit.exports.onnx.export import export_onnx
from keras_vit.models import ResNetStem

onnx = pytest.importorskip("onnx", reason="the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx")


def _random(model):
    return randomised(model, 0.05)


def _run(path, x):
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    assert [i.name for i in session.get_inputs()] == ["image"]
    return dict(zip(names, session.run(None, {"image": x}), strict=True))


def _stem():
    options = {**VIT, "patch_size": 1, "stem": ResNetStem((1, 1), 0.5)}
    return keras_vit.ViT((65, 96), **options)


MODELS = {
    **{
        kind: FOLDED[kind]
        for kind in (
            "token",
            "gap",
            "all options",
            "token and mean",
            "distilled",
            "swiglu",
            "quick",
            "rotary",
            "rotary, mean",
            "norm after pooling",
            "padded",
            "cut off",
            "pixels to scores",
        )
    },
    "feature map": lambda: keras_vit.ViT(SIZE, **VIT, include_top=False),
    "pooled": lambda: keras_vit.ViT(SIZE, **VIT, include_top=False, pooling="max"),
    "hybrid": _stem,
    "bit": lambda: keras_vit.BiT((33, 48), (1, 2), 0.5, classes=5),
    "bit feature map": lambda: keras_vit.BiT((33, 48), (1, 2), 0.5, include_top=False),
    **{kind: AS_THEY_ARE[kind] for kind in ("mixer", "clip", "siglip")},
}


@pytest.mark.filterwarnings("ignore:The image size")  # is cut off
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_same_numbers_in_onnxruntime(kind, batch, tmp_path):
    model = _random(MODELS[kind]())
    path = export_onnx(model, tmp_path / "model.onnx")
    x = np.random.default_rng(1).normal(size=(batch, *model.input_shape[1:])).astype("float32")
    x = x * 60 + 127 if kind == "pixels to scores" else x
    outputs = _run(path, x)
    expected = ops.convert_to_numpy(model(x))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(outputs["output"], expected, atol=1e-5 * scale)
    if "head" in [layer.name for layer in model.layers]:
        features = keras.Model(model.input, model.get_layer("head").input)
        expected = ops.convert_to_numpy(features(x))
        np.testing.assert_allclose(
            outputs["features"], expected, atol=1e-5 * np.abs(expected).max()
        )
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_norms_and_gelus_are_single_operators(tmp_path):
    export_onnx(keras_vit.ViT(SIZE, **VIT), tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    count = collections.Counter(node.op_type for node in graph.node)
    assert count["LayerNormalization"] == 2 * 2 + 1
    assert count["Gelu"] == count["Softmax"] == 2
    assert not {"Erf", "Tanh", "Pow", "Sqrt", "ReduceMean", "Conv"} & count.keys()
    assert [d.dim_param or d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == [
        "batch", 32, 48, 3
    ]  # fmt: skip


def test_where_one_token_asks_the_others_have_no_keys_and_values(tmp_path):
    """In the last block every product with weights has a row for each head at most."""
    export_onnx(keras_vit.ViT(SIZE, **VIT), tmp_path / "model.onnx")
    inferred = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "model.onnx")).graph
    weights = {each.name for each in inferred.initializer}
    shapes = {
        each.name: [dim.dim_value for dim in each.type.tensor_type.shape.dim]
        for each in inferred.value_info
    }
    rows = {
        block: {
            shapes[node.output[0]][1]
            for node in inferred.node
            if node.op_type == "MatMul" and node.input[1] in weights and block in node.name
        }
        for block in ("block_0/", "block_1/")
    }
    assert rows == {"block_0/": {1 + 4 * 6}, "block_1/": {1, VIT["num_heads"]}}


def test_exact_and_tanh_gelu_are_told_apart(tmp_path):
    kinds = {}
    for gelu in ("tanh", "exact"):
        export_onnx(keras_vit.ViT(SIZE, **VIT, gelu=gelu), tmp_path / f"{gelu}.onnx")
        nodes = onnx.load(tmp_path / f"{gelu}.onnx").graph.node
        kinds[gelu] = {n.attribute[0].s.decode() for n in nodes if n.op_type == "Gelu"}
    assert kinds == {"tanh": {"tanh"}, "exact": {"none"}}


def test_a_model_around_ours_and_one_from_a_keras_file(tmp_path):
    backbone = keras_vit.ViT(SIZE, **VIT, include_top=False, pooling="token")
    x = keras.layers.Dropout(0.1)(backbone.output)
    outputs = keras.layers.Dense(7, activation="softmax", name="mine")(x)
    model = _random(keras.Model(backbone.input, outputs))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    path = export_onnx(again, tmp_path / "model.onnx", class_names=list("abcdefg"))
    x = np.random.default_rng(1).normal(size=(2, *SIZE, 3)).astype("float32")
    np.testing.assert_allclose(_run(path, x)["output"], ops.convert_to_numpy(model(x)), atol=1e-5)
    props = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert json.loads(props["labels"]) == list("abcdefg")


def test_a_model_inside_a_sequential(tmp_path):
    """As the README fine-tunes: the Vision Transformer is one layer of it."""
    backbone = keras_vit.ViT(SIZE, **VIT, include_top=False, pooling="token")
    model = _random(keras.Sequential([backbone, keras.layers.Dense(7)]))
    path = export_onnx(model, tmp_path / "model.onnx")
    x = np.random.default_rng(1).normal(size=(2, *SIZE, 3)).astype("float32")
    expected = ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(_run(path, x)["output"], expected, atol=1e-5)


def test_mixed_precision_is_exported_in_float32(tmp_path):
    model = _random(keras_vit.ViT(SIZE, **VIT, dtype="mixed_bfloat16"))
    plain = keras_vit.ViT(SIZE, **VIT)
    plain.set_weights(model.get_weights())
    path = export_onnx(model, tmp_path / "model.onnx")
    x = np.random.default_rng(1).normal(size=(2, *SIZE, 3)).astype("float32")
    expected = ops.convert_to_numpy(plain(x))
    np.testing.assert_allclose(_run(path, x)["output"], expected, atol=1e-5)


def without_positions():
    image = keras.Input((None, None, 3))
    tokens = layers.PatchEmbed(4, 16)(image)
    tokens = layers.TransformerBlock(2, 32)(tokens)
    pooled = layers.TokenPooling("avg")(tokens)
    return keras.Model(image, keras.layers.Dense(3, name="head")(pooled))


def open_bit():
    return keras_vit.BiT((64, 64), (1, 1), 0.5, classes=3, input_shape=(None, None, 3))


@pytest.mark.parametrize("build", [open_bit, without_positions])
def test_a_model_of_any_size_gets_one(build, tmp_path):
    model = randomised(build())
    path = export_onnx(model, tmp_path / "model.onnx", image_size=(16, 24))
    x = np.random.default_rng(1).normal(size=(2, 16, 24, 3)).astype("float32")
    expected = ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(_run(path, x)["output"], expected, atol=1e-5)


def test_what_is_refused(tmp_path):
    model = keras_vit.ViT(SIZE, **VIT)
    path = tmp_path / "model.onnx"
    any_size = keras_vit.ViT(SIZE, **VIT, input_shape=(None, None, 3))
    with pytest.raises(ValueError, match="image_size=224"):
        export_onnx(any_size, path)
    unknown = keras.Model(model.input, keras.layers.PReLU(name="odd")(model.output))
    with pytest.raises(ValueError, match=r"'odd' is a PReLU"):
        export_onnx(unknown, path)
    with pytest.raises(ValueError, match="a name for each of the 5 classes"):
        export_onnx(model, path, class_names=["a"])
    with pytest.raises(ValueError, match=r"end with \.onnx"):
        export_onnx(model, tmp_path / "model.pb")
    with pytest.raises(FileNotFoundError, match="no folder"):
        export_onnx(model, tmp_path / "missing" / "model.onnx")
    assert not os.listdir(tmp_path)
    export_onnx(model, path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export_onnx(unknown, path)
    assert path.read_bytes() == before
    export_onnx(model, path, overwrite=True)


def test_the_real_weights(ti16_path, photos, tmp_path):
    model = keras_vit.from_checkpoint(ti16_path)
    path = export_onnx(model, tmp_path / "model.onnx", class_names=_names())
    images = np.stack(
        [
            keras.utils.img_to_array(keras.utils.load_img(p, target_size=(224, 224)))
            for p in photos[:8]
        ]
    )
    x = keras_vit.preprocess_input(images)
    expected = ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(
        _run(path, x)["output"], expected, atol=1e-5 * np.abs(expected).max()
    )


def _names():
    from keras_vit.data.preprocessing import labels

    return [name for _, name in labels(1000)]
