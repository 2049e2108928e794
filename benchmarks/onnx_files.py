"""Our ONNX file beside the one that tf2onnx makes of the same model, in onnxruntime.

    .venv/bin/python -m pip install -c constraints.txt tf2onnx
    .venv/bin/python benchmarks/onnx_files.py --model ViT_S16

Random weights, one thread, by turns; outputs are compared first. Prints medians and their ratio,
and exits with 1 if ours is slower.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import onnxruntime
import tensorflow as tf

import keras_vit
from keras_vit.cli.run_command import run_command


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="ViT_S16")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=30)
    args = parser.parse_args()
    try:
        import tf2onnx
    except ImportError as error:
        raise ImportError("This compares with tf2onnx: pip install tf2onnx") from error

    model = getattr(keras_vit, args.model)(weights=None)
    model.get_layer("head").kernel.assign(0.02 * np.random.default_rng(0).normal(
        size=model.get_layer("head").kernel.shape))  # fmt: skip
    image = np.random.default_rng(1).uniform(-1, 1, (args.batch, *model.input_shape[1:]))
    image = image.astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        ours = keras_vit.export(model, Path(folder, "ours.onnx"))
        spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, "image")
        function = tf.function(lambda image: model(image, training=False), input_signature=[spec])
        plain = Path(folder, "plain.onnx")
        tf2onnx.convert.from_function(
            function, input_signature=[spec], opset=18, output_path=str(plain)
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        sessions = {
            path.stem: onnxruntime.InferenceSession(path, options) for path in (ours, plain)
        }
    runs = {
        name: (lambda s=session: s.run(None, {s.get_inputs()[0].name: image})[0])
        for name, session in sessions.items()
    }
    first, second = (run() for run in runs.values())
    print(f"largest difference {np.abs(first - second).max() / np.ptp(second):.1e} of the range")
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = statistics.median(
        b / a for a, b in zip(times["ours"], times["plain"], strict=True)
    )  # of neighbours in time: the machine is noisy
    print(f"{args.model}, batch {args.batch}: ours {medians['ours']:.1f} ms, "
          f"tf2onnx {medians['plain']:.1f} ms, ratio {ratio:.2f}")  # fmt: skip
    return int(ratio < 1)


if __name__ == "__main__":
    sys.exit(run_command(main))
