"""`keras-vit`: the table of commands, help, versions, misspellings, exit codes, the scripts."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
import tomllib

import keras
import pytest
from support.paths import ROOT

import keras_vit
from keras_vit.cli.arguments import GROUPS, OPTIONS
from keras_vit.cli.main import COMMANDS, main
from keras_vit.cli.run_command import run_command
from keras_vit.utils.preemption import PreemptedError

SCRIPTS = sorted((ROOT / "tools").glob("*.py"))


@pytest.fixture
def call(capsys, monkeypatch):
    """`call("predict", ...)`: exit code, output, errors of a command in this process."""
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/keras-vit"])

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:  # argparse after --help
            code = end.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def help_of(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def help_of_command(name: str) -> str:
        code, out, err = call(name, "--help")
        assert (code, err) == (0, "")
        return out

    return help_of_command


# --- help -----------------------------------------------------------------------------------


def test_the_commands_are_listed(call):
    code, out, err = call("--help")
    assert (code, err) == (0, "")
    assert call()[1] == out
    for name, what in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(what)}$", out, re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command(help_of, name):
    text = help_of(name)
    assert text.startswith(f"usage: keras-vit {name} ")
    module = importlib.import_module(f"keras_vit.cli.commands.{name.replace('-', '_')}")
    assert (module.__doc__ or "").splitlines()[0] == COMMANDS[name]
    assert f"\n{COMMANDS[name]}\n" in text and f"\nkeras-vit {name}" in text
    # Groups always come in the same order, and an option says what it is.
    titles = re.findall(r"^(\w+):$", text, re.MULTILINE)
    assert [title for title in titles if title in GROUPS] == [g for g in GROUPS if g in titles]
    assert not re.search(r"^  --[a-z0-9-]+( \S+)*$\n(?!   )", text, re.MULTILINE), text
    examples = ("curl", "keras-vit")
    assert max(len(line) for line in text.splitlines() if not line.startswith(examples)) <= 80


def test_an_option_is_the_same_everywhere(help_of):
    """Its metavar, its group and the beginning of its help."""
    metavars: dict[str, set[str]] = {}
    groups: dict[str, set[str]] = {}
    for name in COMMANDS:
        for part in re.split(r"\n\n", help_of(name).partition("options:")[2]):
            for flag, metavar in re.findall(r"^  (--[a-z0-9-]+) ?(\[?[A-Z]\w*)?", part, re.M):
                metavars.setdefault(flag, set()).add(metavar)
                groups.setdefault(flag, set()).add(part.strip().partition(":")[0])
    several = {flag for flag in OPTIONS if flag in metavars}
    assert several == set(OPTIONS)
    assert [flag for flag in metavars if len(metavars[flag]) > 1] == []
    assert [flag for flag in groups if len(groups[flag]) > 1] == []


@pytest.mark.parametrize("name", ["finetune", "train"])
def test_what_builds_a_model_says_that_it_takes_a_name(help_of, call, name, tmp_path):
    """A run folder was refused there, and the help offered it."""
    found = re.search(r"--model MODEL.*?\n  --weights", help_of(name), re.S)
    assert found and "run folder" not in found[0] and ".keras" not in found[0]
    code, _, err = call(name, "--model", str(tmp_path), "--dry-run")
    assert code == 2
    assert "`model` must be one of" in err


def test_a_script_shows_its_own_name(tool, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = tool("predict", "--help")
    assert code == 0
    assert out.startswith(f"usage: python {ROOT / 'tools' / 'predict.py'} ")


# --- versions, exit codes -------------------------------------------------------------------


def test_versions(call):
    code, out, err = call("--version")
    assert (code, err) == (0, "")
    assert out == (
        f"keras_vit {keras_vit.__version__}, Keras {keras.__version__}, TensorFlow "
        f"{importlib.metadata.version('tensorflow')}, backend {keras.backend.backend()}\n"
    )


@pytest.mark.parametrize(
    ("error", "code", "printed"),
    [
        (None, 0, ""),
        (ValueError("no such model"), 2, "error: no such model\n"),
        (FileNotFoundError("no such file"), 2, "error: no such file\n"),
        (ImportError("not installed"), 2, "error: not installed\n"),
        (PreemptedError("asked to end"), 75, "asked to end\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_exit_codes(error, code, printed, capsys):
    def body() -> int:
        if error is not None:
            raise error
        return 0

    assert run_command(body) == code
    assert capsys.readouterr() == ("", printed)


def test_a_mistake_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 // 0)


# --- misspellings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pedict", "a.jpg"), "`command` must be one of predict, .* Did you mean predict?"),
        (("few_shot",), "Did you mean few-shot?"),
        (("--verson",), "Did you mean --version?"),
        (("predict", "a.jpg", "--modle", "ViT_B16"), "no option --modle. Did you mean --model?"),
        (("predict", "a.jpg", "--model", "ViT_B61"), "Did you mean ViT_B16? Received: 'ViT_B61'"),
        (("predict", "a.jpg", "--weights", "imagenet12k"), "Did you mean imagenet21k?"),
        (("plan", "ViT_B61"), "Did you mean ViT_B16? Received: model='ViT_B61'"),
        (("plan", "ViT_B16", "--dataset", "imagenet12k"), "Did you mean imagenet21k?"),
        (("plan", "ViT_B16", "--devices", "8xA100-8"), "Did you mean A100-80"),
        (("export", "ViT_B16", "--format", "tflight"), "Did you mean tflite?"),
        (("convert", "a.npz", "b.safetensors", "--format", "tim"), "Did you mean timm?"),
        (("evaluate", "digits", "--strategy", "miror"), "Did you mean mirrored?"),
        (("finetune", "--xla", "of"), "Did you mean off"),
    ],
)
def test_the_nearest_names_are_said(call, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert re.match(r"error: .*" + re.escape(message).replace(r"\.\*", ".*"), err), err
    assert len(err.splitlines()) == 1


def test_nothing_is_proposed_where_nothing_is_near(call):
    _, _, err = call("xyz")
    assert "Received: command='xyz'" in err and "Did you mean" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("predict",), "the following arguments are required: PHOTO"),
        (("predict", "a.jpg", "--top", "many"), "argument --top: invalid int value: 'many'"),
        (("visualize", "ViT_B16", "--photo"), "argument --photos: expected one argument"),
        (("predict", "a.jpg", "-x"), "unrecognized arguments: -x"),
    ],
)
def test_wrong_arguments_are_one_line(call, arguments, message):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err == f"error: {message}. keras-vit {arguments[0]} --help shows what is expected.\n"


# --- the scripts and the installed command --------------------------------------------------


def test_there_is_a_script_for_each_command():
    names = {path.stem.replace("_", "-") for path in SCRIPTS}
    assert names == set(COMMANDS) - {"serve"}  # which is examples/serve.py


@pytest.mark.parametrize("path", [*SCRIPTS, ROOT / "examples" / "serve.py"], ids=lambda p: p.stem)
def test_a_script_is_three_lines(path):
    _, *lines = ast.parse(path.read_text("utf-8")).body
    name = path.stem.replace("_", "-")
    assert [ast.unparse(line) for line in lines] == [
        "import sys",
        "from keras_vit.cli.main import main",
        f"sys.exit(main(['{name}', *sys.argv[1:]]))",
    ]


def test_the_wheel_brings_the_command():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    module, function = project["scripts"]["keras-vit"].split(":")
    assert getattr(importlib.import_module(module), function) is main
    assert any(name.startswith("rich") for name in project["dependencies"])


def test_commands_are_imported_when_they_are_called():
    script = (
        "import sys, json\n"
        "from keras_vit.cli.main import main\n"
        "main(['--help'])\n"
        "print(json.dumps([name for name in sys.modules if 'cli.commands' in name]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        # Keras's backend of NumPy is the fastest to import.
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "numpy"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []
