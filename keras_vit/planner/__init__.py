"""What a training will cost: memory, compute, days.

    plan = keras_vit.planner.plan("ViT_L16", "TPUv3-core", 256, dataset="jft", epochs=14)
    plan.exaflops, plan.memory, plan.communication, plan.days

Everything follows from the row of a model in `keras_vit.VARIANTS` and the row of a device in
`DEVICES`; no model is built. `costs` counts those of a built model, `report` prints tables.
"""

from keras_vit.planner import costs, report
from keras_vit.planner.architecture import parts
from keras_vit.planner.device_memory import memory
from keras_vit.planner.devices import DEVICES, Device
from keras_vit.planner.fitting import Fit, fits
from keras_vit.planner.flops import (
    CLASSES,
    forward_macs,
    parameters,
    pretraining_exaflops,
    training_flops,
)
from keras_vit.planner.paper_runs import TABLE_6, UNRELEASED
from keras_vit.planner.part import Part
from keras_vit.planner.plans import Plan, compare, plan
from keras_vit.planner.traffic import communication

__all__ = [
    "CLASSES",
    "DEVICES",
    "TABLE_6",
    "UNRELEASED",
    "Device",
    "Fit",
    "Part",
    "Plan",
    "communication",
    "compare",
    "costs",
    "fits",
    "forward_macs",
    "memory",
    "parameters",
    "parts",
    "plan",
    "pretraining_exaflops",
    "report",
    "training_flops",
]
