"""TFLite files: the same numbers, in one XNNPACK partition, from operations all phones have."""

from __future__ import annotations

import os
import zipfile

import keras
import numpy as np
import pytest
from support.combinations import slow
from support.models_to_export import (
    AS_THEY_ARE,
    FOLDED,
    SIZE,
    VIT,
    expected_of,
    pixels_for,
    randomised,
)

import keras_vit
from keras_vit.checkpoints.model_variables import model_variables
from keras_vit.exports.tflite.export import export_tflite
from keras_vit.exports.tflite.fold import fold, merge_tokens, rotate
from keras_vit.models.input_range import PIXELS

tflite_run = pytest.importorskip("keras_vit.exports.tflite.runtime")
litert = pytest.importorskip("ai_edge_litert.interpreter", reason="the extra tflite")


@pytest.mark.filterwarnings("ignore:The image size .* is not a multiple")
@pytest.mark.parametrize(
    "kind, uint8_input",
    [
        *((kind, False) for kind in (*FOLDED, *AS_THEY_ARE)),
        *((kind, True) for kind in ("token", "hybrid")),
        *(slow(kind, True) for kind in ("padded", "pixels to scores", "bit")),
    ],
)
def test_the_same_numbers_in_one_partition(kind, uint8_input, tmp_path):
    model = randomised({**FOLDED, **AS_THEY_ARE}[kind]())
    path = export_tflite(model, tmp_path / "model.tflite", uint8_input=uint8_input)
    pixels = pixels_for(model, 5)  # a batch of 4, and one of 1
    found = tflite_run.runner(path)(pixels)["output"]
    expected = expected_of(model, pixels)
    assert np.abs(found - expected).max() <= 1e-5 * np.ptp(expected)
    seen = tflite_run.delegation(path)
    assert (seen.partitions, seen.undelegated) == (1, ())
    assert os.listdir(tmp_path) == ["model.tflite"]


@pytest.mark.parametrize("kind", ["token", slow("gap"), "own head"])
def test_a_block_is_thirty_operations(kind, tmp_path):
    counts = []
    for depth in (2, 3):
        options = {**VIT, "depth": depth}
        if kind == "own head":
            backbone = keras_vit.ViT(SIZE, **options, include_top=False, pooling="token")
            model = keras.Sequential([backbone, keras.layers.Dense(7)])
        else:
            model = keras_vit.ViT(SIZE, **options, classifier=kind)
        path = export_tflite(model, tmp_path / f"{depth}.tflite", batch_sizes=(1,))
        counts.append(sum(tflite_run.delegation(path).operators.values()))
    assert counts[1] - counts[0] <= 30


def test_a_batch_of_four_is_one_partition_too(tmp_path):
    path = export_tflite(keras_vit.ViT(SIZE, **VIT), tmp_path / "model.tflite", batch_sizes=(4,))
    seen = tflite_run.delegation(path)
    assert (seen.partitions, seen.undelegated) == (1, ())


def test_signatures_share_the_weights_and_have_static_batches(tmp_path):
    """Trap 4: `model.export` drops a static batch, which costs 51 partitions."""
    model = keras_vit.ViT(SIZE, **{**VIT, "width": 128, "mlp_dim": 512})
    one = export_tflite(model, tmp_path / "one.tflite", batch_sizes=(1,))
    two = export_tflite(model, tmp_path / "two.tflite", batch_sizes=(1, 4))
    weights = 4 * sum(int(np.prod(variable.shape)) for variable in model.weights)
    assert one.stat().st_size < two.stat().st_size < one.stat().st_size + weights / 10
    made = litert.Interpreter(str(two))
    assert sorted(made.get_signature_list()) == ["batch_1", "batch_4"]
    detail = made.get_signature_runner("batch_4").get_input_details()["image"]
    assert detail["shape_signature"].tolist() == [4, 32, 48, 3]


def test_no_operation_is_tensorflows_and_no_variable_is_left(tmp_path):
    """Traps 3 and 4: variables that are read give NaN, and Flex is in no phone's runtime."""
    path = export_tflite(keras_vit.ViT(SIZE, **VIT), tmp_path / "model.tflite")
    operators = tflite_run.delegation(path).operators
    assert not [name for name in operators if "FLEX" in name.upper() or "CUSTOM" in name.upper()]
    assert not {"VAR_HANDLE", "READ_VARIABLE", "CALL_ONCE"} & operators.keys()
    assert operators["GELU"] == 2  # trap 5: one operation, not eight


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_exported_in_float32(policy, tmp_path):
    """Trap 6: such models do not convert as they are."""
    model = randomised(keras_vit.ViT(SIZE, **VIT, dtype=policy))
    plain = keras_vit.ViT(SIZE, **VIT)
    plain.set_weights([np.asarray(w, "float32") for w in model.get_weights()])
    path = export_tflite(model, tmp_path / "model.tflite")
    pixels = pixels_for(plain, 1)
    expected = expected_of(plain, pixels)
    found = tflite_run.runner(path)(pixels)["output"]
    assert np.abs(found - expected).max() <= 1e-5 * np.ptp(expected)


