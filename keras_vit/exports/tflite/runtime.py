"""Runs TFLite files with LiteRT, and tells which operations XNNPACK takes."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import zipfile
from collections import Counter
from typing import Any

import numpy as np

from keras_vit.exports.runner import Runner
from keras_vit.models.input_range import CENTRED, PIXELS, InputRange

# What a file says of itself, in the archive at its end.
FACTS = "input.json"


def litert(module: str) -> Any:
    """A module of ai-edge-litert.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        return importlib.import_module(f"ai_edge_litert.{module}")
    except ImportError as error:
        raise ImportError(
            'TFLite needs the package ai-edge-litert: pip install "keras-vit-applications[tflite]"'
        ) from error


def interpreter(path: str | os.PathLike[str], threads: int = 1) -> Any:
    """An interpreter with its tensors allocated, that runs on the CPU."""
    made = litert("interpreter").Interpreter(model_path=str(path), num_threads=threads)
    made.allocate_tensors()
    return made


def runner(path: str | os.PathLike[str], threads: int = 1) -> Runner:
    """A function of pixels, uint8 `[B, rows, columns, channels]` for any B, to outputs by name.

    Args:
        path: Of the file. It says itself what its input is.
        threads: For the interpreter.
    """
    made = interpreter(path, threads)
    batches = {
        int(made.get_signature_runner(key).get_input_details()["image"]["shape"][0]): key
        for key in made.get_signature_list()
    }
    signatures = {batch: made.get_signature_runner(key) for batch, key in batches.items()}
    dtype = next(iter(signatures.values())).get_input_details()["image"]["dtype"]

    taken = _input_range(path)

    def run(pixels: np.ndarray) -> dict[str, np.ndarray]:
        images = pixels.astype(dtype)
        if dtype == np.float32:
            images = taken.of_pixels(images)
        results: list[dict[str, np.ndarray]] = []
        start = 0
        while start < len(images):
            left = len(images) - start
            batch = max((b for b in signatures if b <= left), default=min(signatures))
            part = images[start : start + batch]
            padded = np.concatenate([part, np.zeros((batch - len(part), *part.shape[1:]), dtype)])
            made = signatures[batch](image=padded)
            results.append({name: values[: len(part)] for name, values in made.items()})
            start += batch
        return {name: np.concatenate([each[name] for each in results]) for name in results[0]}

    return Runner(run, PIXELS if dtype == np.uint8 else taken, np.dtype(dtype).name)


def _input_range(path: str | os.PathLike[str]) -> InputRange:
    """[-1, 1] where a file says nothing: so were those before it was written."""
    try:
        with zipfile.ZipFile(path) as archive:
            return InputRange(*json.loads(archive.read(FACTS))["input_range"])
    except (zipfile.BadZipFile, KeyError):
        return CENTRED


@dataclasses.dataclass(frozen=True)
class Delegation:
    """What runs a file.

    Attributes:
        operators: Number of each operation in the file's first signature.
        partitions: Into how many parts XNNPACK has cut it; 1 is best.
        undelegated: The operations that it has left to the slower interpreter.
    """

    operators: Counter[str]
    partitions: int
    undelegated: tuple[str, ...]


def delegation(path: str | os.PathLike[str]) -> Delegation:
    """Asks the interpreter which operations are XNNPACK's."""
    made = interpreter(path)
    # Not public, but there is no other way to ask.
    nodes = made._get_ops_details()
    parts = [node for node in nodes if node["op_name"] == "DELEGATE"]
    producers: dict[int, dict[str, Any]] = {}
    for node in (*parts, *(node for node in nodes if node["op_name"] != "DELEGATE")):
        for tensor in node["outputs"]:
            producers.setdefault(int(tensor), node)
    # The nodes of a partition stay in the list: those that run are those that lead to the output.
    left = {}
    wanted = [int(detail["index"]) for detail in made.get_output_details()]
    seen = set(wanted)
    while wanted:
        node = producers.get(wanted.pop())
        if node is None:
            continue
        if node["op_name"] != "DELEGATE":
            left[node["index"]] = node["op_name"]
        for tensor in map(int, node["inputs"]):
            if tensor not in seen:
                seen.add(tensor)
                wanted.append(tensor)
    operators = Counter(node["op_name"] for node in nodes if node["op_name"] != "DELEGATE")
    return Delegation(operators, len(parts), tuple(left.values()))
