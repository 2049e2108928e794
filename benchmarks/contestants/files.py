"""The files that each library exports, for engines that need no library.

The files of torch's models come from `torch.onnx.export`, which has a GELU and a layer norm as
single operators at `OPSET`. Its newer exporter (`dynamo=True`) needs the package onnxscript.

Ours for OpenVINO has an even number of tokens, as docs/deploy.md advises.

In int8 each library's own way is taken, or else the usual one:

  ours          `keras_vit.export(..., quantize="dynamic_int8")`
  timm          ONNX Runtime's `quantize_dynamic`, of the products alone: with the convolution of
                the patches, its default, it was slower
  transformers  ONNX Runtime's `quantize_dynamic`, as optimum calls it with the configuration
                `AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=False)`: all
                operators, symmetric int8 weights, uint8 inputs. optimum itself does not live beside
                transformers 5: it installs transformers 4.57
  keras-hub     `model.quantize("int8")` before Keras's export to OpenVINO; for LiteRT, where that
                export fails, the converter's `Optimize.DEFAULT`
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.contestants import CLASSES

OPSET = 20


def exported(folder: Path, library: str, kind: str, **task: Any) -> Path:
    """The file of a library; it is written once, by a process that then ends.

    So an engine is measured in a process that holds none of the libraries, which also leaves more
    memory to the others; this module imports them where they write.

    Args:
        folder: Where `contestants.weights` has put the weights.
        library: `"ours"`, `"timm"`, `"transformers"` or `"keras-hub"`.
        kind: What the path ends with: `"onnx"`, `"openvino.onnx"` (ours for OpenVINO), `"tflite"`,
            or `"xml"` (OpenVINO's own).
        **task: `model`, `size`, `batch` and `precision`.
    """
    precision = task.pop("precision")
    path = path_of(folder, library, kind, task["batch"], precision)
    if not path.exists():
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            pool.submit(write, path, library, int8=precision == "int8", **task).result()
    return path


def path_of(folder: Path, library: str, kind: str, batch: int, precision: str) -> Path:
    """Where that file is; OpenVINO computes in bfloat16 with the file of float32."""
    stored = "int8" if precision == "int8" else "float32"
    return folder / f"{library}-{stored}-{batch}.{kind}"


def write(path: Path, library: str, model: str, size: int, batch: int, int8: bool) -> None:
    """Writes the file of a library, of the kind that the path ends with."""
    WRITERS[library](path, model, size, batch, int8)


def _ours(path: Path, model: str, size: int, batch: int, int8: bool) -> None:
    import keras_vit
    from benchmarks.contestants.weights import OURS

    made = getattr(keras_vit, model)(
        weights=str(path.parent / OURS),
        input_shape=(size, size, 3),
        classes=CLASSES,
        classifier_activation=None,
    )
    options: dict[str, Any] = {"batch_sizes": (batch,)} if path.suffix == ".tflite" else {}
    if path.name.endswith("openvino.onnx"):
        options["pad_to_multiple_of"] = 2
    if int8:
        options["quantize"] = "dynamic_int8"
    keras_vit.export(made, path, **options)


def _of_torch(library: str) -> Callable[..., None]:
    def write(path: Path, model: str, size: int, batch: int, int8: bool) -> None:
        import torch

        from benchmarks.contestants.pytorch import classifier

        made = classifier(library, model, size, path.parent).eval()
        plain = path.with_name(f"{path.stem}-before.onnx") if int8 else path
        with warnings.catch_warnings():  # of the exporter: another is the default, and of traces
            warnings.simplefilter("ignore")
            torch.onnx.export(
                made,
                (torch.zeros(batch, 3, size, size),),
                str(plain),
                input_names=["image"],
                output_names=["output"],
                dynamic_axes={"image": {0: "batch"}, "output": {0: "batch"}},
                opset_version=OPSET,
                dynamo=False,
            )
        if int8:
            from onnxruntime.quantization import QuantType, quantize_dynamic

            only = ["MatMul", "Gemm"] if library == "timm" else None
            quantize_dynamic(plain, path, op_types_to_quantize=only, weight_type=QuantType.QInt8)

    return write


def _keras_hub(path: Path, model: str, size: int, batch: int, int8: bool) -> None:
    import keras
    import tensorflow as tf

    from benchmarks.contestants.kerashub import classifier

    made = classifier(path.parent, "float32")
    options: dict[str, Any] = {}
    if path.suffix == ".tflite":
        options["format"] = "litert"
        options["input_signature"] = [
            keras.InputSpec("float32", (batch, size, size, 3), name="images")
        ]
        if int8:
            options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    else:
        options["format"] = {".xml": "openvino", ".onnx": "onnx"}[path.suffix]
        if int8:
            made.quantize("int8")
    made(keras.ops.zeros((1, size, size, 3)))  # the export to ONNX asks for it
    made.export(str(path), verbose=False, **options)


WRITERS: dict[str, Callable[..., None]] = {
    "ours": _ours,
    "timm": _of_torch("timm"),
    "transformers": _of_torch("transformers"),
    "keras-hub": _keras_hub,
}