def test_a_model_from_a_keras_file_and_another_size(tmp_path):
    model = randomised(keras_vit.ViT(SIZE, **VIT))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    path = export_tflite(again, tmp_path / "model.tflite", image_size=(48, 40), batch_sizes=(1,))
    larger = keras_vit.resize_model(model, (48, 40))
    pixels = pixels_for(larger, 1)
    expected = expected_of(larger, pixels)
    found = tflite_run.runner(path)(pixels)["output"]
    assert np.abs(found - expected).max() <= 1e-5 * np.ptp(expected)


def test_labels_are_in_the_file_and_the_metadata_name_them(tmp_path):
    names = ["tench", "vélo", "c", "d", "e"]
    model = keras_vit.ViT(SIZE, **VIT)
    path = export_tflite(model, tmp_path / "model.tflite", class_names=names, uint8_input=True)
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt").decode().splitlines() == names
    from ai_edge_litert import schema_py_generated as schema

    file = path.read_bytes()
    described = schema.ModelT.InitFromPackedBuf(file, 0)
    (entry,) = [m for m in described.metadata if m.name == b"TFLITE_METADATA"]
    metadata = bytes(described.buffers[entry.buffer].data)
    assert metadata[4:8] == b"M001"
    assert all(text in metadata for text in (b"image\0", b"output\0", b"labels.txt\0"))
    # Floats in place: a runtime reads them without copying.
    packed = schema.Model.GetRootAs(file, 0)
    for i in range(packed.BuffersLength()):
        buffer = packed.Buffers(i)
        if buffer.DataLength():
            assert buffer._tab.Vector(buffer._tab.Offset(4)) % 16 == 0


def test_wrong_arguments_leave_nothing_behind(tmp_path):
    model = keras_vit.ViT(SIZE, **VIT)
    for options, message in (
        ({"quantize": "int3"}, "one of"),
        ({"quantize": "int8"}, "calibration"),
        ({"calibration": tmp_path}, "leave them out"),
        ({"quantize": "int8", "calibration": np.zeros((2, 8, 8, 3), "uint8")}, r"\[N, 32, 48, 3\]"),
        ({"quantize": "int8", "calibration": tmp_path}, "no photo"),
        ({"batch_sizes": (0,)}, "batch_size"),
        ({"batch_sizes": ()}, "batch_sizes"),
        ({"class_names": ["a"]}, "5 classes"),
    ):
        with pytest.raises(ValueError, match=message):
            export_tflite(model, tmp_path / "model.tflite", **options)
    with pytest.raises(ValueError, match=r"\.tflite"):
        export_tflite(model, tmp_path / "model.bin")
    assert os.listdir(tmp_path) == []
    (tmp_path / "model.tflite").write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite"):
        export_tflite(model, tmp_path / "model.tflite")
    assert (tmp_path / "model.tflite").read_text() == "mine"


def test_a_file_that_differs_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_vit.exports.tflite.network.fold", lambda *args: {
        name: array * 1.01 for name, array in fold(*args).items()
    })  # fmt: skip
    with pytest.raises(ValueError, match="differs from the model"):
        export_tflite(randomised(keras_vit.ViT(SIZE, **VIT)), tmp_path / "model.tflite")
    assert os.listdir(tmp_path) == []


def test_folding_by_hand():
    """Centred writes, no gamma or beta, no key and value bias, positions added once."""
    model = randomised(keras_vit.ViT(SIZE, **VIT, layer_scale=0.5))
    arrays = {n: keras.ops.convert_to_numpy(v) for n, v in model_variables(model).items()}
    folded = merge_tokens(fold(arrays, 4, PIXELS))
    for name in ("patches", "prefix", "block_1/attention/out/kernel", "block_0/mlp/dense_2/bias"):
        np.testing.assert_allclose(folded[name].mean(-1), 0, atol=1e-6)
    assert not [n for n in folded if "norm" in n or "scale" in n or n.endswith("key/bias")]
    query = (
        arrays["block_0/attention_norm/gamma"][:, None]
        * arrays["block_0/attention/query/kernel"]
        / np.sqrt(8)
    )
    np.testing.assert_allclose(folded["block_0/attention/query/kernel"], query, rtol=1e-5)
    turned = rotate(folded)
    for name, array in folded.items():
        if name != "head/bias" and "projection" not in name:
            assert turned[name].shape == array.shape
    back = folded["block_0/attention/query/kernel"].T @ folded["patches"][0].T
    again = turned["block_0/attention/query/kernel"].T @ turned["patches"][0].T
    np.testing.assert_allclose(back, again, atol=1e-4)
