"""Imports, trains, saves and opens a model on JAX where TensorFlow is not installed.

Prints one line for each thing that it has done. It is a process of its own: TensorFlow must not be
importable from the start.

    KERAS_BACKEND=jax python tests/programs/without_tensorflow.py FOLDER
"""

from __future__ import annotations

import sys

sys.modules["tensorflow"] = None  # type: ignore[assignment]  # `import tensorflow` fails now

from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import keras  # noqa: E402
import numpy as np  # noqa: E402

import keras_vit  # noqa: E402


def main() -> None:
    folder = Path(sys.argv[1])
    keras.utils.set_random_seed(0)
    model = keras_vit.ViT(16, 8, 8, 1, 2, 16, classes=3, name="vit")
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images = np.random.default_rng(0).uniform(-1, 1, (8, 16, 16, 3)).astype("float32")
    history = model.fit(images, np.arange(8) % 3, batch_size=4, epochs=2, verbose=0)
    print("trained", np.isfinite(history.history["loss"]).all())
    expected = model.predict(images, verbose=0)
    for name, form in {"a.npz": None, "b.safetensors": "timm", "c.weights.h5": None}.items():
        keras_vit.save_weights(model, folder / name, format=form)
        again = keras_vit.from_checkpoint(folder / name, num_heads=2)
        same = np.allclose(again.predict(images, verbose=0), expected, atol=1e-6)
        print("opened", name, same)
    larger = keras_vit.resize_model(model, 32)
    print("resized", larger.output_shape, keras_vit.feature_model(model, [0]).output_shape)
    model.save(folder / "model.keras")
    loaded: Any = keras.models.load_model(folder / "model.keras")
    print("loaded", np.allclose(loaded.predict(images, verbose=0), expected, atol=1e-6))


main()
