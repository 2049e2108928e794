"""Size, accuracy and speed of TFLite files, beside what Keras's own export gives.

    .venv/bin/python -m benchmarks.size.tflite                                   # needs ../shared
    .venv/bin/python -m benchmarks.size.tflite --model runs/flowers --photos flowers/test \\
        --calibrate flowers/train --picture docs/flowers_tflite.png

Without `--calibrate` the photos are halved: files calibrated on one half are measured on the
other, and the other way round, so that no photo is measured by a file that has seen it. Latency
is the median of one photo at a time, all files by turns in one process. Exits with 1 if a goal
for size, accuracy or agreement is missed; the ratios of speed depend on the machine (whether its
processor multiplies 8-bit numbers faster than floats) and are printed only.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmarks.common.command import options, start, write
from benchmarks.common.photos import SHARED, imagenet
from benchmarks.common.turns import by_turns
from keras_vit.exports.float32 import as_float32
from keras_vit.exports.photos import photos_of
from keras_vit.exports.tflite import quantize as quantizing
from keras_vit.exports.tflite.export import export_tflite
from keras_vit.exports.tflite.runtime import delegation, interpreter, runner
from keras_vit.plots.charts import size_against_accuracy
from keras_vit.predict import load_classifier

# Kind -> largest size (of float32), largest loss of top-1 in points, least agreement.
GOALS = {
    "float32": (1.0, 0.0, 1.0),
    "float16": (0.52, 0.5, 0.98),
    "dynamic_int8": (0.27, 0.5, 0.98),
    "int8": (0.27, 0.5, 0.98),
    "int4": (0.17, 2.0, 0.0),
}
# Not exported but for comparison: no layer looked at for outliers, one scale for every tensor.
PLAIN_INT8 = "int8, plain"
KERAS = "Keras's own"


def imagenet_photos(folder: Path, class_names: tuple[str, ...]) -> Path:
    """The 100 photos of ../shared, in a folder for each class."""
    for name, file in imagenet():
        of_class = folder / class_names[int(name.split("_")[0])]
        of_class.mkdir(parents=True, exist_ok=True)
        (of_class / name).write_bytes(file)
    return folder


def export(model, kind: str, path: Path, photos: np.ndarray, **options) -> None:
    """One file; `PLAIN_INT8` without what this package does about outliers."""
    largest = quantizing.LARGEST_NOISE
    quantize = None if kind == "float32" else kind
    if kind == PLAIN_INT8:
        quantize, quantizing.LARGEST_NOISE = "int8", (float("inf"), float("inf"))
    try:
        needs = quantize in quantizing.NEED_PHOTOS
        export_tflite(
            model, path, quantize=quantize, calibration=photos if needs else None, **options
        )
    finally:
        quantizing.LARGEST_NOISE = largest


def latencies(files: dict[str, Path], photo: np.ndarray, threads: int, repeats: int) -> dict:
    """Kind -> median milliseconds of its primary signature."""
    runs = {}
    for kind, path in files.items():
        made = interpreter(path, threads)
        detail = made.get_input_details()[0]
        made.set_tensor(detail["index"], photo.astype(detail["dtype"]))
        runs[kind] = made.invoke
    by_turns(runs, 2)  # the first runs are longer
    times = by_turns(runs, repeats)
    return {kind: 1e3 * statistics.median(values) for kind, values in times.items()}


def main() -> int:
    parser = options(__doc__)
    add = parser.add_argument
    weights = sorted((SHARED / "weights").glob("Ti_16*.npz"))
    add("--model", default=str(weights[0]) if weights else "ViT_Ti16")
    add("--photos", help="a folder for each class; default: 100 ImageNet photos of ../shared")
    add("--calibrate", help="other photos, for int8 and int4; default: halves of --photos")
    add("--repeats", type=int, default=30, help="photos for the latency (default: %(default)s)")
    args = parser.parse_args()

    classifier = load_classifier(args.model)
    # Keras's own export makes of mixed precision a file that no interpreter takes.
    model: Any = as_float32(classifier.model)
    names = classifier.class_names
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = args.photos or imagenet_photos(folder / "photos", names)
        pixels, classes = photos_of(photos, classifier.image_size, names)
        if classes is None:
            raise ValueError(f"--photos must have a folder for each class: {', '.join(names[:5])}")
        if args.calibrate:
            given, _ = photos_of(args.calibrate, classifier.image_size)
            chosen = np.random.default_rng(0).permutation(len(given))[:64]
            rounds = [(given[chosen], np.arange(len(pixels)))]
        else:
            even, odd = np.arange(len(pixels))[::2], np.arange(len(pixels))[1::2]
            rounds = [(pixels[even], odd), (pixels[odd], even)]
        expected = model.predict(pixels.astype("float32"), verbose=0)
        right = 100 * (expected.argmax(-1) == classes).mean()

        plain = folder / "keras.tflite"
        model.export(plain, format="litert", verbose=False)
        files, rows = {KERAS: plain}, {}
        kinds = [*GOALS, PLAIN_INT8]
        for kind in kinds:
            found = np.empty_like(expected)
            path = folder / f"{kind}.tflite"
            for calibration, measured in rounds if "int" in kind else rounds[:1]:
                measured = measured if "int" in kind else np.arange(len(pixels))
                export(model, kind, path, calibration, overwrite=True)
                found[measured] = runner(path)(pixels[measured])["output"]
            files[kind] = path
            rows[kind] = found
        one, two = (latencies(files, pixels[:1], n, args.repeats) for n in (1, 2))
        sizes = {kind: path.stat().st_size for kind, path in files.items()}

        print(f"{len(pixels)} photos; the Keras model has {right:.1f} % right")
        print(f"{'file':14} {'MiB':>6} {'size':>6} {'1 thr.':>7} {'2 thr.':>7} "
              f"{'top-1':>6} {'agree':>6}  operations, partitions, left over")  # fmt: skip
        missed = []
        top1 = {kind: 100 * float((row.argmax(-1) == classes).mean()) for kind, row in rows.items()}
        for kind, path in files.items():
            seen = delegation(path)
            line = (
                f"{kind:14} {sizes[kind] / 2**20:6.1f} {sizes[kind] / sizes['float32']:6.3f} "
                f"{one[KERAS] / one[kind]:6.2f}x {two[KERAS] / two[kind]:6.2f}x "
            )
            if kind in rows:
                agree = (rows[kind].argmax(-1) == expected.argmax(-1)).mean()
                line += f"{top1[kind]:6.1f} {100 * agree:6.1f}"
                size, loss, least = GOALS.get(kind, (9, 100, 0))
                if (
                    sizes[kind] > size * sizes["float32"]
                    or right - top1[kind] > loss
                    or agree < least
                ):
                    missed.append(kind)
            else:
                line += f"{'':13}"
            print(
                f"{line}  {sum(seen.operators.values())}, {seen.partitions}, "
                f"{len(seen.undelegated)}"
            )
        shown = [kind for kind in kinds if kind != PLAIN_INT8]
        write(
            args,
            {"bytes": sizes, "milliseconds": {"1": one, "2": two}, "top1": top1, "missed": missed},
            lambda: size_against_accuracy(
                [sizes[kind] / 2**20 for kind in shown],
                [top1[kind] for kind in shown],
                shown,
                f"top-1 of {len(pixels)} photos in %",
            ),
        )
        print(f"goals missed: {', '.join(missed) or 'none'}")
    keras.backend.clear_session()
    return int(bool(missed))


if __name__ == "__main__":
    start(main)
