"""What the tests of the constructors share."""

from __future__ import annotations

import dataclasses

import pytest

import keras_vit


@pytest.fixture
def one_block(monkeypatch):
    """Every variant with one block of a kind, which is enough for rules and shapes."""
    for name, config in list(keras_vit.VARIANTS.items()):
        small: dict = {"depth": 1}
        if getattr(config, "stem", None):
            ones = (1,) * len(config.stem.block_sizes)
            small["stem"] = dataclasses.replace(config.stem, block_sizes=ones)
        if isinstance(config, keras_vit.BiTConfig):  # R152x4 has a thousand million weights
            small = {"block_sizes": (1, 1, 1, 1), "width_factor": 0.5}
        monkeypatch.setitem(keras_vit.VARIANTS, name, dataclasses.replace(config, **small))
