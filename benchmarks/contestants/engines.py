"""A library's exported file in ONNX Runtime, OpenVINO or LiteRT, with all cores."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contestants import facts, images
from benchmarks.contestants.files import exported

Run = Callable[[], np.ndarray]

# Of OpenVINO; what is between products of int8 is as precise as it chooses by itself.
PRECISIONS: dict[str, dict[str, str]] = {
    "float32": {"INFERENCE_PRECISION_HINT": "f32"},
    "bfloat16": {"INFERENCE_PRECISION_HINT": "bf16"},
    "int8": {},
}


def build(
    model: str,
    size: int,
    batch: int,
    precision: str,
    training: bool,
    folder: str,
    library: str,
    engine: str,
    kind: str,
) -> Any:
    """`engine` is a key of `ENGINES`, `library` and `kind` are those of `files.exported`."""
    del training  # nothing trains here
    start = ENGINES[engine]
    task = {"model": model, "size": size, "batch": batch, "precision": precision}
    path = exported(Path(folder), library, kind, **task)
    run = start(path, images(batch, size), precision)
    return run, facts(run())


def _onnxruntime(path: Path, pixels: np.ndarray, precision: str) -> Run:
    if precision == "bfloat16":
        raise ValueError("ONNX Runtime has no bfloat16 on a CPU")
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(path)
    (image,), output = session.get_inputs(), session.get_outputs()[0]
    given = {image.name: _as_taken(pixels, image.shape)}
    return lambda: session.run([output.name], given)[0]


def _openvino(path: Path, pixels: np.ndarray, precision: str) -> Run:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it tells Intel
    import openvino

    model = openvino.Core().read_model(path)
    options: dict[str, Any] = dict(PRECISIONS[precision])
    features = [each for each in model.outputs if "features" in each.names]
    if precision == "int8" and features:  # of ours: a scale for as many channels as a token has
        options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = features[0].partial_shape[-1].get_length()
    # The features, a second output of ours, come before the last product: with them OpenVINO does
    # all sums on the way there in float32.
    of_graph: Any = openvino.Model
    model = of_graph([model.output(0)], model.get_parameters())
    request = openvino.compile_model(model, "CPU", options).create_infer_request()
    shape = model.inputs[0].partial_shape
    given = _as_taken(pixels, [d.get_length() if d.is_static else None for d in shape])
    return lambda: request.infer({0: given}, share_inputs=True)[0]


def _litert(path: Path, pixels: np.ndarray, precision: str) -> Run:
    if precision == "bfloat16":
        raise ValueError("LiteRT has no bfloat16 on a CPU")
    from ai_edge_litert.interpreter import Interpreter

    made = Interpreter(str(path), num_threads=os.cpu_count())
    run: Any = made.get_signature_runner(next(iter(made.get_signature_list())))
    (name,), (output,) = run.get_input_details(), run.get_output_details()
    return lambda: run(**{name: pixels})[output]


def _as_taken(pixels: np.ndarray, shape: Any) -> np.ndarray:
    """Channels first, where a file takes them so."""
    return pixels if shape[-1] == 3 else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


ENGINES: dict[str, Callable[[Path, np.ndarray, str], Run]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "litert": _litert,
}
