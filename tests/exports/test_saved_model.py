"""The exported SavedModel: right in every loader, with every image file and option."""

from __future__ import annotations

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support import models_to_export
from support.models_to_export import AS_THEY_ARE, FOLDED
from support.small_exports import (  # noqa: F401
    COLUMNS,
    NAMES,
    ROWS,
    SMALL,
    by_class,
    encode,
    expected_scores,
    exported_fixture,
    model_fixture,
    picture,
    pixels,
    session_fixture,
    small_vit,
)

import keras_vit
from keras_vit.exports.saved_model import export
from keras_vit.exports.saved_model.export import export_saved_model
from keras_vit.exports.saved_model.runtime import runner
from keras_vit.exports.saved_model.session import SessionModel


def test_outputs_are_those_of_the_model(model, exported, session):
    x = pixels()
    logits = model(keras_vit.preprocess_input(x.astype("float32"))).numpy()
    probabilities = keras.ops.softmax(logits).numpy()
    head_input = keras.Model(model.input, model.get_layer("head").input)
    features = head_input(keras_vit.preprocess_input(x.astype("float32"))).numpy()
    python = tf.saved_model.load(str(exported)).signatures
    for result in (
        session.run({"pixels": x}, "predict_pixels"),
        {k: v.numpy() for k, v in python["predict_pixels"](pixels=tf.constant(x)).items()},
    ):
        np.testing.assert_allclose(result["outputs"], logits, atol=1e-5)
        np.testing.assert_allclose(result["scores"], -np.sort(-probabilities), atol=1e-5)
        np.testing.assert_array_equal(result["class_ids"], np.argsort(-probabilities))
    found = session.run({"pixels": x}, "features")["features"]
    np.testing.assert_allclose(found, features, atol=1e-5)


@pytest.mark.parametrize("kind", ["rotary", "clip"])
def test_the_families_of_other_libraries_too(kind, tmp_path):
    """DINOv3's positions, and CLIP's norm, GELU and pixels."""
    model = models_to_export.randomised({**FOLDED, **AS_THEY_ARE}[kind]())
    path = export_saved_model(model, tmp_path / "model")
    x = models_to_export.pixels_for(model, 2)
    expected = models_to_export.expected_of(model, x)
    np.testing.assert_allclose(runner(path)(x)["output"], expected, atol=1e-5 * np.ptp(expected))


def test_signatures(session):
    kinds = {
        name: {
            key: (info.dtype, [side.size for side in info.tensor_shape.dim])
            for key, info in (*signature.inputs.items(), *signature.outputs.items())
        }
        for name, signature in session.signatures.items()
    }
    classified = {
        "class_ids": (tf.int32, [-1, 3]),
        "labels": (tf.string, [-1, 3]),
        "scores": (tf.float32, [-1, 3]),
    }
    images = {"pixels": (tf.uint8, [-1, ROWS, COLUMNS, 3])}
    assert kinds == {
        "serving_default": {
            "image_bytes": (tf.string, [-1]), **classified, "status": (tf.string, [-1])
        },
        "predict_pixels": {**images, **classified, "outputs": (tf.float32, [-1, 3])},
        "features": {**images, "features": (tf.float32, [-1, SMALL["width"]])},
    }  # fmt: skip


