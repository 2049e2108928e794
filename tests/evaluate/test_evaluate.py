"""Evaluations, against numbers worked out by hand; on any batch size and several devices."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from support.colour_photos import write_photos
from support.paths import ROOT

from keras_vit import evaluate
from keras_vit.data import from_folder
from keras_vit.evaluate import run as evaluation
from keras_vit.evaluate import scores
from keras_vit.predict import Classifier
from keras_vit.utils import progress

pytestmark = pytest.mark.any_backend


def colour_model(classes: int = 3, activation: str | None = None, size: int | None = 4):
    """Its outputs are the mean red, green and blue of the image, and then minus 1, minus 2, ..."""
    inputs = keras.Input((size, size, 3))
    mean = keras.layers.GlobalAveragePooling2D()(inputs)
    dense = keras.layers.Dense(classes, activation=activation)
    model = keras.Model(inputs, dense(mean), name="colours")
    dense.set_weights(
        [np.eye(3, classes, dtype="float32"), np.minimum(0, 2.0 - np.arange(classes))]
    )
    return model


def images_of(outputs) -> np.ndarray:
    """Images for which the first three outputs of `colour_model` are these."""
    return np.tile(np.asarray(outputs, "float32")[:, None, None], (1, 4, 4, 1))


# --- the whole ------------------------------------------------------------------------------

# Seven images of three classes: 5 right; of class 0 one of 3 is taken for 2, of class 2 one for 1.
OUTPUTS = [(9, 0, 1), (8, 7, 0), (1, 2, 3), (0, 5, 1), (0, 1, 6), (0, 4, 3), (2, 2, 4)]
LABELS = np.array([0, 0, 0, 1, 2, 2, 2])


def test_a_report_by_hand():
    report = evaluate.accuracy(
        colour_model(), (images_of(OUTPUTS), LABELS), class_names=("red", "green", "blue")
    )
    assert (report.images, report.chosen_among) == (7, 3)
    assert report.top1 == evaluate.Proportion(5, 7)
    assert report.top5 == evaluate.Proportion(7, 7)  # there are three classes only
    assert report.real is None
    np.testing.assert_array_equal(report.confusion, [[2, 0, 1], [0, 1, 0], [0, 1, 2]])
    np.testing.assert_array_equal(report.elsewhere, [0, 0, 0])
    assert report.per_class == (
        evaluate.ClassRow("red", evaluate.Proportion(2, 3), "blue", 1),
        evaluate.ClassRow("green", evaluate.Proportion(1, 1), None, 0),
        evaluate.ClassRow("blue", evaluate.Proportion(2, 3), "green", 1),
    )
    assert report.mistakes == (("red", "blue", 1), ("blue", "green", 1))
    exponentials = np.exp(OUTPUTS)
    of_label = exponentials[np.arange(7), LABELS]
    expected = -np.log(of_label / exponentials.sum(axis=1)).mean()
    assert report.loss == pytest.approx(expected, rel=1e-6)
    text = str(report)
    assert "top-1  71.4 % (95 %: 35.9 to 91.8)" in text
    assert "top-5" not in text  # which says nothing among three
    assert "red   2 of 3,  taken for blue 1x" in text


def test_top_5_and_classes_that_the_data_do_not_have():
    """Ten outputs, three colours and -1 to -7, of which the data have two."""
    model = colour_model(10)
    # Of the first two images output 1 is the first and the second; of the last, 9 is the tenth.
    outputs = [(0, 9, 0), (9, 8, 0), (1, 2, 3)]
    data = evaluate.EvaluationData(
        _elements(outputs, [0, 0, 1]), ("1", "9"), 3, (4, 4), "two of ten"
    )
    names = tuple(f"output {i}" for i in range(10))
    report = evaluate.accuracy(model, data, class_names=names)
    assert report.top1 == evaluate.Proportion(1, 3)
    assert report.top5 == evaluate.Proportion(2, 3)
    np.testing.assert_array_equal(report.confusion, [[1, 0], [0, 0]])
    np.testing.assert_array_equal(report.elsewhere, [1, 1])
    assert report.per_class[1] == evaluate.ClassRow(
        "output 9", evaluate.Proportion(0, 1), "output 2", 1
    )
    assert "3 images, 2 of 10 classes" in str(report)
    # Among the two alone, 1 is right twice and 9 never.
    restricted = evaluate.accuracy(model, data, class_names=names, restrict=True)
    assert restricted.top1 == evaluate.Proportion(2, 3)
    np.testing.assert_array_equal(restricted.confusion, [[2, 0], [1, 0]])
    assert restricted.elsewhere.sum() == 0
    assert restricted.per_class[1].mistake == "output 1"


def _elements(outputs, labels, numbers=None):
    import tensorflow as tf

    labels = np.array(labels, "int32")
    numbers = np.zeros_like(labels) if numbers is None else np.array(numbers, "int32")
    return tf.data.Dataset.from_tensor_slices((images_of(outputs), labels, numbers))


def test_real_by_the_numbers_of_the_images():
    """A head of ImageNet's 1,000 classes; the set of image 18 holds two."""
    numbers = [1, 16, 18, 0]
    sets = [evaluate.real_labels()[number - 1] for number in numbers[:3]]
    assert [set(x) for x in sets] == [set(), {147}, {21, 22}]
    model = colour_model(1000)
    kernel = np.zeros((3, 1000), "float32")
    kernel[range(3), [21, 22, 147]] = 1  # what a red, a green and a blue image are
    model.layers[-1].set_weights([kernel, np.zeros(1000)])
    data = evaluate.EvaluationData(
        _elements([(5, 0, 0), (0, 0, 5), (5, 0, 0), (5, 0, 0)], [-1] * 4, numbers),
        (), 4, (4, 4), "photos",
    )  # fmt: skip
    report = evaluate.accuracy(model, data)
    assert (report.real, report.without_real) == (evaluate.Proportion(2, 2), 1)
    assert report.top1 is None
    assert math.isnan(report.loss)
    assert "1 have no ReaL label" in str(report)
    assert report.as_dict()["loss"] is None


