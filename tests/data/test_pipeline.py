"""Augmentation and transforms in the pipeline, and taking a run up in the middle."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.colour_photos import write_photos
from support.combinations import slow

from keras_vit.data import ImageData, from_folder
from keras_vit.data.augment.augmentation import Augmentation
from keras_vit.data.pipeline import Pipeline

# 9 of each of 3 classes to train on: 3 batches of 8, and 3 images are left over.
SIZE, BATCH = 12, 8
# One operation of RandAugment, which is what takes long to trace; "medium2" has two.
ALL = Augmentation("all", 1, 15, 0.5, cutmix=1.0, erasing=0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("pipeline") / "photos", 12)


def load(folder: Path, **options) -> ImageData:
    return from_folder(folder, SIZE, BATCH, validation_share=0.25, **options)


@pytest.fixture(scope="module")
def plain(folder) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first epoch of a run without augmentation."""
    return batches(load(folder).training(), 3)


def batches(dataset: tf.data.Dataset, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(dataset.take(count).as_numpy_iterator())


def assert_same(first, second) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


# --- augmentation ---------------------------------------------------------------------------


def test_bytes_come_out_of_randaugment_and_labels_stay(folder):
    ((pixels, labels),) = batches(load(folder, augmentation="light1").train, 1)
    assert pixels.shape == (BATCH, SIZE, SIZE, 3)
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, pixels.round())
    assert labels.dtype == np.int32


@pytest.mark.parametrize("augmentation", ["medium2", ALL])
def test_mixing_makes_labels_shares(folder, augmentation):
    data = load(folder, augmentation=augmentation)
    assert data.one_hot
    for pixels, labels in batches(data.train, 3):
        assert labels.shape == (BATCH, 3)
        assert labels.dtype == np.float32
        np.testing.assert_allclose(labels.sum(1), 1, rtol=1e-6)
        assert 0 <= pixels.min() <= pixels.max() <= 255
    for dataset in (data.validation, data.train_as_validation):
        ((_, labels),) = batches(dataset, 1)
        assert set(np.unique(labels)) == {0.0, 1.0}


