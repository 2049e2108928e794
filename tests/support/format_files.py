"""What the tests of formats share: a random model, its logits, the arrays of a file."""

from __future__ import annotations

import numpy as np
from keras import ops

import keras_vit

SIZE = 32


def random_vit(**options):
    """A small ViT in which every number is random."""
    settings = {"patch_size": 8, "width": 32, "depth": 2, "num_heads": 4, "mlp_dim": 48}
    model = keras_vit.ViT(SIZE, **settings, classes=5, **options)
    random = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(random.normal(0, 0.3, variable.shape))
    return model


def logits_of(model, seed=0):
    x = np.random.default_rng(seed).normal(size=(2, *model.input_shape[1:])).astype("float32")
    return ops.convert_to_numpy(model(x))


def arrays_of(path):
    with np.load(path, allow_pickle=False) as file:
        return dict(file)
