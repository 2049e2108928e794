"""What a person gets who deploys: the best of ours beside the best of each other library.

    .venv/bin/python -m benchmarks.speed.deploy --model ViT_S16 --batch 1 --quick
    .venv/bin/python -m benchmarks.speed.deploy --models ViT_S16 ViT_B16 --json out.json

In each library, and from the files that it exports in ONNX Runtime, OpenVINO and LiteRT, with the
same weights and all cores, by turns; `make bench-peers` installs them. `contestants/files.py` says
how each file is made. In float32, bfloat16 (OpenVINO by its precision hint; ONNX Runtime and LiteRT
have none on a CPU) and int8 (the weights, and the inputs of products by scales that are found while
the model runs). Logits are compared with those of our float32 model first: who computes something
else is named and left out, and so is who cannot run. Prints medians, ratios, and for each library
how many times as fast as its best our best is; exits with 1 if a goal is missed. A ViT-B/16 needs
20 GB of memory, as all wait for their turns.
"""

from __future__ import annotations

from benchmarks.common.command import start
from benchmarks.common.comparison import compare
from benchmarks.common.side_by_side import Contestant, Goal
from benchmarks.speed.inference import ALL, LIBRARIES

# Library, engine, kind of the file, precisions.
FILES = (
    ("ours", "OpenVINO", "openvino.onnx", ALL),
    ("ours", "OpenVINO, not padded", "onnx", ALL),
    ("ours", "ONNX Runtime", "onnx", ("float32", "int8")),
    ("ours", "LiteRT", "tflite", ("float32", "int8")),
    ("timm", "OpenVINO", "onnx", ALL),
    ("timm", "ONNX Runtime", "onnx", ("float32", "int8")),
    ("keras-hub", "OpenVINO", "xml", ALL),
    ("keras-hub", "ONNX Runtime", "onnx", ("float32",)),
    ("keras-hub", "LiteRT", "tflite", ("float32", "int8")),
    ("transformers", "OpenVINO", "onnx", ALL),
    ("transformers", "ONNX Runtime", "onnx", ("float32", "int8")),
)


def _key(engine: str) -> str:
    return engine.split(",")[0].replace(" ", "").lower()


# Files first: some libraries need much memory to export, and those of `LIBRARIES` keep theirs.
CONTESTANTS = (
    *(
        Contestant(
            f"{library}, {engine}",
            "engines",
            {"library": library, "engine": _key(engine), "kind": kind},
            precisions=precisions,
        )
        for library, engine, kind, precisions in FILES
    ),
    *LIBRARIES,
)
QUICK = ("ours, graph", "ours, OpenVINO", "ours, LiteRT", "timm, OpenVINO", "timm, ONNX Runtime")
LEAST = {"float32": 1.1, "bfloat16": 1.1, "int8": 1.5}


def goals(model: str, batch: int, precision: str) -> list[Goal]:
    """What is aimed at of each library, in times as fast."""
    del model, batch  # in every cell the same
    by_library: dict[str, tuple[str, ...]] = {}
    for each in CONTESTANTS:
        library = each.name.split(",")[0]
        by_library[library] = (*by_library.get(library, ()), each.name)
    ours = by_library.pop("ours")
    return [Goal(ours, theirs, LEAST[precision]) for theirs in by_library.values()]


if __name__ == "__main__":
    start(
        lambda: compare(
            __doc__,
            CONTESTANTS,
            QUICK,
            goals,
            models=("ViT_S16", "ViT_B16"),
            batches=(1, 8),
            precisions=ALL,
        )
    )
