"""Runs TFLite files with LiteRT, and tells which operations XNNPACK takes."""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_vit.data.preprocessing import preprocess_input


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


def runner(
    path: str | os.PathLike[str], takes_pixels: bool = False, threads: int = 1
) -> Callable[[np.ndarray], np.ndarray]:
    """A function of pixels, uint8 `[B, rows, columns, channels]` for any B.

    Args:
        path: Of the file.
        takes_pixels: Whether a float32 input is in [0, 255].
        threads: For the interpreter.
    """
    made = interpreter(path, threads)
    batches = {
        int(made.get_signature_runner(key).get_input_details()["image"]["shape"][0]): key
        for key in made.get_signature_list()
    }
    signatures = {batch: made.get_signature_runner(key) for batch, key in batches.items()}
    dtype = next(iter(signatures.values())).get_input_details()["image"]["dtype"]

    def run(pixels: np.ndarray) -> np.ndarray:
        images = pixels.astype(dtype)
        if dtype == np.float32 and not takes_pixels:
            images = preprocess_input(images)
        results = []
        start = 0
        while start < len(images):
            left = len(images) - start
            batch = max((b for b in signatures if b <= left), default=min(signatures))
            part = images[start : start + batch]
            padded = np.concatenate([part, np.zeros((batch - len(part), *part.shape[1:]), dtype)])
            results.append(signatures[batch](image=padded)["output"][: len(part)])
            start += batch
        return np.concatenate(results)

    return run


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