def comparable(report):
    facts = report.as_dict()
    del facts["seconds"]
    return facts | {"loss": pytest.approx(facts["loss"], abs=1e-6)}, report.confusion.tolist()


def test_any_batch_size_gives_the_same_numbers():
    """And logits the same as the softmax of them."""
    rng = np.random.default_rng(0)
    outputs, labels = rng.normal(0, 2, (31, 3)), rng.integers(0, 3, 31)
    data = images_of(outputs), labels
    logits, probabilities = colour_model(), colour_model(activation="softmax")
    first = comparable(evaluate.accuracy(logits, data, batch_size=1))
    for size in (7, 31, 32):
        assert comparable(evaluate.accuracy(logits, data, batch_size=size)) == first
    assert comparable(evaluate.accuracy(probabilities, data, batch_size=7)) == first
    assert first[0]["top1"]["right"] == (outputs.argmax(axis=1) == labels).sum() < 31


def test_data_to_train_on_and_batches_with_names(tmp_path):
    """ImageData: its validation images; batches of Keras, whose dataset knows its classes."""
    import tensorflow as tf

    folder = write_photos(tmp_path / "colours", 5)
    data = from_folder(folder, 4, 2, validation_share=0.4)
    classifier = Classifier(colour_model(), ("red", "green", "blå"), (4, 4))
    report = evaluate.accuracy(classifier, data)
    assert report.top1 == evaluate.Proportion(6, 6)
    assert report.class_names == ("blå", "green", "red")  # in the order of the data
    assert report.resize == "squash"
    batches = keras.utils.image_dataset_from_directory(folder, image_size=(4, 4), verbose=False)
    report = evaluate.accuracy(classifier, batches, batch_size=4)
    assert report.top1 == evaluate.Proportion(15, 15)
    # And one-hot labels.
    batches = batches.map(lambda images, labels: (images, tf.one_hot(labels, 3)))
    report = evaluate.accuracy(colour_model(), batches)  # outputs in another order than the names
    assert report.top1 == evaluate.Proportion(5, 15)


