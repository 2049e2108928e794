"""What the notebooks work on. Each function takes the best that is there, and says what it took.

The best is a folder `shared` beside the clone, with real photos and weights. Without it the weights
are downloaded. Without a network too, there are the photos and the digits of scikit-learn.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
# Compiled code writes its lines about the machine here. Python's warnings take another way, so a
# notebook still shows them. TensorFlow is not imported yet.
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def start() -> None:
    """Goes into a new folder, so that a notebook overwrites nothing of yours."""
    os.chdir(tempfile.mkdtemp(prefix="keras_vit_"))
    import absl.logging
    import tensorflow as tf

    absl.logging.set_verbosity(absl.logging.ERROR)
    tf.get_logger().setLevel("ERROR")
    gpus = len(tf.config.list_physical_devices("GPU"))
    print(f"Runs on {gpus} GPU{'' if gpus == 1 else 's'}." if gpus else "Runs on the processor.")


def weights() -> str | None:
    """`"imagenet"` if there are released weights of ViT-Ti/16, else `None`."""
    from keras_vit.applications.weights import download_weights

    if (SHARED / "weights").is_dir():
        os.environ["KERAS_VIT_CACHE"] = str(SHARED / "weights")
    try:
        download_weights("ViT_Ti16", "imagenet")
    except OSError:
        print("Weights: none, as there is neither a network nor ../shared.")
        return None
    print("Weights: ViT-Ti/16, released by Google, ImageNet.")
    return "imagenet"


def classifier_and_photos() -> tuple[str, Path]:
    """What `keras_vit.predict.load_classifier` takes, and photos for it in `train/` and `test/`."""
    if weights() is None:
        return _digits_run(), digits()
    if (SHARED / "data").is_dir():
        _imagenet_photos()
        print("Photos: 100 of ImageNet, half of them in `train`.")
    else:
        from sklearn.datasets import load_sample_images

        for part, pixels in zip(("train", "test"), load_sample_images().images, strict=True):
            _save(pixels, Path("photos") / part / "photo.jpg")
        print("Photos: the two of scikit-learn.")
    return "ViT_Ti16", Path("photos")


def photos_by_class() -> Path:
    """A folder with `train/` and `test/`, in which each class has a folder of photos."""
    if not (SHARED / "data").is_dir():
        return digits()
    _unpack("flowers12.zip", Path("flowers"))
    print("Photos: 12 species of flowers, 60 photos of each to train on, 20 to test on.")
    return Path("flowers")


def digits() -> Path:
    """scikit-learn's handwritten digits as such a folder."""
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    for i, (pixels, label) in enumerate(zip(found.images, found.target, strict=True)):
        part = "test" if i % 5 == 0 else "train"
        _save((pixels * 255 / 16)[..., None].repeat(3, -1), Path(f"digits/{part}/{label}/{i}.png"))
    print("Photos: the handwritten digits of scikit-learn, a fifth of them to test on.")
    return Path("digits")


def pixels(path: Path, size: tuple[int, int] | None = None) -> Any:
    """A photo as uint8 `[H, W, 3]`, squashed to (width, height) if that is given."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as photo:
        rgb = photo.convert("RGB")
        return np.asarray(rgb if size is None else rgb.resize(size))


def library(name: str) -> Any:
    """`"timm"` or `"transformers"` as a module, or `None` if it is not installed."""
    sys.path.append(str(ROOT))
    from benchmarks.contestants import import_timm

    warnings.filterwarnings("ignore", "IProgress not found")  # of tqdm, in a notebook
    try:
        return getattr(import_timm, f"import_{name}")()
    except ImportError:
        print(f"{name} is not installed.")
        return None


def _digits_run() -> str:
    from keras_vit import runs

    print("Model: a small ViT, trained on handwritten digits now (a minute).")
    runs.run(runs.settings_for("digits", steps=300), "runs/digits", verbose=0)
    return "runs/digits"


def _imagenet_photos() -> None:
    """Photos of 100 classes, which their file names say: `000_n01440764_tench.JPEG`."""
    with zipfile.ZipFile(SHARED / "data" / "in1k_100_short256.zip") as archive:
        for i, name in enumerate(sorted(archive.namelist())):
            if name.endswith(".JPEG"):
                label = Path(name).stem.split("_", 2)[2]
                path = Path("photos") / ("train", "test")[i % 2] / label / Path(name).name
                path.parent.mkdir(parents=True)
                path.write_bytes(archive.read(name))


def _unpack(name: str, folder: Path) -> None:
    with zipfile.ZipFile(SHARED / "data" / name) as archive:
        archive.extractall(folder)


def _save(pixels: Any, path: Path) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype("uint8")).save(path)
