"""The exported SavedModel in what loads it: Python without Keras, `saved_model_cli`, C, XLA."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from support.small_exports import (  # noqa: F401
    NAMES,
    encode,
    expected_scores,
    exported_fixture,
    model_fixture,
    picture,
    session_fixture,
    small_vit,
)

from keras_vit.exports.saved_model.export import export_saved_model
from keras_vit.exports.saved_model.session import SessionModel


def run_python(*arguments, **options):
    result = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, **options
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_needs_neither_keras_nor_this_package(model, exported, tmp_path):
    script = tmp_path / "load.py"
    script.write_text(
        "import sys\n"
        "sys.modules['keras'] = sys.modules['keras_vit'] = None\n"
        "import tensorflow as tf\n"
        "f = tf.saved_model.load(sys.argv[1]).signatures['serving_default']\n"
        "scores = f(image_bytes=tf.constant([open(sys.argv[2], 'rb').read()]))['scores']\n"
        "print(*scores.numpy()[0])\n"
    )
    file = encode(picture(), "png")
    (tmp_path / "a.png").write_bytes(file)
    output = run_python(script, exported, tmp_path / "a.png", cwd=tmp_path)
    scores = [float(x) for x in output.split()]
    np.testing.assert_allclose(scores, -np.sort(-expected_scores(model, file)), atol=1e-5)


def test_saved_model_cli(model, exported, tmp_path):
    cli = Path(sys.executable).with_name("saved_model_cli")
    if not cli.exists():
        pytest.skip("needs saved_model_cli, which comes with the TensorFlow wheel")
    files = [encode(picture(), "jpeg"), encode(picture("L"), "jpeg")]
    np.save(tmp_path / "files.npy", np.array(files))  # a JPEG does not end in zeros
    command = [cli, "run", "--dir", exported, "--tag_set", "serve"]
    command += ["--signature_def", "serving_default", "--outdir", tmp_path]
    command += ["--inputs", f"image_bytes={tmp_path / 'files.npy'}"]
    run_python(*command)
    scores = np.load(tmp_path / "scores.npy")
    for row, file in enumerate(files):
        np.testing.assert_allclose(scores[row], -np.sort(-expected_scores(model, file)), atol=0.01)


@pytest.fixture(scope="module")
def c_program(tmp_path_factory):
    """The program in C that loads a SavedModel, linked to the library in TensorFlow's wheel."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs gcc, to compile a program that uses TensorFlow's C API")
    library = Path(tf.sysconfig.get_lib())
    names = [path.name for path in library.glob("libtensorflow_*.so.2")]
    if "libtensorflow_cc.so.2" not in names:
        pytest.skip("needs a TensorFlow wheel with libtensorflow_cc.so.2, as those for Linux are")
    program = tmp_path_factory.mktemp("c") / "load_model"
    source = Path(__file__).with_name("load_model.c")
    command = [compiler, source, "-o", program, f"-I{tf.sysconfig.get_include()}"]
    command += [f"-L{library}", *(f"-l:{name}" for name in names), f"-Wl,-rpath,{library}"]
    subprocess.run(command, check=True, capture_output=True)
    return program


def run_c(program, folder, files, tmp_path):
    """Scores of image files by the program in C."""
    with SessionModel(folder) as session:
        signature = session.signatures["serving_default"]
    operation, index = signature.outputs["scores"].name.split(":")
    paths = [tmp_path / f"{i}.image" for i in range(len(files))]
    for path, file in zip(paths, files, strict=True):
        path.write_bytes(file)
    command = [program, folder, signature.inputs["image_bytes"].name.split(":")[0]]
    result = subprocess.run([*command, operation, index, *paths], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    return np.array([[float(x) for x in line.split()] for line in result.stdout.splitlines()])


def test_c_api(exported, session, c_program, tmp_path):
    files = [encode(picture(), "jpeg"), b"no image", encode(picture(), "png")]
    found = run_c(c_program, exported, files, tmp_path)
    expected = session.run({"image_bytes": files})["scores"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_xla_inside(model, session, c_program, tmp_path):
    path = export_saved_model(model, tmp_path / "1", class_names=NAMES, xla=True)
    files = [encode(picture(), "jpeg"), b"no image"]
    expected = session.run({"image_bytes": files})["scores"]
    found = run_c(c_program, path, files, tmp_path)
    np.testing.assert_allclose(found, expected, atol=1e-5)