def test_names_must_be_as_many_as_outputs():
    with pytest.raises(ValueError, match=r"each of the 3 outputs .* Received: 2 names"):
        evaluate.accuracy(
            colour_model(), (images_of(OUTPUTS), LABELS), class_names=("red", "green")
        )


# --- what does not fit ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "data", "options", "error", "message"),
    [
        ("ViT", (images_of(OUTPUTS), LABELS), {}, TypeError, r"must be a keras.Model"),
        (None, (images_of(OUTPUTS), LABELS + 1), {}, ValueError, r"in \[0, 3\).*a label of 3"),
        (None, (images_of(OUTPUTS), LABELS[:3]), {}, ValueError, "7 images, 3 labels"),
        (None, (images_of(OUTPUTS)[:0], LABELS[:0]), {}, ValueError, "must be images to"),
        (None, (np.zeros((2, 5, 5, 3)), [0, 1]), {}, ValueError, r"for \(4, 4\), data of \(5, 5\)"),
        (None, 12, {}, ValueError, "a folder, the name of a TensorFlow data set"),
        (None, (images_of(OUTPUTS), LABELS), {"batch_size": 0}, ValueError, "batch_size=0"),
    ],
)
def test_what_does_not_fit(model, data, options, error, message):
    with pytest.raises(error, match=message):
        evaluate.accuracy(model or colour_model(), data, **options)


def test_a_model_without_a_head_is_refused():
    inputs = keras.Input((4, 4, 3))
    with pytest.raises(ValueError, match=r"include_top=True.*\(None, 2, 2, 3\)"):
        model = keras.Model(inputs, keras.layers.AveragePooling2D(2)(inputs))
        evaluate.accuracy(model, (images_of(OUTPUTS), LABELS))


def test_images_that_are_known_by_number_only_need_imagenets_classes():
    data = evaluate.EvaluationData(_elements([(1, 2, 3)], [-1], [18]), (), 1, (4, 4), "photos")
    with pytest.raises(ValueError, match=r"nothing to compare .* 'class 0'"):
        evaluate.accuracy(colour_model(), data)
    with pytest.raises(ValueError, match=r"`restrict` needs data .* photos"):
        evaluate.accuracy(colour_model(), data, restrict=True)


# --- saved ----------------------------------------------------------------------------------


