"""The way of a training run from the command's arguments to the first step."""

from __future__ import annotations

from support.hand_overs import Trace
from support.paths import ROOT

# Imported before the trace: what a module calls when it is imported is no part of a run.
import keras_vit.applications.constructors  # noqa: F401
from keras_vit.cli.main import main

MOST = 20


def test_few_calls_only_pass_something_on(tmp_path):
    """From one module to another; prints them with `pytest -s`."""
    trace = Trace(ROOT / "keras_vit", ("__init__", "layers", "models", "utils"), "OneDevice.train")
    trace.run(lambda: main(["finetune", "--data", "digits", "--out", str(tmp_path / "digits")]))
    print(
        f"{len(trace.calls)} calls between modules, hand-overs among them:",
        *trace.hand_overs,
        sep="\n",
    )
    assert "runs/training_run._run -> training/fine_tuning.fine_tune" in trace.calls
    assert "training/fine_tuning.fine_tune -> training/engine.compiled" in trace.hand_overs
    assert len(trace.hand_overs) <= MOST
