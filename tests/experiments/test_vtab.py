"""VTAB-1k: the runner, on local data that stand in for tasks, and the means."""

from __future__ import annotations

import dataclasses
import json

import keras
import numpy as np
import pytest
from support.tiny_model import tiny_model

from keras_vit import plots
from keras_vit.experiments import vtab
from keras_vit.experiments.vtab import labels, runner

tfds = pytest.importorskip("tensorflow_datasets", reason="needs tensorflow-datasets")

TASKS = vtab.TASKS


# --- local data, which stand in for tasks -----------------------------------------------------


def write_stand_in(folder, name, train, test, pixels=None):
    """A small data set of TFDS: noise around a grey that is the class, or images."""
    rng = np.random.default_rng(0)

    def examples(count, start=0):
        for i in range(count):
            image = (
                np.clip(rng.normal(60 + 60 * (i % 3), 10, (12, 10, 3)), 0, 255).astype("uint8")
                if pixels is None
                else pixels[0][start + i]
            )
            label = i % 3 if pixels is None else int(pixels[1][start + i])
            yield i, {"image": image, "label": label}

    classes = 3 if pixels is None else 10
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "label": tfds.features.ClassLabel(num_classes=classes),
            }
        ),
        split_datasets={"train": list(examples(train)), "test": list(examples(test, train))},
        disable_shuffling=True,
        data_dir=str(folder),
    )


def stand_in(name, group="natural", **changes):
    row = vtab.Task(
        name, name, group, "stand_in_greys:1.0.0", labels.CLASS, 3, {"train": 1100, "test": 30},
        ("train", 80), ("test", 0), crop=False, flip=False, licence="none", stand_in=True,
    )  # fmt: skip
    return dataclasses.replace(row, **changes)


@pytest.fixture(scope="module")
def greys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    write_stand_in(folder, "stand_in_greys", 1100, 30)
    return folder


SETTINGS = vtab.Settings(
    "small", None, image_size=16, steps=12, batch_size=32, dtype="float32", save_every=2,
)  # fmt: skip


def test_real_splits_are_read(greys):
    data = vtab.load(stand_in("greys"), "tune", 16, 100, data_dir=greys)
    assert (data.num_train, data.num_validation) == (800, 200)
    levels = [pixels.mean((1, 2, 3)) for pixels, _ in data.validation.as_numpy_iterator()]
    found = np.concatenate([y for _, y in data.validation.as_numpy_iterator()])
    np.testing.assert_array_equal(np.concatenate(levels).round(-1), 60 + 60 * found)
    # The whole image, where a crop would spoil the label; the same in every epoch but for order.
    final = vtab.load(stand_in("greys"), "final", (12, 10), 50, data_dir=greys)
    assert (final.num_train, final.num_validation) == (1000, 30)
    epoch = np.concatenate([x for x, _ in final.training().take(20).as_numpy_iterator()])
    whole = np.concatenate([x for x, _ in final.train_as_validation.as_numpy_iterator()])
    np.testing.assert_array_equal(
        np.unique(epoch.reshape(1000, -1), axis=0), np.unique(whole.reshape(1000, -1), axis=0)
    )


class Killed(BaseException):
    pass


def test_a_run_goes_on_after_a_kill(greys, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "model_for", tiny_model)
    tasks = [stand_in("first"), stand_in("second", "structured")]
    settings = dataclasses.replace(SETTINGS, steps=40, sweep=(0.5, 0.0001), save_every=5)
    # Both are the same but for their names, and what is done with the first one is not interrupted.
    out = tmp_path / "killed"
    whole = vtab.run(settings, out, tasks=tasks[:1], data_dir=greys, verbose=0)
    step, calls = keras.Model.train_on_batch, 0

    def killed(*args, **options):
        nonlocal calls
        calls += 1
        if calls == limit:
            raise Killed
        return step(*args, **options)

    monkeypatch.setattr(keras.Model, "train_on_batch", killed)
    # In the second task's second training to tune, and then in its final one.
    made = whole["results"]["first"]["steps"]
    for last, left in ((made + 6, "tune-0.0001"), (made + 2, "final-0.5")):
        calls, limit = 0, last
        with pytest.raises(Killed):
            vtab.run(settings, out, tasks=tasks, data_dir=greys, verbose=0)
        assert (out / "first.json").exists()
        assert not (out / "second.json").exists()
        assert (out / "second.training" / left).exists()
    limit = 0
    calls = 0
    summary = vtab.run(settings, out, tasks=tasks, data_dir=greys, verbose=0)
    assert calls < made  # the rest of the last training, nothing of what was done before
    for results in (whole["results"], summary["results"]):
        for row in results.values():
            assert row.pop("seconds") > 0
    assert summary["results"]["first"] == whole["results"]["first"]
    of_the_second = {"title": "second", "group": "structured"}
    assert summary["results"]["second"] == whole["results"]["first"] | of_the_second
    assert summary["settings"] == whole["settings"]
    assert {path.name for path in out.iterdir()} == {
        "first.json", "second.json", "settings.json", "summary.json", "vtab.png",
    }  # fmt: skip
    row = summary["results"]["second"]
    rates = [rate for rate, _ in row["tuned"]]
    assert rates == [0.5, 0.0001]
    assert row["learning_rate"] == 0.5  # .0001 has hardly moved
    assert row["tuned"][0][1] > row["tuned"][1][1]
    assert row["test_accuracy"] == 1.0
    assert (row["train_images"], row["test_images"]) == (1000, 30)
    assert summary["scores"]["mean"] is None  # stand-ins are no VTAB
    # It is complete: nothing is trained again. Other settings are refused.
    calls, limit = 0, 1
    assert vtab.run(settings, out, tasks=tasks, data_dir=greys, verbose=0)["skipped"] == {}
    with pytest.raises(ValueError, match=r"other settings .*seed: 0 there, 1 here"):
        vtab.run(dataclasses.replace(settings, seed=1), out, tasks=tasks, verbose=0)


