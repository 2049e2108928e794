"""What a type checker and an editor tell the users of the installed package."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys

import pytest
from support.language_server import ask

import keras_vit

RIGHT = """
import keras_vit

model = keras_vit.ViT_B16(weights=None, classes=3, input_shape=(64, 96, 3))
reveal_type(model)
keras_vit.BiT_R50x1(False, None, pooling="avg")
keras_vit.Mixer_B16(weights=None, stochastic_depth_rate=0.1, dtype="mixed_bfloat16")
data = keras_vit.data.from_folder("photos", image_size=(64, 96))
result = keras_vit.training.fine_tune(model, data)
model.fit(keras_vit.preprocess_input([[[[0.0, 127.0, 255.0]]]]), epochs=1)
keras_vit.exports.export(model, "model.onnx", overwrite=True)
print(keras_vit.analysis.page, keras_vit.plots.charts, keras_vit.runs.dry_run)
print(keras_vit.optimizers.AdamW, keras_vit.schedules.WarmupCosine, keras_vit.layers.PatchEmbed)
keras_vit.predict.load_classifier("ViT_B16")
version: str = keras_vit.__version__
"""

WRONG = """
import keras_vit

keras_vit.ViT_B16(weigths="imagenet")  # wrong: misspelt
keras_vit.ViT_B16(weights=21)  # wrong: neither a name nor a path
keras_vit.BiT_R50x1(gelu="tanh")  # wrong: of another family
keras_vit.Mixer_B16(input_shape=(None, None, 3))  # wrong: a Mixer has one size
keras_vit.ViT_B61()  # wrong: no such constructor
keras_vit.data.from_folders("photos")  # wrong: no such function
print(keras_vit.utils.files)  # wrong: not public
"""


@pytest.fixture(scope="module")
def reported(installed, tmp_path_factory):
    """File name -> line -> what pyright says about it, to a user of the wheel."""
    folder = tmp_path_factory.mktemp("user")
    for name, text in {"right.py": RIGHT, "wrong.py": WRONG}.items():
        (folder / name).write_text(text)
    result = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(installed)},
    )
    report = json.loads(result.stdout)
    assert report["summary"]["filesAnalyzed"] == 2
    lines: dict[str, dict[int, str]] = {"right.py": {}, "wrong.py": {}}
    for found in report["generalDiagnostics"]:
        line = found["range"]["start"]["line"] + 1
        lines[os.path.basename(found["file"])][line] = found["message"]
    return lines


def test_a_right_script_has_no_errors_and_builds_a_keras_model(reported):
    assert reported["right.py"] == {5: 'Type of "model" is "Model"'}


def test_every_wrong_line_is_reported(reported):
    wrong = {n for n, line in enumerate(WRONG.splitlines(), 1) if "# wrong" in line}
    assert set(reported["wrong.py"]) == wrong


NAMES = ("ViT_B16", "BiT_R50x1", "Mixer_B16")


@pytest.fixture(scope="module")
def shown(installed, tmp_path_factory):
    """Name -> what an editor shows over it, and behind its opened bracket."""
    file = tmp_path_factory.mktemp("editor") / "user.py"
    calls = [f"model = keras_vit.{name}(" for name in NAMES]
    # A line between them, that an open bracket does not take in the next call.
    file.write_text("import keras_vit\n\n" + "\n\n".join(calls) + "\n")
    requests = []
    for number, (name, call) in enumerate(zip(NAMES, calls, strict=True)):
        line = 2 + 2 * number
        requests += [("hover", line, call.index(name)), ("signatureHelp", line, len(call))]
    answers = ask(file, {"PYTHONPATH": str(installed)}, *requests)
    return dict(zip(NAMES, zip(answers[::2], answers[1::2], strict=True), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_an_editor_shows_parameters_and_documentation(name, shown):
    hover, help_ = shown[name]
    parameters = list(inspect.signature(getattr(keras_vit, name)).parameters)
    (signature,) = help_["signatures"]
    labels = [parameter["label"].split(":")[0] for parameter in signature["parameters"]]
    assert [label for label in labels if label != "*"] == parameters
    text = hover["contents"]["value"].replace("\\_", "_")  # Markdown
    for parameter in parameters:
        # First with its type and its default, then with what it means.
        assert re.search(rf"    {parameter}: .+ = .+?,?\n", text), parameter
        assert re.search(rf"{parameter}: [A-Z`\"(]\S* \S+", text.split("Args:")[1]), parameter
