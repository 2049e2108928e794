"""ONNX files with padded tokens: what they compute is what the files without compute."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from support.models_to_export import AS_THEY_ARE, FOLDED, SIZE, VIT, randomised

import keras_vit
from keras_vit.exports.comparison import difference
from keras_vit.exports.onnx.export import export_onnx

onnx = pytest.importorskip("onnx", reason="the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx")


def _operation():
    """Its arguments have names, and its result has no padding."""
    model = keras_vit.ViT(SIZE, **VIT)
    tokens = model.get_layer("block_0").output
    return keras.Model(model.input, keras.ops.add(x1=tokens, x2=tokens))


# 24 patches, with and without prefix tokens.
MODELS = {
    **{kind: FOLDED[kind] for kind in ("token", "gap", "rotary", "rotary, mean", "hybrid")},
    "siglip": AS_THEY_ARE["siglip"],
    "operation": _operation,
    "features": lambda: keras_vit.feature_model(keras_vit.ViT(SIZE, **VIT), [0, -1]),
}


def padded(model, path, multiple, **options):
    export_onnx(model, path, pad_to_multiple_of=multiple, **options)
    return onnx.load(path).graph


def shapes(path):
    """Of what the norms compute, in the order of the file."""
    made = onnx.shape_inference.infer_shapes(onnx.load(path))
    known = {each.name: each.type.tensor_type.shape.dim for each in made.graph.value_info}
    norms = [node for node in made.graph.node if node.op_type == "LayerNormalization"]
    return [[dim.dim_value for dim in known[node.output[0]]][1:] for node in norms]


@pytest.mark.parametrize(
    ("kind", "quantize"), [*((kind, None) for kind in MODELS), ("token", "dynamic_int8")]
)
def test_the_numbers_are_those_without_padding(kind, quantize, tmp_path):
    model = randomised(MODELS[kind]())
    x = np.random.default_rng(1).normal(size=(2, *model.input_shape[1:])).astype("float32")
    outputs = []
    for multiple in (1, 7):
        path = tmp_path / f"{multiple}.onnx"
        padded(model, path, multiple, quantize=quantize)
        outputs.append(onnxruntime.InferenceSession(path).run(None, {"image": x}))
    for found, expected in zip(*outputs, strict=True):
        assert found.shape == expected.shape
        assert difference(found, expected) < 1e-5


def test_the_blocks_compute_a_multiple(tmp_path):
    """25 tokens become 28; of the last block the class token alone is left, and has a norm."""
    padded(keras_vit.ViT(SIZE, **VIT), tmp_path / "model.onnx", 4)
    width = VIT["width"]
    tokens = [28, 28, 28, 1, 1]  # two norms a block, one at the end
    assert shapes(tmp_path / "model.onnx") == [[count, width] for count in tokens]


def test_there_is_one_mask_for_all_blocks(tmp_path):
    graph = padded(keras_vit.ViT(SIZE, **{**VIT, "depth": 4}), tmp_path / "model.onnx", 2)
    masks = [array for array in graph.initializer if "mask" in array.name]
    assert [list(mask.dims) for mask in masks] == [[26, 26]]


@pytest.mark.parametrize("kind", ["gap", "mixer", "bit"])
def test_what_needs_none_has_none(kind, tmp_path):
    """An even number of tokens, a Mixer and a CNN."""
    model = {**FOLDED, **AS_THEY_ARE}[kind]()
    assert padded(model, tmp_path / "2.onnx", 2) == padded(model, tmp_path / "1.onnx", 1)


@pytest.mark.parametrize("hint", ["f32", "bf16"])
def test_openvino_attends_to_no_padding(hint, tmp_path, openvino_core):
    model = randomised(keras_vit.ViT(SIZE, **{**VIT, "width": 128, "mlp_dim": 128}))
    x = np.random.default_rng(1).normal(size=(2, *model.input_shape[1:])).astype("float32")
    outputs = []
    for multiple in (1, 2):
        path = tmp_path / f"{multiple}.onnx"
        padded(model, path, multiple)
        compiled = openvino_core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": hint})
        outputs.append(compiled({"image": x})[compiled.output("output")])
    assert difference(*outputs) < (1e-5 if hint == "f32" else 0.03)


@pytest.mark.parametrize("multiple", [0, 2.0, "2"])
def test_a_wrong_multiple_is_refused(multiple, tmp_path):
    with pytest.raises(ValueError, match="`pad_to_multiple_of` must be a positive integer"):
        padded(keras_vit.ViT(SIZE, **VIT), tmp_path / "model.onnx", multiple)
