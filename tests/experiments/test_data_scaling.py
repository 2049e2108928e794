"""Accuracy against data and compute: which trainings are made, and that none is made twice."""

import dataclasses
import json

import numpy as np
import pytest
from support.interruptions import NOT_TRAINED

from keras_vit import planner
from keras_vit.experiments import data_scaling
from keras_vit.experiments.data_scaling import (
    Experiment,
    Row,
    chosen_rows,
    nested_order,
    read_table,
)
from keras_vit.models import BiTConfig, ViTConfig

EXPERIMENT = Experiment(
    families={"ViT": ViTConfig(4, 32, 1, 2, 32), "BiT": BiTConfig((1,), 0.5)},
    counts=(4, 8),
    teraflops=(1e-5, 2e-5),
    learning_rates=(0.01, 0.001),
    image_size=8,
    batch_size=4,
)
RNG = np.random.default_rng(0)
LABELS = np.arange(8) % 2
PIXELS = RNG.integers(0, 100, (8, 8, 8, 3)) + 100 * LABELS[:, None, None, None]
ARRAYS = PIXELS.astype("uint8"), LABELS
NAMES = ("dark", "bright")


def run(folder, experiment=EXPERIMENT, report=print):
    return data_scaling.run(experiment, ARRAYS, ARRAYS, NAMES, folder, verbose=0, report=report)


def not_trained(*arguments, checkpoints, **options):
    checkpoints.folder.mkdir(parents=True)
    return NOT_TRAINED


def test_a_table_that_is_ended_is_gone_on_with(tmp_path, monkeypatch):
    reports = []
    first = dataclasses.replace(EXPERIMENT, teraflops=(1e-5,))
    rows = run(tmp_path, first, reports.append)
    # Two rates for each family on the larger subset, then the smaller one with the better rate.
    assert [(row.family, row.images) for row in rows] == [
        ("ViT", 8), ("ViT", 8), ("BiT", 8), ("BiT", 8), ("ViT", 4), ("BiT", 4)
    ]  # fmt: skip
    assert len([line for line in reports if line.startswith("[")]) == 6
    for family in EXPERIMENT.families:
        tried = {r.learning_rate: r.accuracy for r in rows if r.family == family and r.images == 8}
        [small] = [r for r in rows if r.family == family and r.images == 4]
        assert tried[small.learning_rate] == max(tried.values())
    assert (tmp_path / "data_scaling.png").stat().st_size > 10_000

    # How they are trained was seen; here it matters which ones are.
    monkeypatch.setattr(data_scaling, "fine_tune", not_trained)
    reports.clear()
    again = run(tmp_path, report=reports.append)
    lines = [line for line in reports if line.startswith("[")]
    assert [line.split("]")[0] for line in lines] == ["[7/10", "[8/10", "[9/10", "[10/10"]
    assert [row.cell for row in again[:6]] == [row.cell for row in rows]
    assert [row.accuracy for row in again[:6]] == pytest.approx([row.accuracy for row in rows])
    assert {row.seconds for row in again[6:]} == {NOT_TRAINED.seconds}
    read = read_table(tmp_path / "data_scaling.csv")
    assert [row.cell for row in read] == [row.cell for row in again]
    assert [row.exaflops for row in read] == pytest.approx([row.exaflops for row in again])
    assert not any((tmp_path / "unfinished").iterdir())


def test_compute_is_the_same_for_both():
    for family, config in EXPERIMENT.families.items():
        each = 6 * (planner.forward_macs(config, 8, 2) - padding(config))
        assert EXPERIMENT.flops(family, 2) == each
        # 1e9 operations are many steps: what is lost in rounding them to tens is little.
        steps = EXPERIMENT.steps(family, 1e-3, 2)
        assert steps % 10 == 0
        assert steps * 4 * each == pytest.approx(1e9, abs=5 * 4 * each)


def padding(config):
    return sum(part.count * part.padding_macs for part in planner.parts(config, 8, 2))


def test_subsets_are_nested_and_balanced():
    labels = np.array([0, 0, 0, 1, 1, 2])
    order = nested_order(labels)
    assert order.tolist() == [0, 3, 5, 1, 4, 2]  # by hand: first of each, second of each, ...
    assert sorted(order) == list(range(6))


def test_the_best_rate_counts():
    rows = [
        Row("ViT", 8, 1.0, rate, 10, 1e-6, 1.0, 1.0, a, 1.0) for rate, a in [(1, 0.5), (2, 0.7)]
    ]
    assert chosen_rows(rows) == rows[1:]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"counts": ()}, "counts"),
        ({"counts": (0, 3)}, "counts"),
        ({"teraflops": (-1.0,)}, "teraflops"),
        ({"learning_rates": ()}, "learning_rates"),
        ({"families": {}}, "families"),
    ],
)
def test_impossible_experiments(change, words):
    with pytest.raises(ValueError, match=f"`?{words}.*Received"):
        dataclasses.replace(EXPERIMENT, **change)


def test_more_images_than_there_are(tmp_path):
    with pytest.raises(ValueError, match=r"8 training images. Received: counts=\(4, 9\)"):
        run(tmp_path, dataclasses.replace(EXPERIMENT, counts=(4, 9)))
    assert not any(tmp_path.iterdir())


def test_another_experiment_is_not_mixed_in(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps(EXPERIMENT.as_json()), "utf-8")
    with pytest.raises(ValueError, match="other settings"):
        run(tmp_path, dataclasses.replace(EXPERIMENT, batch_size=8))
    (tmp_path / "settings.json").unlink()
    (tmp_path / "data_scaling.csv").write_text("a,b\n1,2\n", "utf-8")
    with pytest.raises(ValueError, match=r"settings\.json"):
        run(tmp_path)
    with pytest.raises(ValueError, match="columns family, images"):
        read_table(tmp_path / "data_scaling.csv")
