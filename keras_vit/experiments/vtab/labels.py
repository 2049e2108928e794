"""Labels of the VTAB tasks, as functions of a TFDS example.

Each follows google-research/task_adaptation, in the file that is named beside it (there under
`task_adaptation/data/`).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

# Depths in the picture. A value on an edge belongs below it: `thrs - dist < 0`.
CLEVR_DISTANCES = (0.0, 8.0, 8.5, 9.0, 9.5, 10.0, 100.0)
# Metres to the camera; 1000 stands for no vehicle at all.
KITTI_DISTANCES = (-100.0, 8.0, 20.0, 999.0)
NO_VEHICLE = 1000.0


@dataclasses.dataclass(frozen=True)
class Label:
    """How to read the class of an example.

    Attributes:
        read: Function from the example, a dictionary of tensors, to an integer scalar.
        fields: The fields that it reads, as `tfds.decode.PartialDecoding` takes them.
        class_names: Names of the classes, or the name of the feature that has them.
    """

    read: Callable[[dict[str, Any]], Any]
    fields: dict[str, Any]
    class_names: tuple[str, ...] | str


def feature(name: str) -> Label:
    """The classes of the data set, unchanged."""
    return Label(lambda example: example[name], {name: True}, name)


def above(value: Any, edges: tuple[float, ...]) -> Any:
    """The last of the rising edges that `value` is above, 0, 1, ...; -1 if it is above none."""
    import tensorflow as tf

    return tf.reduce_sum(tf.cast(value > tf.constant(edges), tf.int64)) - 1


def count_objects(example: dict[str, Any]) -> Any:
    """CLEVR: 3 to 10 objects (clevr.py, `_count_preprocess_fn`)."""
    import tensorflow as tf

    return tf.size(example["objects"]["size"], tf.int64) - 3


def closest_object(example: dict[str, Any]) -> Any:
    """CLEVR: depth of the nearest object (clevr.py, `_closest_object_preprocess_fn`)."""
    import tensorflow as tf

    return above(tf.reduce_min(example["objects"]["pixel_coords"][:, 2]), CLEVR_DISTANCES)


def closest_vehicle(example: dict[str, Any]) -> Any:
    """KITTI: the nearest car, van or truck, types 0 to 2 (kitti.py,
    `_closest_vehicle_distance_pp`)."""
    import tensorflow as tf

    depth = example["objects"]["location"][:, 2]
    depth = tf.boolean_mask(depth, example["objects"]["type"] < 3)
    return above(tf.reduce_min(tf.concat([depth, [NO_VEHICLE]], 0)), KITTI_DISTANCES)


def binned(name: str, values: int, bins: int) -> Label:
    """Neighbouring values of a feature as one class (dsprites.py, `preprocess_fn`)."""

    def read(example: dict[str, Any]) -> Any:
        import tensorflow as tf

        # Orientation has 40 / 16 = 2.5 values a bin: three, two, three, two, ...
        return tf.cast(tf.math.floordiv(tf.cast(example[name], tf.float32), values / bins), "int64")

    what = name.removeprefix("label_").replace("_", " ")
    return Label(read, {name: True}, tuple(f"{what} {i + 1} of {bins}" for i in range(bins)))


def _ranges(edges: tuple[float, ...], unit: str = "") -> tuple[str, ...]:
    """Names of the ranges between edges, and of those below the first and above the last."""
    inner = [f"{edge:g}{unit}" for edge in edges]
    between = (f"{low} to {high}" for low, high in itertools.pairwise(inner))
    return (f"up to {inner[0]}", *between, f"above {inner[-1]}")


CLASS = feature("label")

CLEVR_COUNT = Label(
    count_objects, {"objects": {"size"}}, tuple(f"{count} objects" for count in range(3, 11))
)

CLEVR_DISTANCE = Label(
    closest_object, {"objects": {"pixel_coords"}}, _ranges(CLEVR_DISTANCES[1:-1])
)

KITTI_VEHICLE = Label(
    closest_vehicle,
    {"objects": {"location", "type"}},
    (*_ranges(KITTI_DISTANCES[1:-1], " m"), "no vehicle"),
)

DSPRITES_X = binned("label_x_position", 32, 16)
DSPRITES_ORIENTATION = binned("label_orientation", 40, 16)
# smallnorb.py, `predicted_attribute`.
NORB_AZIMUTH = feature("label_azimuth")
NORB_ELEVATION = feature("label_elevation")
