"""One script for each figure of the README; run them from the root, as modules:

    .venv/bin/python -m benchmarks.speed.inference --help

speed/        How fast: models, training steps, loading, input, serving, ONNX files.
size/         How much: memory of training and converting, bytes and accuracy of TFLite files.
common/       What the scripts share: options, turns, photos, memory, results.
contestants/  The libraries that run beside ours, each in a process of its own.
"""

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Before TensorFlow starts: at lower levels it logs as errors what is none.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