def test_what_is_absent_is_skipped_and_named(tmp_path, capsys):
    summary = vtab.run(SETTINGS, tmp_path / "out", data_dir=tmp_path / "tfds")
    assert summary["results"] == {}
    assert set(summary["skipped"]) == set(TASKS)
    assert "by hand" in summary["skipped"]["resisc45"]
    assert "--download" in summary["skipped"]["cifar100"]
    assert not (tmp_path / "tfds").exists()
    text = str(vtab.report_page(summary))
    assert "0 of 19" in text
    assert "dmlab: skipped" in capsys.readouterr().out
    # Nothing was done with these settings: others may follow.
    vtab.run(dataclasses.replace(SETTINGS, seed=1), tmp_path / "out", tasks=["dtd"],
             data_dir=tmp_path / "tfds", verbose=0)  # fmt: skip
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["seed"] == 1


def test_a_failed_download_does_not_end_the_run(tmp_path, monkeypatch):
    def fails(*args, **options):
        raise ConnectionError("no network here")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fails)
    summary = vtab.run(SETTINGS, tmp_path / "out", tasks=["dtd", "kitti"], data_dir=tmp_path,
                       download=True, verbose=0)  # fmt: skip
    for name in ("dtd", "kitti"):
        assert summary["skipped"][name].endswith("ConnectionError: no network here")


@pytest.mark.parametrize(
    ("changes", "tasks", "message"),
    [
        ({}, ["cifar10"], "`task` must be one of caltech101.*'cifar10'"),
        ({}, ["dtd", "dtd"], "each named once"),
        ({"model": "ViT_X"}, None, "`model` must be one of small, .*'ViT_X'"),
        ({"batch_size": 32, "accumulate": 3}, None, "`accumulate` must divide"),
        ({"steps": 0}, None, "`steps` must be a positive integer"),
        ({"sweep": (0.1, 0.0)}, None, "`sweep` must hold positive rates"),
    ],
)
def test_errors_before_any_work(tmp_path, changes, tasks, message):
    with pytest.raises(ValueError, match=message):
        vtab.run(dataclasses.replace(SETTINGS, **changes), tmp_path / "out", tasks=tasks)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("")
    with pytest.raises(ValueError, match="is no run of VTAB"):
        vtab.run(SETTINGS, tmp_path, tasks=["dtd"])
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_data_that_are_absent_are_not_downloaded(tmp_path):
    with pytest.raises(ValueError, match=r"'dtd' are not in .*download=True"):
        vtab.load("dtd", "final", data_dir=tmp_path)
    with pytest.raises(ValueError, match="`phase` must be one of tune, final"):
        vtab.load("dtd", "test", data_dir=tmp_path)


def test_cifar_stands_in_for_a_task(shared, tmp_path):
    """Real images through the same code; CIFAR-10 is no task of VTAB."""
    with np.load(shared / "data" / "cifar10_5k.npz") as file:
        images = (
            np.concatenate([file["x_train"][:1200], file["x_test"][:10]]),
            np.concatenate([file["y_train"][:1200], file["y_test"][:10]]),
        )
    write_stand_in(tmp_path, "stand_in_cifar", 1200, 10, images)
    task = stand_in("cifar10", classes=10, crop=True, flip=True, tfds="stand_in_cifar:1.0.0")
    for phase, numbers in (("tune", (800, 200)), ("final", (1000, 10))):
        data = vtab.load(task, phase, (32, 32), 10, data_dir=tmp_path)
        assert (data.num_train, data.num_validation) == numbers
        pixels, found = next(data.validation.as_numpy_iterator())
        first = 960 if phase == "tune" else 1200  # 80 % of 1,200
        np.testing.assert_array_equal(found, images[1][first : first + 10])
        np.testing.assert_array_equal(pixels, images[0][first : first + 10])


