"""VTAB-1k: the table, labels by hand, and all 19 tasks on TFDS's mock data."""

from __future__ import annotations

import numpy as np
import pytest

from keras_vit.data.sources import tfds as tfds_source
from keras_vit.experiments import vtab
from keras_vit.experiments.vtab import labels

tfds = pytest.importorskip("tensorflow_datasets", reason="needs tensorflow-datasets")

TASKS = vtab.TASKS


# --- the table --------------------------------------------------------------------------------


def test_the_groups_have_the_papers_sizes():
    assert len(TASKS) == 19
    counts = {group: sum(task.group == group for task in TASKS.values()) for group in vtab.GROUPS}
    assert counts == {"natural": 7, "specialised": 4, "structured": 8}
    assert not any(task.stand_in for task in TASKS.values())


# Table 2 of the VTAB paper and data/*.py of google-research/task_adaptation: classes, the 200
# images to tune on, the split to test on, and how many that are.
PROTOCOL = {
    "caltech101": (102, "train[2751:2951]", "test", 6084),
    "cifar100": (100, "train[45000:45200]", "test", 10000),
    "dtd": (47, "validation[:200]", "test", 1880),
    "flowers102": (102, "validation[:200]", "test", 6149),
    "pets": (37, "train[2944:3144]", "test", 3669),
    "sun397": (397, "validation[:200]", "test", 21750),
    "svhn": (10, "train[65931:66131]", "test", 26032),
    "camelyon": (2, "validation[:200]", "test", 32768),
    "eurosat": (10, "train[16200:16400]", "train[21600:]", 5400),
    "resisc45": (45, "train[18900:19100]", "train[25200:]", 6300),
    "retinopathy": (5, "validation[:200]", "test", 42670),
    "clevr-count": (8, "train[63000:63200]", "validation", 15000),
    "clevr-distance": (6, "train[63000:63200]", "validation", 15000),
    "dmlab": (6, "validation[:200]", "test", 22735),
    "kitti": (4, "validation[:200]", "test", 711),
    "dsprites-location": (16, "train[589824:590024]", "train[663552:]", 73728),
    "dsprites-orientation": (16, "train[589824:590024]", "train[663552:]", 73728),
    "norb-azimuth": (18, "test[:200]", "test[12150:]", 12150),
    "norb-elevation": (9, "test[:200]", "test[12150:]", 12150),
}


@pytest.mark.parametrize("name", TASKS)
def test_splits(name):
    classes, tune, test, _ = PROTOCOL[name]
    assert TASKS[name].classes == classes
    assert vtab.splits(TASKS[name]) == {
        "train800": "train[:800]",
        "val200": tune,
        "train800val200": f"train[:800]+{tune}",
        "test": test,
    }


def test_parts_are_rounded_down_one_by_one():
    """As in eurosat.py, with a number of images that is no multiple of 100."""
    cut = vtab.splits(TASKS["eurosat"], {"train": 99 * 9})  # 534 + 178, where 80 % are 712.8
    assert cut["test"] == "train[712:]"
    cut = vtab.splits(TASKS["eurosat"], {"train": 998})  # 598 + 199, where 80 % are 798.4
    assert (cut["val200"], cut["test"]) == ("train[598:798]", "train[797:]")


# --- labels by hand ---------------------------------------------------------------------------


def as_int(label, example):
    import tensorflow as tf

    return int(label.read(tf.nest.map_structure(tf.constant, example)))


@pytest.mark.parametrize("count", range(3, 11))
def test_clevr_count(count):
    example = {"objects": {"size": np.zeros(count, "int64")}}
    label = as_int(labels.CLEVR_COUNT, example)
    assert label == count - 3
    assert labels.CLEVR_COUNT.class_names[label] == f"{count} objects"


@pytest.mark.parametrize(
    ("depth", "label", "name"),
    [
        (0.1, 0, "up to 8"),
        (8.0, 0, "up to 8"),  # an edge belongs to what is nearer
        (8.001, 1, "8 to 8.5"),
        (8.5, 1, "8 to 8.5"),
        (9.0, 2, "8.5 to 9"),
        (9.5, 3, "9 to 9.5"),
        (10.0, 4, "9.5 to 10"),
        (10.001, 5, "above 10"),
        (100.0, 5, "above 10"),
    ],
)
def test_clevr_distance(depth, label, name):
    coordinates = np.array([[1, 2, 50], [300, 100, depth], [0, 0, 101]], "float32")
    assert as_int(labels.CLEVR_DISTANCE, {"objects": {"pixel_coords": coordinates}}) == label
    assert labels.CLEVR_DISTANCE.class_names[label] == name