def test_a_bad_image_does_not_harm_the_others(session):
    good = encode(picture())
    bad = {
        b"": "empty",
        b"no image": "not a JPEG",
        good[: len(good) // 2]: "damaged",
        encode(picture(), "png")[:60]: "damaged",
        encode(picture(), "webp")[:60]: "damaged",
        b"\xff\xd8\xff": "damaged",
        b"GIF89a": "damaged",
        b"BM": "damaged",
        b"RIFF1234WEBP": "damaged",
    }
    alone = session.run({"image_bytes": [good]})
    result = session.run({"image_bytes": [*bad, good]})
    for row, reason in enumerate(bad.values()):
        assert reason in result["status"][row].decode()
        assert set(result["class_ids"][row]) == {-1}
        assert set(result["labels"][row]) == {b""}
        assert set(result["scores"][row]) == {0}
    assert result["status"][-1] == b"ok"
    np.testing.assert_allclose(result["scores"][-1], alone["scores"][0], atol=1e-6)
    only_bad = session.run({"image_bytes": list(bad)})
    assert b"ok" not in only_bad["status"]
    assert session.run({"image_bytes": np.array([], object)})["scores"].shape == (0, 3)


@pytest.mark.parametrize("kind", ["png", "bmp", "webp", "jpeg", "gif"])
def test_scores_of_image_files(model, session, kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif} if kind in ("png", "webp", "jpeg") else {}
    file = encode(picture(), kind, **options)
    result = session.run({"image_bytes": [file]})
    # The decoders of JPEG differ a little.
    tolerance = {"jpeg": 2e-3, "webp": 1e-4}.get(kind, 1e-5)
    np.testing.assert_allclose(by_class(result), expected_scores(model, file), atol=tolerance)


def test_labels(exported, session):
    lines = (exported / "assets" / "labels.txt").read_text("utf-8").splitlines()
    assert tuple(lines) == NAMES
    result = session.run({"image_bytes": [encode(picture())]})
    assert [text.decode() for text in result["labels"][0]] == [
        NAMES[i] for i in result["class_ids"][0]
    ]


def test_weights_are_there_once(tmp_path):
    # Large enough for the index of the variables not to count.
    model = small_vit(width=96, mlp_dim=384, depth=4, dropout_rate=0.1)
    path = export_saved_model(model, tmp_path / "1")
    size = sum(file.stat().st_size for file in (path / "variables").iterdir())
    assert size <= 1.02 * 4 * model.count_params()
    assert (path / "saved_model.pb").stat().st_size < 2**20


def test_no_paths_of_this_machine(exported):
    graph = (exported / "saved_model.pb").read_bytes()
    for folder in (exported.parent, Path(export.__file__).parent, Path(tf.__file__).parent):
        assert str(folder).encode() not in graph


@pytest.fixture(scope="module")
def other_session(model, tmp_path_factory):
    """All options other than their defaults."""
    folder = tmp_path_factory.mktemp("models")
    options = {"resize": "crop", "top_k": 1, "class_names": NAMES, "max_pixels": 20_000}
    path = export_saved_model(model, folder / "1", strict=True, warmup=(), **options)
    assert not (path / "assets.extra").exists()
    with SessionModel(path) as session:
        yield session


def test_strict_fails_the_request(other_session):
    assert other_session.run({"image_bytes": [encode(picture())]})["status"] == [b"ok"]
    with pytest.raises(ValueError, match=r"strict.*not a JPEG"):
        other_session.run({"image_bytes": [encode(picture()), b"no image"]})
    with pytest.raises(ValueError, match="more than 20000 pixels"):
        other_session.run({"image_bytes": [encode(picture(size=(201, 100)))]})


def test_crop_and_top_k(model, other_session):
    file = encode(picture(size=(200, 60)), "png")
    expected = expected_scores(model, file, "crop")
    assert np.abs(expected - expected_scores(model, file)).max() > 0.001
    result = other_session.run({"image_bytes": [file]})
    np.testing.assert_allclose(result["scores"], [[expected.max()]], atol=1e-5)
    assert result["labels"][0, 0].decode() == NAMES[expected.argmax()]


def test_warmup_requests(exported, session):
    apis = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    file = exported / "assets.extra" / "tf_serving_warmup_requests"
    signatures = []
    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        log = apis.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        assert request.model_spec.name == "vit"
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        result = session.run(inputs, request.model_spec.signature_name)
        assert all(len(value) == 1 for value in result.values())
        # Nothing is lost between our encoding and the package's.
        assert log.SerializeToString(deterministic=True) == record
        signatures.append(request.model_spec.signature_name)
    assert signatures == ["serving_default", "predict_pixels", "features"]


def test_what_is_there_is_not_replaced_silently(model, exported, tmp_path):
    path = shutil.copytree(exported, tmp_path / "1")
    (path / "mine").touch()
    with pytest.raises(FileExistsError, match="next number"):
        export_saved_model(model, path)
    assert (path / "mine").exists()
    assert export_saved_model(model, path, overwrite=True) == path
    assert not (path / "mine").exists()
    assert (path / "saved_model.pb").exists()
    assert list(tmp_path.iterdir()) == [path]

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(FileExistsError, match="not a SavedModel"):
        export_saved_model(model, tmp_path / "other", overwrite=True)
    assert (tmp_path / "other" / "thesis.txt").exists()


def test_an_interrupted_export_leaves_nothing(model, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "write_warmup", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export_saved_model(model, tmp_path / "1")
    assert not list(tmp_path.iterdir())


def test_a_wrong_result_is_not_kept(model, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_vit.exports.comparison.difference", lambda *_: 1.0)
    with pytest.raises(ValueError, match="differs from the model"):
        export_saved_model(model, tmp_path / "1")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_names": ["a"]}, "each of the 3 classes.*1 names"),
        ({"class_names": ["a", "b\nc", "d"]}, "one line"),
        ({"class_names": ["a", "b\x1b", "d"]}, "control characters"),
        ({"class_names": ["a", "b\udcff", "d"]}, "control characters"),
        ({"class_names": ["a", "", "d"]}, "not empty"),
        ({"top_k": 0}, "`top_k`"),
        ({"resize": "stretch"}, "`resize`"),
        ({"warmup": [b"no image"]}, r"warmup\[0\]: not a JPEG"),
    ],
)
def test_arguments(model, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        export_saved_model(model, tmp_path / "1", **options)
    assert not list(tmp_path.iterdir())


def test_models_that_do_not_fit(model, tmp_path):
    with pytest.raises(TypeError, match=r"warmup\[0\] of type str"):
        export_saved_model(model, tmp_path / "1", warmup=["a.jpg"])
    with pytest.raises(ValueError, match="logits, a softmax or a sigmoid"):
        export_saved_model(small_vit(classifier_activation="relu"), tmp_path / "1")
    with pytest.raises(ValueError, match="1 or 3 channels"):
        export_saved_model(small_vit(input_shape=(ROWS, COLUMNS, 5)), tmp_path / "1")
    other = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match="keras_vit built"):
        export_saved_model(other, tmp_path / "1")
    with pytest.raises(ValueError, match="must be that of the model"):
        mixer = keras_vit.Mixer((ROWS, COLUMNS), 16, 24, 1, 5, 40)
        export_saved_model(mixer, tmp_path / "1", image_size=64)


def test_session_says_what_is_wrong(session, tmp_path):
    with pytest.raises(ValueError, match=r"no signature 'nine'.*serving_default"):
        session.run({}, "nine")
    with pytest.raises(ValueError, match=r"takes \['image_bytes'\].*\['images'\]"):
        session.run({"images": [b""]})
    with pytest.raises(ValueError, match=r"Asked for: \['logits'\]"):
        session.run({"image_bytes": [b""]}, outputs=("logits",))
    with pytest.raises(ValueError, match="There is no SavedModel"):
        SessionModel(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="Cannot load"):
        SessionModel(tmp_path)