# --- the paper's setting ----------------------------------------------------------------------


def test_the_defaults_are_the_papers():
    recipe = vtab.Settings().recipe()
    assert (recipe.image_size, recipe.total_steps, recipe.batch_size) == (384, 2500, 512)
    assert (recipe.learning_rate, recipe.warmup_steps, recipe.clip_norm) == (0.01, 500, 1.0)
    assert vtab.Settings().sweep == ()
    small = vtab.Settings(batch_size=64, steps=100).recipe()
    assert (small.learning_rate, small.total_steps, small.warmup_steps) == (0.01 / 8, 100, 20)


# --- means by hand ----------------------------------------------------------------------------


def result(name, accuracy, stand_in=False, group=None):
    task = TASKS.get(name)
    return {
        "title": task.title if task else name, "group": group or task.group,
        "stand_in": stand_in, "test_accuracy": accuracy, "test_images": 100,
        "learning_rate": 0.01,
    }  # fmt: skip


def summary_of(results, skipped=()):
    settings = {"model": "ViT_Ti16", "weights": "imagenet", "image_size": 224, "steps": 9,
                "batch_size": 32}  # fmt: skip
    return {"results": results, "scores": vtab.scores(results), "skipped": dict(skipped),
            "settings": settings}  # fmt: skip


def test_means_of_some():
    results = {
        "dtd": result("dtd", 0.5),
        "svhn": result("svhn", 0.8),
        "kitti": result("kitti", 0.2),
        "mine": result("mine", 1.0, True, "natural"),
    }
    found = vtab.scores(results)
    assert found["groups"] == pytest.approx({"natural": 0.65, "structured": 0.2})
    assert found["mean"] == pytest.approx(0.5)
    assert found["of"] == {
        "natural": [2, 7], "specialised": [0, 4], "structured": [1, 8], "all": [3, 19],
    }  # fmt: skip
    assert found["vtab_score"] is None
    assert found["stand_ins"] == 1.0
    text = str(vtab.report_page(summary_of(results, {"resisc45": "not there"})))
    assert "mean of natural, 2 of 7 tasks" in text
    assert "mean of all, 3 of 19 tasks" in text
    assert "This is no VTAB-1k score" in text
    assert "stand-in, no task of VTAB" in text
    assert "resisc45" in text.split("Skipped:")[1]


def test_the_score_is_the_mean_of_all_19():
    results = {name: result(name, i / 100) for i, name in enumerate(TASKS)}
    found = vtab.scores(results)
    assert found["vtab_score"] == pytest.approx(0.09)  # 0 to 18
    # The seven natural ones come first, then the four specialised: 0..6, 7..10, 11..18.
    assert found["groups"] == pytest.approx(
        {"natural": 0.03, "specialised": 0.085, "structured": 0.145}
    )
    assert "mean of all 19 tasks" in str(vtab.report_page(summary_of(results)))


def test_the_picture(tmp_path):
    results = {name: result(name, (i + 1) / 20) for i, name in enumerate(TASKS)}
    results["mine"] = result("mine", 0.5, True, "natural")
    figure = vtab.picture(summary_of(results))
    tasks, means = figure.axes
    heights = {}
    for axes in (tasks, means):
        names = [label.get_text() for label in axes.get_xticklabels()]
        heights |= dict(zip(names, (bar.get_height() for bar in axes.patches), strict=True))
    assert heights["Caltech101"] == pytest.approx(5)
    assert heights["sNORB-Elev"] == pytest.approx(95)
    assert heights["mine (stand-in)"] == pytest.approx(50)
    assert heights["mean (19 of 19)"] == pytest.approx(50)
    assert heights["natural (7 of 7)"] == pytest.approx(20)
    hatched = [bar.get_hatch() is not None for bar in tasks.patches]
    assert hatched.index(True) == 7
    assert sum(hatched) == 1
    colours = {bar.get_facecolor() for bar in tasks.patches}
    assert len(colours) == 3
    plots.save(figure, tmp_path / "vtab.png")
    assert (tmp_path / "vtab.png").stat().st_size > 10_000


def test_the_tool_lists(tmp_path, tool):
    code, out, _ = tool("vtab", "--list", "--tasks", "dtd", "kitti", "--data-dir", tmp_path)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["dtd", "kitti"]
    assert runner.SETTINGS_FILE not in {path.name for path in tmp_path.iterdir()}
