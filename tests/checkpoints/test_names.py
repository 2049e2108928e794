"""Names with numbers in them, and the layouts of arrays."""

from __future__ import annotations

import numpy as np

from keras_vit.checkpoints.names.layouts import LAYOUTS, shape_read, shape_written
from keras_vit.checkpoints.names.templates import fill, numbers_in


def test_layouts_are_inverse_to_each_other():
    random = np.random.default_rng(0)
    for name, layout in LAYOUTS.items():
        for shape in [(6,), (6, 8), (3, 3, 4, 8)]:
            array = random.normal(size=shape)
            try:
                written = layout.write(array, 2)
            except (ValueError, IndexError):
                continue  # not of that rank
            if shape_read(name, written.shape) == shape:
                np.testing.assert_array_equal(layout.read(written), array)
                assert shape_written(name, shape, 2) == written.shape
    assert shape_read("to_heads", (6,)) is None
    assert shape_read("norm", (2, 3)) is None


def test_templates():
    assert numbers_in("block{b}_unit{u:02}", "block3_unit07") == {"b": 3, "u": 7}
    assert fill("stages.{b-1}.blocks.{u-1}", {"b": 3, "u": 7}) == "stages.2.blocks.6"
    assert numbers_in("stages.{b-1}.x", "stages.0.x") == {"b": 1}
    assert numbers_in("stages.{b-1}.x", "stages.0xx") is None
    assert fill("unit{u:02}", {"u": 12}) == "unit12"