def test_a_model_trains_on_mixed_labels(folder):
    data = load(folder, augmentation="strong2")
    model = keras.Sequential([keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    model.fit(data.train, validation_data=data.validation, verbose=0, shuffle=False)


def test_none_is_as_without(folder):
    plain, none = load(folder), load(folder, augmentation="none")
    assert_same(batches(plain.train, 3), batches(none.train, 3))
    assert not plain.one_hot


# --- transforms -----------------------------------------------------------------------------


def test_a_function_of_images(folder):
    plain, inverted = load(folder), load(folder, transform=lambda images: 255 - images)
    for (pixels, labels), (changed, same) in zip(
        batches(plain.train, 2), batches(inverted.train, 2), strict=True
    ):
        np.testing.assert_array_equal(255 - pixels, changed)
        np.testing.assert_array_equal(labels, same)
    assert_same(batches(plain.validation, 1), batches(inverted.validation, 1))


def test_a_function_of_images_and_labels(folder):
    data = load(folder, transform=lambda images, labels: (images, labels / 2))
    for _, labels in batches(data.train, 1):
        np.testing.assert_array_equal(labels.sum(1), 0.5)


LAYERS = {
    "RandAugment": lambda: keras.layers.RandAugment((0, 255), num_ops=1, seed=1),
    "RandomErasing": lambda: keras.layers.RandomErasing(1.0, value_range=(0, 255), seed=1),
    "Pipeline": lambda: keras.layers.Pipeline(
        [keras.layers.RandomFlip(seed=1), keras.layers.RandomBrightness(0.3, seed=2)]
    ),
    "MixUp": lambda: keras.layers.MixUp(seed=1),
    "CutMix": lambda: keras.layers.CutMix(seed=1),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_keras(folder, plain, name):
    data = load(folder, transform=LAYERS[name]())
    run = batches(data.training(), 5)
    for pixels, labels in run:
        assert pixels.shape == (BATCH, SIZE, SIZE, 3)
        assert labels.shape == ((BATCH, 3) if name in ("MixUp", "CutMix") else (BATCH,))
    assert not np.array_equal(run[0][0], plain[0][0])
    # Another layer, that has drawn nothing yet, and from the middle on.
    if name != "RandAugment":  # it shuffles its operations once, while TensorFlow traces
        assert_same(run[2:], batches(load(folder, transform=LAYERS[name]()).training(2), 3))


def test_rescaling_takes_no_training_argument(folder):
    layer = keras.layers.Rescaling(0.5)
    assert_same(
        batches(load(folder, transform=layer).training(), 1),
        batches(load(folder, transform=lambda images: images * 0.5).training(), 1),
    )


def test_randaugment_of_keras_cv(folder, plain):
    keras_cv = pytest.importorskip("keras_cv", reason="needs keras-cv; make test installs it")
    layer = keras_cv.layers.RandAugment((0, 255), augmentations_per_image=1, magnitude=0.5)
    changed = batches(load(folder, transform=layer).training(), 3)
    differences = []
    for (before, labels), (pixels, same_labels) in zip(plain, changed, strict=True):
        np.testing.assert_array_equal(labels, same_labels)
        assert pixels.shape == before.shape
        assert pixels.min() >= 0
        assert pixels.max() <= 255
        differences += list(np.abs(pixels - before).mean((1, 2, 3)))
    assert np.median(differences) > 5  # of 255: most images are changed, each in its own way
    assert len(np.unique(differences)) > len(differences) / 2


@pytest.mark.parametrize("transform", [3, lambda: None, lambda a, b, c: a])
def test_what_is_no_transform(folder, transform):
    with pytest.raises(ValueError, match="`transform` must be a Keras layer, or a function"):
        load(folder, transform=transform)


def test_transforms_keep_the_shape(folder):
    with pytest.raises(ValueError, match=r"keep the shape .*\(8, 12, 12, 3\).*\(8, 6, 12, 3\)"):
        load(folder, transform=lambda images: images[:, ::2])


# --- a run from any step on -----------------------------------------------------------------


@pytest.mark.parametrize("augmentation", [None, ALL, slow(dataclasses.replace(ALL, layers=2))])
def test_a_run_goes_on_as_if_uninterrupted(folder, augmentation):
    run = batches(load(folder, augmentation=augmentation).training(), 9)  # three epochs
    tf.random.set_seed(99)  # of the program: has no part in it
    fresh = load(folder, augmentation=augmentation)
    assert fresh.steps_per_epoch == 3
    for start in (2, 6):
        assert_same(run[start:], batches(fresh.training(start), 9 - start))


def test_threads_have_no_part_in_it(folder):
    def one_thread(dataset):
        options = tf.data.Options()
        options.threading.private_threadpool_size = 1
        return dataset.with_options(options)

    data = load(folder, augmentation=ALL)
    assert_same(batches(data.training(), 4), batches(one_thread(data.training()), 4))


def test_epochs_hold_other_images_in_another_order(tmp_path):
    write_photos(tmp_path / "photos", 12)
    data = from_folder(tmp_path / "photos", SIZE, 9, validation_share=0.25, crop_area=(1, 1))
    seen = [pixels.mean(axis=(1, 2, 3)) for pixels, _ in batches(data.training(), 6)]
    first, second = np.concatenate(seen[:3]), np.concatenate(seen[3:])
    assert not np.allclose(first, second)
    # All 27 once in each.
    np.testing.assert_allclose(np.sort(first), np.sort(second), rtol=1e-5)
    assert len(np.unique(first.round(3))) == 27


def test_other_seeds_are_other_runs(folder):
    one, other = (batches(load(folder, seed=seed).training(), 1)[0][0] for seed in (1, 2))
    assert not np.array_equal(one, other)


def test_fewer_images_than_a_batch(folder):
    data = from_folder(folder, SIZE, 64, validation_share=0.25)
    assert data.steps_per_epoch == 1
    run = batches(data.training(), 3)
    assert run[0][0].shape[0] == 27
    assert_same(run[1:], batches(data.training(1), 2))


def test_passing_over_reads_nothing():
    read = []

    def note(number):
        read.append(int(number))
        return np.int32(number)

    from keras_vit.data import shuffling

    numbers = shuffling.of_arrays((np.arange(20, dtype="int32"),))

    def look_up(number, crop=None):
        label = tf.ensure_shape(tf.numpy_function(note, [number], tf.int32), ())
        return tf.zeros((4, 4, 3), tf.uint8), label

    pipeline = Pipeline(4, 2, (1, 1), False, "squash", 0)
    data = pipeline.data(numbers, numbers, look_up, tuple("ab"), name="numbers")
    # Of the 10 batches of the epoch the last.
    ((_, labels),) = data.training(9).take(1).as_numpy_iterator()
    assert set(labels) <= set(read)
    assert len(labels) == 2
    order = np.concatenate([labels for _, labels in batches(data.training(), 10)])
    assert sorted(order) == list(range(20))
    np.testing.assert_array_equal(order[-2:], labels)


@pytest.mark.parametrize("start", [-1, 1.5, True])
def test_steps_out_of_range(folder, start):
    with pytest.raises(ValueError, match="`start_step` must be an integer of at least 0"):
        load(folder).training(start)


# --- when datasets are made -----------------------------------------------------------------


def test_datasets_are_made_at_their_first_use(folder):
    made = []

    def later(name: str):
        return lambda: made.append(name) or tf.data.Dataset.range(3)

    names = ("train", "validation", "train_as_validation", "train_in_order")
    data = dataclasses.replace(load(folder), **{name: later(name) for name in names})
    assert made == []
    assert data.validation is data.validation
    assert [int(n) for n in data.train] == [0, 1, 2]
    assert made == ["validation", "train"]


def test_data_made_by_hand(folder):
    found = load(folder)
    facts = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    del facts["train_in_order"]
    assert ImageData(**facts).train_in_order is None
    del facts["train"]
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'train'"):
        ImageData(**facts)
