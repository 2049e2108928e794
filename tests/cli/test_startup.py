"""What TensorFlow says when it starts stays out of the terminal; its warnings do not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from support.paths import ROOT

from keras_vit.utils.startup import LEVEL, NO_WARNINGS, is_command

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow" or not hasattr(os, "fork"), reason="TensorFlow's lines"
)
# A command that warns, from Python and from compiled code, and then looks at a damaged image.
WARNS = """
import sys
sys.argv[0] = "keras-vit"
import keras_vit
import tensorflow as tf
from absl import logging
tf.get_logger().warning("a warning of Python's")
logging.warning("Importing a function (%s) with ops with unsaved custom gradients. Will", "f")
logging.warning("a warning of Abseil's")
numbers = tf.data.Dataset.range(10).cache().take(2)  # compiled code warns: not cached whole
print(list(numbers.as_numpy_iterator()))
try:
    tf.io.decode_jpeg(b"\\xff\\xd8\\xff")
except tf.errors.InvalidArgumentError:
    print("damaged")
sys.stderr.write("to the end")
"""


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    inherited = {name: value for name, value in os.environ.items() if name != LEVEL}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**inherited, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
    )


def test_a_command_is_quiet():
    """In a process of its own: the exit code, and nothing but the message."""
    done = run("-m", "keras_vit", "plan", "ViT_B61")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: .*Did you mean ViT_B16\?.*\n", done.stderr), done.stderr


def test_warnings_arrive():
    done = run("-c", WARNS)
    assert done.returncode == 0
    assert "damaged" in done.stdout
    assert "a warning of Python's" in done.stderr
    assert "a warning of Abseil's" in done.stderr
    assert "did not fully read the dataset being cached" in done.stderr
    assert "to the end" in done.stderr
    for line in ("oneDNN", "InitializeLog", "cuInit", "CUDA", "rendezvous", "JPEG library"):
        assert line not in done.stderr
    assert "unsaved custom gradients" not in done.stderr


def test_a_user_decides_what_is_shown():
    shown = run("-m", "keras_vit", "--version", **{LEVEL: "0"}).stderr
    assert "oneDNN custom operations are on" in shown


def test_the_program_of_a_user_is_left_alone(tmp_path):
    script = tmp_path / "mine.py"
    warning = "ops with unsaved custom gradients"
    script.write_text(f"import keras_vit; from absl import logging; logging.warning({warning!r})")
    done = run(script)
    shown = done.stderr
    assert done.returncode == 0
    assert "oneDNN custom operations are on" in shown
    assert warning in shown


@pytest.mark.parametrize(
    ("program", "command_line", "expected"),
    [
        ("/usr/local/bin/keras-vit", ["python", "/usr/local/bin/keras-vit"], True),
        (r"keras-vit.exe", ["python", "keras-vit.exe"], True),
        (str(ROOT / "tools" / "plan.py"), ["python", "tools/plan.py"], True),
        (str(ROOT / "examples" / "serve.py"), ["python", "examples/serve.py"], True),
        ("-m", ["python", "-X", "dev", "-m", "keras_vit", "plan"], True),
        ("-m", ["python", "-m", "mine", "-m", "x"], False),
        ("-c", ["python", "-c", "import keras_vit"], False),
        ("", ["python"], False),
        (str(ROOT / "examples" / "fit_folder.py"), ["python", "fit_folder.py"], False),
        (str(Path.home() / "tools" / "plan.py"), ["python", "tools/plan.py"], False),
    ],
)
def test_which_process_is_a_command(program, command_line, expected):
    assert is_command(program, command_line) is expected


@pytest.mark.parametrize(
    ("line", "dropped"),
    [
        (b"I0000 00:00:1795998063.630880   18067 port.cc:153] oneDNN custom operations", True),
        (b"2026-11-30 00:20:57.123456: I tensorflow/core/util/port.cc:153] oneDNN", True),
        (b"2026-11-30 00:20:57.123456: W tensorflow/core/util/port.cc:153] oneDNN", False),
        (b"W0000 00:00:1795998063.647200   18072 cache_dataset_ops.cc:912] The calling", False),
        (b"E0000 00:00:1795998063.572602   17981 cuda_platform.cc:52] failed call to cuInit: "
         b"INTERNAL: CUDA error: Failed call to cuInit: UNKNOWN ERROR (303)", True),
        (b"E0000 00:00:1795998063.572602   17981 cuda_platform.cc:52] failed call to cuInit: "
         b"INTERNAL: CUDA error: Failed call to cuInit: UNKNOWN ERROR (804)", False),
        (b"E0000 00:00:1795998063.572602   17981 util.cc:131] oneDNN supports DT_UINT8 only on "
         b"platforms with AVX-512. Falling back to the default Eigen-based implementation", True),
        (b"E0000 00:00:1795998063.572602   17981 util.cc:131] oneDNN gave it up", False),
        (b"E0000 00:00:1795998063.572602   17981 meta_optimizer.cc:967] remapper failed: "
         b"INVALID_ARGUMENT: Mutation::Apply error: fanout 'a' exist for missing node 'b'.", True),
        (b"E0000 00:00:1795998063.572602   17981 meta_optimizer.cc:967] layout failed: ", False),
        (b"WARNING:tensorflow:I0000 is a name", False),
    ],
)  # fmt: skip
def test_what_is_no_warning(line, dropped):
    assert bool(NO_WARNINGS.match(line)) is dropped