def test_a_report_is_saved_whole_and_never_over_another(tmp_path):
    report = evaluate.accuracy(
        colour_model(), (images_of(OUTPUTS), LABELS), class_names=("red", "green", "blue")
    )
    out = report.save(tmp_path / "evaluation")
    files = ["confusion.png", "mistakes.csv", "per_class.csv", "report.json"]
    assert sorted(path.name for path in out.iterdir()) == files
    assert json.loads((out / "report.json").read_text()) == report.as_dict()
    with (out / "per_class.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    low, high = evaluate.wilson_interval(2, 3)
    assert rows[0] == {
        "class": "red", "images": "3", "right": "2", "top1": "0.666667", "low": str(round(low, 6)),
        "high": str(round(high, 6)), "mistake": "blue", "times": "1",
    }  # fmt: skip
    assert rows[1]["mistake"] == ""
    with pytest.raises(ValueError, match="exists already"):
        report.save(out)
    report.save(out, overwrite=True)
    assert (tmp_path / "evaluation.old" / "report.json").is_file()


def test_the_picture_shows_a_matrix_or_the_worst_of_many_classes():
    from matplotlib.colors import to_hex

    report = evaluate.accuracy(colour_model(), (images_of(OUTPUTS), LABELS))
    (axes,) = report.confusion_figure().axes
    texts = {(t.get_position(), t.get_text(), to_hex(t.get_color())) for t in axes.texts}
    wrong = {entry[:2] for entry in texts if entry[2] == "#c62828"}
    assert wrong == {((2, 0), "1"), ((1, 2), "1")}  # column, row
    assert len(texts) == 5
    wide = colour_model(50)
    report = evaluate.accuracy(wide, (images_of([(9, 0, 0), (9, 0, 0), (0, 0, 9)]), [40, 40, 2]))
    left, right = report.confusion_figure().axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["class 40 taken for class 0"]
    assert [t.get_text() for t in right.get_yticklabels()] == ["class 40"]
    assert left.patches[0].get_width() == 2
    # Without a mistake there is nothing to list, and that is no error.
    evaluate.accuracy(wide, (images_of([(9, 0, 0)]), [0])).confusion_figure()


def test_the_worst_mistakes_are_kept_with_their_photos(monkeypatch):
    data = (images_of(OUTPUTS), LABELS)
    names = ("red", "green", "blue")
    report = evaluate.accuracy(colour_model(), data, class_names=names, batch_size=4)
    # Their losses are 2.4 and 1.3; they come from two batches.
    assert [photo[:2] for photo in report.photos] == [("red", "blue"), ("blue", "green")]
    for photo, place in zip(report.photos, (2, 5), strict=True):
        np.testing.assert_array_equal(photo[2], data[0][place])
        assert photo[2].dtype == "uint8"
    monkeypatch.setattr(scores, "MOST_PHOTOS", 1)
    (worst,) = evaluate.accuracy(colour_model(), data, batch_size=2).photos
    assert worst[:2] == ("class 0", "class 2")
    module = sys.modules["keras_vit.evaluate.accuracy"]
    monkeypatch.setattr(module, "MOST_IMAGES_WITH_PHOTOS", 6)
    many = evaluate.EvaluationData(_elements(OUTPUTS, LABELS), None, 7, (4, 4), "data")
    assert evaluate.accuracy(colour_model(), many).photos == ()


def test_the_progress_says_how_fast_and_for_how_long(capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0)
    arrays = (images_of(OUTPUTS), LABELS)
    evaluate.accuracy(colour_model(), arrays, batch_size=2, progress=True)
    assert capsys.readouterr().out == ""  # it is no terminal
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for name, value in {"TERM": "xterm", "COLUMNS": "100"}.items():
        monkeypatch.setenv(name, value)
    evaluate.accuracy(colour_model(), arrays, batch_size=2, progress=True)
    shown = capsys.readouterr().out
    assert "batch 4 " in shown and " images/s  top-1 0.7143" in shown
    assert "left" not in shown  # how many will come is not known of such data
    assert shown.endswith("\x1b[2K")  # and the line is gone
    known = evaluate.EvaluationData(_elements(OUTPUTS, LABELS), None, 7, (4, 4), "data")
    evaluate.accuracy(colour_model(), known, batch_size=2, progress=True)
    shown = capsys.readouterr().out
    assert "batch 3/4 " in shown and ":00 left  top-1 " in shown
    evaluate.accuracy(colour_model(), known, batch_size=2, progress=False)
    assert capsys.readouterr().out == ""


# --- several devices ------------------------------------------------------------------------


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="strategies are TensorFlow's")
def test_two_devices_give_the_numbers_of_one(tmp_path):
    """The tool, as a process of its own: 11 photos in batches of 4, some of them wrong."""
    folder = write_photos(tmp_path / "photos", 3)
    (folder / "red" / "0.png").rename(folder / "green" / "red.png")
    (folder / "red" / "1.png").unlink()
    (folder / "green" / "0.png").unlink()
    model = keras.Sequential([keras.Input((4, 4, 3)), colour_model()])
    run = tmp_path / "run"
    run.mkdir()
    model.save(run / "model.keras")
    (run / "labels.txt").write_text("red\ngreen\nblå\n", "utf-8")
    one = evaluation.run(folder, run, batch_size=1)
    assert (one.top1, one.images) == (evaluate.Proportion(6, 7), 7)
    subprocess.run(
        [
            sys.executable, ROOT / "tools" / "evaluate.py", folder, "--model", run, "--strategy",
            "cpu", "--devices", "2", "--batch-size", "4", "--out", tmp_path / "two",
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )  # fmt: skip
    two = json.loads((tmp_path / "two" / "report.json").read_text("utf-8"))
    expected = one.as_dict()
    for facts in (two, expected):
        del facts["seconds"]
    assert two.pop("loss") == pytest.approx(expected.pop("loss"), abs=2e-6)
    assert two == expected
