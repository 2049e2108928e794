"""Our ONNX file beside the one that tf2onnx makes of the same model, in onnxruntime.

    .venv/bin/python -m pip install -c constraints.txt tf2onnx
    .venv/bin/python -m benchmarks.speed.onnx_files --model ViT_S16

Random weights, one thread, by turns; outputs are compared first. Prints medians and their ratio,
and exits with 1 if ours is slower.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import tensorflow as tf

import keras_vit
from benchmarks.common.command import options, start
from benchmarks.common.turns import by_turns, ratio


def main() -> int:
    parser = options(__doc__, results=False)
    parser.add_argument("--model", default="ViT_S16")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=30)
    args = parser.parse_args()
    try:
        import tf2onnx  # pyright: ignore[reportMissingImports]  # see above: not a peer
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
        one_thread = onnxruntime.SessionOptions()
        one_thread.intra_op_num_threads = 1
        sessions = {
            path.stem: onnxruntime.InferenceSession(path, one_thread) for path in (ours, plain)
        }
    runs = {
        name: (lambda s=session: s.run(None, {s.get_inputs()[0].name: image})[0])
        for name, session in sessions.items()
    }
    first, second = (np.asarray(run()) for run in runs.values())
    print(f"largest difference {np.abs(first - second).max() / np.ptp(second):.1e} of the range")
    times = by_turns(runs, args.repeats)
    medians = {name: 1e3 * statistics.median(values) for name, values in times.items()}
    faster, *_ = ratio(times["plain"], times["ours"])
    print(f"{args.model}, batch {args.batch}: ours {medians['ours']:.1f} ms, "
          f"tf2onnx {medians['plain']:.1f} ms, ratio {faster:.2f}")  # fmt: skip
    return int(faster < 1)


if __name__ == "__main__":
    start(main)
