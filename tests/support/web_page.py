"""The scripts of examples/web, and a small model for the page."""

from __future__ import annotations

import importlib.util

import keras
import numpy as np
from support.paths import ROOT

import keras_vit
from keras_vit.predict import Classifier

PAGE = ROOT / "examples" / "web"
SIZE = (32, 48)
NAMES = ("tench", "great_grey_owl", "<b>bold</b>", "vélo", "lorikeet", "jay", "kite")


def module(name: str):
    spec = importlib.util.spec_from_file_location(f"web_{name}", PAGE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def classifier_for(seed: int = 0, resize: str = "squash", **options) -> Classifier:
    """A small ViT whose answers depend on the picture and are sure of nothing."""
    keras.utils.set_random_seed(seed)
    model = keras_vit.ViT(SIZE, 8, 32, 2, 4, 64, classes=len(NAMES), **options)
    random = np.random.default_rng(seed)
    for variable in model.weights:
        value = keras.ops.convert_to_numpy(variable)
        variable.assign(value + random.normal(0, 0.3, variable.shape))
    return Classifier(model, NAMES, SIZE, resize)


PIXELS = {"include_preprocessing": True, "classifier_activation": "softmax"}
