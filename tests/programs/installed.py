"""Tries an installed wheel, without the clone and without a network: `make release` runs it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

import keras_vit

CLONE = Path(__file__).resolve().parents[2]
SMALL = {"patch_size": 16, "width": 32, "depth": 2, "num_heads": 4, "mlp_dim": 64}
FLOWER = "daisy"


def main() -> None:
    where = Path(keras_vit.__file__).resolve()
    if where.parents[1] == CLONE:
        raise SystemExit(f"{where} is the clone, not an installed wheel")

    model = keras_vit.ViT(64, **SMALL, classes=1000, include_preprocessing=True)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), "uint8")
    scores = model.predict(pixels, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder, "model.keras"))
        again = keras.models.load_model(Path(folder, "model.keras"))
        np.testing.assert_array_equal(again.predict(pixels, verbose=0), scores)
        exported = keras_vit.export(model, Path(folder, "vit", "1"))
        if not (exported / "saved_model.pb").is_file():
            raise SystemExit(f"{exported} is no SavedModel")

    of_class = keras_vit.decode_predictions(np.eye(1000)[985:986], top=1)[0][0][1]
    if of_class != FLOWER:
        raise SystemExit(f"Class 985 should be {FLOWER!r}. Received: {of_class!r}")

    command = Path(sys.executable).parent / "keras-vit"
    for arguments in (["--version"], ["plan", "ViT_Ti16", "--devices", "1xA100-80"]):
        subprocess.run([command, *arguments], check=True, stdout=subprocess.DEVNULL)
    print(f"keras_vit {keras_vit.__version__} works, installed in {where.parent}")


if __name__ == "__main__":
    main()
