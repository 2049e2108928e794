"""ONNX files of int8: each kernel against its rounding by hand, and what runtimes make of them."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from support.models_to_export import AS_THEY_ARE, FOLDED, SIZE, VIT, randomised

import keras_vit
from keras_vit.exports.comparison import difference
from keras_vit.exports.onnx.export import export_onnx

onnx = pytest.importorskip("onnx", reason="the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx")
WIDE = {**VIT, "width": 48, "mlp_dim": 96}


def _pyramid():
    features = keras_vit.feature_model(keras_vit.ViT(SIZE, **VIT), [-1])
    maps = keras_vit.layers.SimpleFeaturePyramid(8, name="pyramid")(features.outputs[0])
    return keras.Model(features.input, maps[0])


MODELS = {
    **{kind: FOLDED[kind] for kind in ("token", "swiglu", "rotary", "hybrid")},
    "pyramid": _pyramid,
    "feature map": lambda: keras_vit.ViT(SIZE, **VIT, include_top=False),
    "bit": lambda: keras_vit.BiT((33, 48), (1, 2), 0.5, classes=5),
    **{kind: AS_THEY_ARE[kind] for kind in ("mixer", "siglip")},
}


def written(model, path):
    """What the file holds, and images for it."""
    export_onnx(model, path, quantize="dynamic_int8")
    x = np.random.default_rng(1).normal(size=(2, *model.input_shape[1:])).astype("float32")
    return onnx.load(path), x


def run(path, x, plain=False):
    options = onnxruntime.SessionOptions()
    if plain:  # numbers of int8 are made floats, and multiplied as such
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(path, options).run(["output"], {"image": x})[0]


def rounded(kernel):
    """To 255 steps between the largest of each output, the last axis, and its negative."""
    columns = kernel.reshape(-1, kernel.shape[-1]).copy()
    for column in columns.T:
        step = max(abs(value) for value in column) / 127
        column[:] = [step * round(float(value / step)) for value in column]
    return columns.reshape(kernel.shape)


def test_the_file_computes_what_a_model_of_rounded_kernels_does(tmp_path):
    model = randomised(keras_vit.ViT(SIZE, **WIDE, classifier="gap", layer_scale=0.1), 0.05)
    _, x = written(model, tmp_path / "model.onnx")
    exact = ops.convert_to_numpy(model(x))
    for variable in model.weights:
        if variable.path.endswith("kernel"):
            variable.assign(rounded(ops.convert_to_numpy(variable)))
    expected = ops.convert_to_numpy(model(x))
    assert difference(expected, exact) > 1e-3
    assert difference(run(tmp_path / "model.onnx", x, plain=True), expected) < 1e-5


@pytest.mark.parametrize("kind", MODELS)
def test_every_kernel_has_8_bits(kind, tmp_path):
    model = randomised(MODELS[kind](), 0.05)
    made, x = written(model, tmp_path / "model.onnx")
    assert difference(run(tmp_path / "model.onnx", x), ops.convert_to_numpy(model(x))) < 0.1
    arrays = {each.name: onnx.numpy_helper.to_array(each) for each in made.graph.initializer}
    codes = [array for array in arrays.values() if array.dtype == np.int8]
    assert all(np.abs(array).max() == 127 for array in codes)
    kernels = [v for layer in model.layers for v in layer.weights if v.path.endswith("/kernel")]
    assert sum(array.size for array in codes) == sum(int(np.prod(v.shape)) for v in kernels)
    products = ("MatMul", "Conv", "ConvTranspose")
    multiplied = {node.input[1] for node in made.graph.node if node.op_type in products}
    assert not multiplied & arrays.keys()


def test_for_an_older_runtime(tmp_path):
    """The oldest opset has all that it needs."""
    model = randomised(keras_vit.ViT(SIZE, **VIT), 0.05)
    for opset in (17, 21):
        export_onnx(model, tmp_path / f"{opset}.onnx", quantize="dynamic_int8", opset=opset)
    x = np.random.default_rng(1).normal(size=(2, *SIZE, 3)).astype("float32")
    old, new = (run(tmp_path / f"{opset}.onnx", x, plain=True) for opset in (17, 21))
    np.testing.assert_allclose(old, new, atol=1e-5)


def test_a_channel_of_zeros_stays_so(tmp_path):
    """A new head, for example."""
    model = keras_vit.ViT(SIZE, **VIT, classifier_activation=None)
    kernel = model.get_layer("head").kernel
    kernel.assign(ops.zeros_like(kernel))
    _, x = written(model, tmp_path / "model.onnx")
    np.testing.assert_array_equal(run(tmp_path / "model.onnx", x, plain=True), np.zeros((2, 5)))


def test_other_kinds_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must be one of None, dynamic_int8\. .*'int4'"):
        export_onnx(keras_vit.ViT(SIZE, **VIT), tmp_path / "model.onnx", quantize="int4")
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = keras_vit.ViT(SIZE, **VIT)
    kernel = model.get_layer("head").kernel
    kernel.assign(ops.full_like(kernel, np.nan))
    with pytest.raises(ValueError, match=r"'head'.* must be finite to be quantised"):
        export_onnx(model, tmp_path / "model.onnx", quantize="dynamic_int8")
    assert not list(tmp_path.iterdir())


def test_onnx_runtime_has_one_operator_for_a_product(tmp_path):
    """A newer one may fuse otherwise; docs/deploy.md says what this one does."""
    made, _ = written(keras_vit.ViT(SIZE, **WIDE), tmp_path / "model.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(tmp_path / "model.onnx", options)
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    products = sum(node.op_type == "DequantizeLinear" for node in made.graph.node)
    assert kinds.count("MatMulNBits") == products
    assert "DequantizeLinear" not in kinds


@pytest.mark.parametrize("group", ["32", "48"])
def test_openvino_multiplies_in_int8(group, tmp_path, openvino_core):
    model = randomised(keras_vit.ViT(SIZE, **WIDE), 0.05)
    _, x = written(model, tmp_path / "model.onnx")

    def computed(group):
        hints = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": group}
        compiled = openvino_core.compile_model(tmp_path / "model.onnx", "CPU", hints)
        return compiled({"image": x})[compiled.output("output")]

    in_floats = computed("0")
    assert difference(in_floats, run(tmp_path / "model.onnx", x, plain=True)) < 1e-4
    rounding = difference(computed(group), in_floats)
    assert rounding < 0.05
    cpus = Path("/proc/cpuinfo")
    if not (cpus.exists() and "vnni" in cpus.read_text()):
        pytest.skip("the processor has no products of int8")
    assert rounding > 1e-3