@pytest.mark.parametrize(
    ("objects", "label", "name"),
    [
        ([(0, 7.9)], 0, "up to 8 m"),
        ([(0, -1.0)], 0, "up to 8 m"),  # beside the camera
        ([(1, 8.0)], 0, "up to 8 m"),
        ([(2, 8.001)], 1, "8 m to 20 m"),
        ([(0, 20.0), (1, 30.0)], 1, "8 m to 20 m"),
        ([(0, 20.5), (3, 5.0), (5, 1.0)], 2, "above 20 m"),  # people do not count
        ([(3, 5.0), (7, 6.0)], 3, "no vehicle"),
        ([], 3, "no vehicle"),
    ],
)
def test_kitti(objects, label, name):
    kinds = np.array([kind for kind, _ in objects], "int64")
    places = np.zeros((len(objects), 3), "float32")
    places[:, 2] = [depth for _, depth in objects]
    example = {"objects": {"type": kinds, "location": places}}
    assert as_int(labels.KITTI_VEHICLE, example) == label
    assert labels.KITTI_VEHICLE.class_names[label] == name


def test_dsprites():
    found = [as_int(labels.DSPRITES_X, {"label_x_position": np.int64(i)}) for i in range(32)]
    assert found == [i // 2 for i in range(32)]
    found = [as_int(labels.DSPRITES_ORIENTATION, {"label_orientation": np.int64(i)})
             for i in range(40)]  # fmt: skip
    # 2.5 values a bin.
    assert found[:11] == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4]
    assert found[-3:] == [14, 15, 15]
    assert sorted(set(found)) == list(range(16))


@pytest.mark.parametrize(
    ("label", "key"),
    [
        (labels.CLASS, "label"),
        (labels.NORB_AZIMUTH, "label_azimuth"),
        (labels.NORB_ELEVATION, "label_elevation"),
    ],
)
def test_labels_that_are_as_they_are(label, key):
    example = {"label": 1, "label_azimuth": 2, "label_elevation": 3, "label_lighting": 4}
    assert as_int(label, example) == example[key]


# --- all 19 on mock data ----------------------------------------------------------------------


def write_metadata(task, folder):
    """What TFDS writes beside the files of a data set, for one whose files are not there."""
    builder = tfds.builder(task.tfds, data_dir=folder)
    builder.info.set_splits(
        tfds.core.splits.SplitDict(
            [
                tfds.core.SplitInfo(
                    name=name,
                    shard_lengths=[count],
                    num_bytes=0,
                    filename_template=tfds.core.ShardedFileTemplate(
                        dataset_name=builder.name,
                        data_dir=builder.data_dir,
                        filetype_suffix="tfrecord",
                    ),
                )
                for name, count in task.examples.items()
            ]
        )
    )
    builder.data_path.mkdir(parents=True)
    builder.info.write_to_directory(builder.data_path)
    builder.info.features.save_config(builder.data_path)
    return builder.data_path


@pytest.fixture
def ten_objects(monkeypatch):
    """TFDS's mock gives each feature of `objects` a length of its own, from 5 to 49, which no
    scene of CLEVR and KITTI has: all get its own alternative, 10."""
    from tensorflow_datasets.testing import mocking

    init = mocking.RandomFakeGenerator.__init__

    def with_ten(self, *args, **options):
        init(self, *args, **{**options, "constant_dynamic_shape": True})

    monkeypatch.setattr(mocking.RandomFakeGenerator, "__init__", with_ten)


@pytest.mark.parametrize("name", TASKS)
def test_mock_data(name, tmp_path, monkeypatch, ten_objects):
    task = TASKS[name]
    asked = []
    original = tfds_source._found

    def found(builder, reading, name, train, validation):
        asked.append((train, validation))
        return original(builder, reading, name, train, validation)

    monkeypatch.setattr(tfds_source, "_found", found)
    assert vtab.available(tmp_path, [name])[name].state in ("download", "manual")
    write_metadata(task, tmp_path)
    assert vtab.available(tmp_path, [name])[name].state == "prepared"
    cut = vtab.splits(task)
    with tfds.testing.mock_data(num_examples=2, data_dir=str(tmp_path)):
        if name in ("cifar100", "norb-azimuth"):  # the others differ in their splits only
            tune = vtab.load(name, "tune", 16, 2, data_dir=tmp_path)
            assert (tune.num_train, tune.num_validation) == (800, 200)
            assert asked.pop() == (cut["train800"], cut["val200"])
        final = vtab.load(name, "final", (16, 24), 2, data_dir=tmp_path)
        assert asked == [(cut["train800val200"], cut["test"])]
        assert (final.num_train, final.num_validation) == (1000, PROTOCOL[name][3])
        assert len(final.class_names) == task.classes == len(set(final.class_names))
        for dataset in (final.validation, final.training()):
            pixels, found = next(dataset.as_numpy_iterator())
            assert pixels.shape == (2, 16, 24, 3)
            assert pixels.dtype == np.float32
            assert pixels.min() >= 0
            assert 64 < pixels.max() <= 255
            assert found.dtype == np.int32
            assert ((found >= 0) & (found < task.classes)).all()
            if name == "clevr-count":
                assert (found == 10 - 3).all()


def test_what_is_downloaded_by_hand(tmp_path):
    states = vtab.available(tmp_path)
    assert {name for name, state in states.items() if state.state == "manual"} == {
        "resisc45",
        "retinopathy",
    }
    assert {state.state for state in states.values()} == {"manual", "download"}
    text = str(vtab.list_page(states))
    assert "kaggle.com" in text
    for task in TASKS.values():
        assert f"{task.tfds}; {task.licence}" in text
